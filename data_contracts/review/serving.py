"""Who gets which task next. A lease keeps a task for one person until it expires; then others may have it.

What is due comes first: ``hold`` tasks by due time, then ``learn`` tasks by priority. Nobody gets a task that somebody
else holds (unless it needs a second reading), nor one that they answered, nor one that they skipped since the newest
round began. Among learn tasks of similar priority, those that nobody else has just been shown come first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, exists, func, or_, select

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text
from data_contracts.ledger.instants import now as this_moment
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables_review import LEASE, REVIEW_ROUND, REVIEW_TASK, SERVED
from data_contracts.review.records import ReviewTask
from data_contracts.review.roles import admit
from data_contracts.review.task_rows import UNSETTLED, TaskRow, lease_to, tasks_of
from data_contracts.vocabulary import TaskKind, TaskState

LEASE_SECONDS = 600
WINDOW = 32
"""Among how many learn tasks the ones that nobody else has just been shown come first."""

JUST_SHOWN = timedelta(hours=1)

_T = REVIEW_TASK.c


def serve(
    ledger: Ledger,
    who: str,
    *,
    count: int = 1,
    lease_seconds: float = LEASE_SECONDS,
    exclude: Collection[str] = (),
    predicted: str | None = None,
    now: datetime | None = None,
) -> list[ReviewTask]:
    """The next tasks of a person, leased to them: first those that they hold already, so that a reload loses nothing.

    Args:
        ledger: where.
        who: for whom; somebody unknown becomes a reader where that is allowed.
        count: how many at most.
        lease_seconds: how long they are kept for this person.
        exclude: ids of tasks that are on the screen or waiting behind it already.
        predicted: only tasks of this predicted class that are not blind, for answering many together.
        now: when.

    Raises:
        Refused: ``who`` may not answer tasks here.
    """
    at = now or this_moment()
    until = at + timedelta(seconds=lease_seconds)
    with ledger.writing() as connection:
        admit(connection, who, at)
        connection.execute(delete(LEASE).where(LEASE.c.expires_at <= as_text(at)))
        chosen: dict[str, TaskRow] = {}
        for row in _candidates(connection, who, at, count + len(exclude), predicted):
            if len(chosen) == count:
                break
            if row["task_id"] not in exclude:
                chosen[row["task_id"]] = row
        lease_to(connection, list(chosen), who, at, until)
        return tasks_of(connection, list(chosen.values()), at)


def renew(
    ledger: Ledger,
    who: str,
    task_ids: Collection[str],
    *,
    lease_seconds: float = LEASE_SECONDS,
    now: datetime | None = None,
) -> list[str]:
    """Keep tasks for longer; returns those that the person has still (or again, where nobody else took them)."""
    at = now or this_moment()
    with ledger.writing() as connection:
        query = select(_T.task_id).where(_T.state.in_(UNSETTLED), _FREE)
        query = query.params(who=who, at=as_text(at), newest_round=_newest_round(connection))
        free = {row.task_id for row in rows_where_in(connection, query, _T.task_id, task_ids)}
        seen_query = select(SERVED.c.task_id).where(SERVED.c.who == who)
        seen = {row.task_id for row in rows_where_in(connection, seen_query, SERVED.c.task_id, task_ids)}
        kept = [task_id for task_id in dict.fromkeys(task_ids) if task_id in free & seen]
        lease_to(connection, kept, who, at, at + timedelta(seconds=lease_seconds))
        return kept


def release(ledger: Ledger, who: str, task_ids: Collection[str] | None = None) -> int:
    """Give leases back (``None``: all of the person's) at sign-out; tasks returned to them stay theirs."""
    own = and_(LEASE.c.who == who, LEASE.c.reserved.is_(False))
    with ledger.writing() as connection:
        query = select(LEASE.c.task_id).where(own)
        rows = (
            connection.execute(query)
            if task_ids is None
            else rows_where_in(connection, query, LEASE.c.task_id, task_ids)
        )
        given = [row.task_id for row in rows]
        for task_id in given:
            connection.execute(delete(LEASE).where(own, LEASE.c.task_id == task_id))
    return len(given)


def waiting(ledger: Ledger, who: str, *, now: datetime | None = None) -> int:
    """How many tasks this person could be served, those that they hold included."""
    with ledger.reading() as connection:
        query = select(func.count()).select_from(REVIEW_TASK).where(_T.state.in_(UNSETTLED), _FREE)
        asked = {"who": who, "at": as_text(now or this_moment()), "newest_round": _newest_round(connection)}
        return connection.execute(query, asked).scalar_one()


def waiting_by_prediction(ledger: Ledger, who: str, *, now: datetime | None = None) -> dict[str, int]:
    """How many tasks that are not blind wait for this person, by predicted class, most first."""
    with ledger.reading() as connection:
        shown = and_(_T.state.in_(UNSETTLED), _T.blind.is_(False), _T.predicted.is_not(None))
        number = func.count()
        query = select(_T.predicted, number).where(shown, _FREE).group_by(_T.predicted).order_by(number.desc())
        asked = {"who": who, "at": as_text(now or this_moment()), "newest_round": _newest_round(connection)}
        return {row[0]: row[1] for row in connection.execute(query, asked)}


def _candidates(
    connection: Connection, who: str, at: datetime, wanted: int, predicted: str | None
) -> Iterator[TaskRow]:
    """Rows that ``who`` may have, best first: own leases, what is due, what teaches most."""
    queries = _OF_ALL if predicted is None else _OF_ONE_CLASS
    asked = {
        "who": who,
        "at": as_text(at),
        "newest_round": _newest_round(connection),
        "predicted": predicted,
        "wanted": wanted,
    }
    yield from connection.execute(queries["own"], asked).mappings().all()
    rows = [row for state in UNSETTLED for row in _due(connection, queries, state, asked)]
    yield from sorted(rows, key=lambda row: (row["due_at"], -row["priority"]))
    rows = _rows(connection, [queries[f"undated {state}"] for state in UNSETTLED], asked)
    yield from sorted(rows, key=lambda row: -row["priority"])
    rows = _rows(connection, [queries[f"learn {state}"] for state in UNSETTLED], {**asked, "wanted": wanted + WINDOW})
    rows = sorted(rows, key=lambda row: -row["priority"])
    recent = select(SERVED.c.task_id).where(SERVED.c.who != who, SERVED.c.at > as_text(at - JUST_SHOWN))
    shown = {row.task_id for row in rows_where_in(connection, recent, SERVED.c.task_id, (r["task_id"] for r in rows))}
    # Whoever waits for a second reading has been shown to somebody by necessity.
    yield from sorted(rows, key=lambda row: row["task_id"] in shown and row["state"] == TaskState.OPEN)


def _due(connection: Connection, queries: dict[str, Select[Any]], state: str, asked: dict[str, Any]) -> list[TaskRow]:
    """The ``hold`` tasks of a state that are due first; of those due at the same time, by priority.

    Two walks along an index, one forwards by time and one backwards by priority: thousands of tasks of one delivery are
    due at the same time, and sorting them for every task served would cost more than everything else.
    """
    rows = _rows(connection, [queries[f"due {state}"]], asked)
    if len(rows) < asked["wanted"]:
        return rows
    last = rows[-1]["due_at"]
    together = _rows(connection, [queries[f"due together {state}"]], {**asked, "due_at": last})
    return [*(row for row in rows if row["due_at"] < last), *together]


def _rows(connection: Connection, queries: list[Select[Any]], asked: dict[str, Any]) -> list[TaskRow]:
    return [row for query in queries for row in connection.execute(query, asked).mappings()]


def _free() -> ColumnElement[bool]:
    """Whether a person may have a task: they have not said anything of it, and a place among its readers is free."""
    settled = or_(
        SERVED.c.said.in_(("answered", "unsure")),
        and_(SERVED.c.said == "skip", SERVED.c.said_at >= bindparam("newest_round")),
    )
    said = exists().where(SERVED.c.task_id == _T.task_id, SERVED.c.who == bindparam("who"), settled)
    others = (
        select(func.count())
        .select_from(LEASE)
        .where(LEASE.c.task_id == _T.task_id, LEASE.c.who != bindparam("who"), LEASE.c.expires_at > bindparam("at"))
        .correlate(REVIEW_TASK)
        .scalar_subquery()
    )
    places = or_(
        and_(_T.state == TaskState.OPEN.value, others < _T.readings_required),
        and_(_T.state == TaskState.ANSWERED.value, others < _T.readings_required - 1),
    )
    return and_(~said, places)


def _queries(*limits: ColumnElement[bool]) -> dict[str, Select[Any]]:
    """The queries for candidates, made once: each follows an index, so that the length of the queue does not matter."""
    own = (
        select(REVIEW_TASK)
        .join(LEASE, and_(LEASE.c.task_id == _T.task_id, LEASE.c.who == bindparam("who")))
        .where(_T.state.in_(UNSETTLED), *limits)
        .order_by(LEASE.c.leased_at, _T.kind, _T.due_at, _T.priority.desc(), _T.task_id)
    )
    queries: dict[str, Select[Any]] = {"own": own}
    for state in UNSETTLED:
        of_state = select(REVIEW_TASK).where(_T.state == state, *limits).limit(bindparam("wanted"))
        hold = of_state.where(_T.kind == TaskKind.HOLD.value)
        learn = of_state.where(_T.kind == TaskKind.LEARN.value)
        by_priority = (_T.priority.desc(), _T.task_id.desc())  # as the index runs, backwards
        queries[f"due {state}"] = hold.where(_T.due_at.is_not(None)).order_by(_T.due_at)
        queries[f"due together {state}"] = hold.where(_T.due_at == bindparam("due_at")).order_by(*by_priority)
        queries[f"undated {state}"] = hold.where(_T.due_at.is_(None)).order_by(*by_priority)
        queries[f"learn {state}"] = learn.order_by(*by_priority)
    return queries


_FREE = _free()
_OF_ALL = _queries(_FREE)
_OF_ONE_CLASS = _queries(_FREE, _T.predicted == bindparam("predicted"), _T.blind.is_(False))


def _newest_round(connection: Connection) -> str:
    """When the newest round began; what was skipped before it is served again."""
    return connection.execute(select(func.max(REVIEW_ROUND.c.at))).scalar() or ""
