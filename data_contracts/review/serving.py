"""Who gets which task next. A lease keeps a task for one person until it expires; then others may have it.

What is due comes first: ``hold`` tasks by due time, then ``learn`` tasks by priority. Nobody gets a task that somebody
else holds (unless it needs a second reading), nor one that they answered, nor one that they skipped since the newest
round began. Among learn tasks of similar priority, those that nobody else has just been shown come first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, func, or_, select

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
        query = select(REVIEW_TASK).where(_T.state.in_(UNSETTLED), _free_for(who, at, _newest_round(connection)))
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
        available = _free_for(who, now or this_moment(), _newest_round(connection))
        query = select(func.count()).select_from(REVIEW_TASK).where(_T.state.in_(UNSETTLED), available)
        return connection.execute(query).scalar_one()


def waiting_by_prediction(ledger: Ledger, who: str, *, now: datetime | None = None) -> dict[str, int]:
    """How many tasks that are not blind wait for this person, by predicted class, most first."""
    with ledger.reading() as connection:
        available = _free_for(who, now or this_moment(), _newest_round(connection))
        shown = and_(_T.state.in_(UNSETTLED), _T.blind.is_(False), _T.predicted.is_not(None))
        number = func.count()
        query = select(_T.predicted, number).where(shown, available).group_by(_T.predicted).order_by(number.desc())
        return {row[0]: row[1] for row in connection.execute(query)}


def _candidates(
    connection: Connection, who: str, at: datetime, wanted: int, predicted: str | None
) -> Iterator[TaskRow]:
    """Rows that ``who`` may have, best first: own leases, what is due, what teaches most."""
    limits: list[ColumnElement[bool]] = [_free_for(who, at, _newest_round(connection))]
    if predicted is not None:
        limits += [_T.predicted == predicted, _T.blind.is_(False)]
    own = (
        select(REVIEW_TASK)
        .join(LEASE, and_(LEASE.c.task_id == _T.task_id, LEASE.c.who == who))
        .where(_T.state.in_(UNSETTLED), *limits)
        .order_by(LEASE.c.leased_at, _T.kind, _T.due_at, _T.priority.desc(), _T.task_id)
    )
    yield from connection.execute(own).mappings().all()
    hold, learn = (
        [select(REVIEW_TASK).where(_T.state == state, _T.kind == kind.value, *limits) for state in UNSETTLED]
        for kind in (TaskKind.HOLD, TaskKind.LEARN)
    )
    due = [query.where(_T.due_at.is_not(None)).order_by(_T.due_at, _T.priority.desc()) for query in hold]
    rows = _best(connection, due, wanted)
    yield from sorted(rows, key=lambda row: (row["due_at"], -row["priority"]))
    rows = _best(connection, [_by_priority(query.where(_T.due_at.is_(None))) for query in hold], wanted)
    yield from sorted(rows, key=lambda row: -row["priority"])
    rows = _best(connection, [_by_priority(query) for query in learn], wanted + WINDOW)
    rows = sorted(rows, key=lambda row: -row["priority"])
    recent = select(SERVED.c.task_id).where(SERVED.c.who != who, SERVED.c.at > as_text(at - JUST_SHOWN))
    shown = {row.task_id for row in rows_where_in(connection, recent, SERVED.c.task_id, (r["task_id"] for r in rows))}
    # Whoever waits for a second reading has been shown to somebody by necessity.
    yield from sorted(rows, key=lambda row: row["task_id"] in shown and row["state"] == TaskState.OPEN)


def _by_priority(query: Select[Any]) -> Select[Any]:
    return query.order_by(_T.priority.desc(), _T.task_id.desc())  # as the index runs, backwards


def _best(connection: Connection, queries: list[Select[Any]], wanted: int) -> list[TaskRow]:
    return [row for query in queries for row in connection.execute(query.limit(wanted)).mappings()]


def _free_for(who: str, at: datetime, newest_round: str) -> ColumnElement[bool]:
    """Whether a person may have a task: they have not said anything of it, and a place among its readers is free."""
    settled = or_(
        SERVED.c.said.in_(("answered", "unsure")), and_(SERVED.c.said == "skip", SERVED.c.said_at >= newest_round)
    )
    said = exists().where(SERVED.c.task_id == _T.task_id, SERVED.c.who == who, settled)
    others = (
        select(func.count())
        .select_from(LEASE)
        .where(LEASE.c.task_id == _T.task_id, LEASE.c.who != who, LEASE.c.expires_at > as_text(at))
        .correlate(REVIEW_TASK)
        .scalar_subquery()
    )
    places = or_(
        and_(_T.state == TaskState.OPEN.value, others < _T.readings_required),
        and_(_T.state == TaskState.ANSWERED.value, others < _T.readings_required - 1),
    )
    return and_(~said, places)


def _newest_round(connection: Connection) -> str:
    """When the newest round began; what was skipped before it is served again."""
    return connection.execute(select(func.max(REVIEW_ROUND.c.at))).scalar() or ""
