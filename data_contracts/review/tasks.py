"""The queue: rounds of tasks come in, tasks are looked up."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, insert, select, update

from data_contracts.errors import BadInput
from data_contracts.ledger.chain import canonical_json
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text
from data_contracts.ledger.instants import now as this_moment
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import IMAGE
from data_contracts.ledger.tables_review import LEASE, REVIEW_ROUND, REVIEW_TASK, SERVED
from data_contracts.review.records import NewTask, ReviewTask, RoundReport
from data_contracts.review.task_rows import UNSETTLED, TaskRow, row_of, tasks_of
from data_contracts.vocabulary import Purpose, ReviewReason, SubjectKind, TaskKind, TaskState

_STILL_QUEUED = (*UNSETTLED, TaskState.DISPUTED.value)

Subject = tuple[str, str]


def add_round(
    ledger: Ledger,
    tasks: Sequence[NewTask],
    *,
    round_id: str,
    model_version: str | None,
    strategy: str | None,
    budget: int | None,
    seed: int,
    now: datetime | None = None,
) -> RoundReport:
    """Put one round of tasks into the queue, all or none; the same ``round_id`` again changes nothing.

    A subject that has a task under way is not queued again. Where the new task claims more, the one under way takes
    that over: it becomes a ``hold`` with the earlier due time, or, as long as nobody has seen it, an audit.

    Args:
        ledger: where.
        tasks: in any order; of two about one subject the stronger claim counts (hold, then audit or study, then
            priority).
        round_id: names the round.
        model_version: whose scores the round comes from, ``None`` at a cold start.
        strategy: how its tasks were chosen.
        budget: largest number of ``learn`` tasks, highest priority first (``None``: no limit). ``hold`` is never
            dropped.
        seed: of the choice, kept for the auditor.
        now: when.

    Raises:
        BadInput: a task is about an image or a group that the ledger does not know, or a ``task_id`` is taken.
    """
    at = now or this_moment()
    with ledger.writing() as connection:
        known = connection.execute(select(REVIEW_ROUND.c.counts).where(REVIEW_ROUND.c.round_id == round_id)).scalar()
        if known is not None:
            return RoundReport.model_validate_json(known).model_copy(update={"repeated": True})
        wanted = _strongest_per_subject(tasks)
        _require_known_subjects(connection, wanted)
        under_way = _under_way(connection, wanted)
        strengthened = sum(
            _strengthen(connection, under_way[subject], task)
            for subject, task in wanted.items()
            if subject in under_way
        )
        fresh = [task for subject, task in wanted.items() if subject not in under_way]
        holds = [task for task in fresh if task.kind == TaskKind.HOLD]
        learns = sorted((task for task in fresh if task.kind == TaskKind.LEARN), key=lambda task: -task.priority)
        kept = learns if budget is None else learns[: max(budget, 0)]
        queued = [*holds, *kept]
        rows = [_row(task, round_id, model_version, at) for task in queued]
        _require_free_ids(connection, rows)
        if rows:
            connection.execute(insert(REVIEW_TASK), rows)
        report = RoundReport(
            round_id=round_id,
            queued=len(queued),
            hold=len(holds),
            learn=len(kept),
            strengthened=strengthened,
            already_open=len(wanted) - len(fresh) - strengthened,
            dropped_by_budget=len(learns) - len(kept),
            by_reason=dict(sorted(Counter(task.reason.partition(":")[0] for task in queued).items())),
        )
        connection.execute(
            insert(REVIEW_ROUND).values(
                round_id=round_id,
                at=as_text(at),
                model_version=model_version,
                strategy=strategy,
                budget=budget,
                counts=canonical_json(report.model_dump(mode="json")),
                seed=seed,
            )
        )
        return report


def withdraw(ledger: Ledger, task_ids: Collection[str], *, now: datetime | None = None) -> int:
    """Take learn tasks out of the queue that nobody has answered or holds; returns how many were taken."""
    at = as_text(now or this_moment())
    with ledger.writing() as connection:
        held_query = select(LEASE.c.task_id).where(LEASE.c.expires_at > at)
        held = {row.task_id for row in rows_where_in(connection, held_query, LEASE.c.task_id, task_ids)}
        query = select(REVIEW_TASK.c.task_id).where(
            REVIEW_TASK.c.state == TaskState.OPEN.value, REVIEW_TASK.c.kind == TaskKind.LEARN.value
        )
        open_ids = {row.task_id for row in rows_where_in(connection, query, REVIEW_TASK.c.task_id, task_ids)}
        taken = sorted(open_ids - held)
        for task_id in taken:
            values = {"state": TaskState.WITHDRAWN.value}
            connection.execute(update(REVIEW_TASK).where(REVIEW_TASK.c.task_id == task_id).values(**values))
    return len(taken)


def task(ledger: Ledger, task_id: str, *, now: datetime | None = None) -> ReviewTask:
    """One task as it stands.

    Raises:
        NotFound: there is no such task.
    """
    with ledger.reading() as connection:
        return tasks_of(connection, [row_of(connection, task_id)], now or this_moment())[0]


def tasks_frame(
    ledger: Ledger, states: Collection[TaskState] | None = None, *, now: datetime | None = None
) -> pd.DataFrame:
    """All tasks, or those in ``states`` (``leased``: somebody holds them now); one row each, oldest first.

    Returns:
        The columns of the table: ``task_id, subject_kind, subject_id, kind, reason, priority, …, purpose``; ``due_at``
        and ``created_at`` as UTC instants, ``evidence`` as a dict, ``state`` as text.
    """
    with ledger.reading() as connection:
        rows = connection.execute(select(REVIEW_TASK).order_by(REVIEW_TASK.c.created_at, REVIEW_TASK.c.task_id)).all()
        live = select(LEASE.c.task_id).where(LEASE.c.expires_at > as_text(now or this_moment()))
        held = set(connection.execute(live).scalars())
    frame = pd.DataFrame(rows, columns=[column.name for column in REVIEW_TASK.columns], dtype=object)
    leased = frame["task_id"].isin(held) & frame["state"].isin(UNSETTLED)
    frame["state"] = frame["state"].where(~leased, TaskState.LEASED.value)
    for name in ("due_at", "created_at"):
        frame[name] = pd.to_datetime(frame[name], format="ISO8601", utc=True).astype("datetime64[ns, UTC]")
    frame["evidence"] = frame["evidence"].map(json.loads)
    frame = frame.astype({"priority": "float64", "readings_required": "int64", "blind": bool, "confidence": "float64"})
    if states is not None:
        frame = frame[frame["state"].isin([TaskState(state).value for state in states])]
    return frame.reset_index(drop=True)


def drawn_by_audit(tasks: pd.DataFrame) -> pd.Series[bool]:
    """Which rows of :func:`tasks_frame` a random audit drew: their answers measure, and teach nothing."""
    return (tasks["purpose"] == Purpose.AUDIT.value) | (tasks["reason"] == ReviewReason.RANDOM_AUDIT.value)


def asked_about(images: pd.DataFrame, tasks: pd.DataFrame) -> pd.Series[bool]:
    """Which images some of the tasks are about, by themselves or with their group.

    Args:
        images: with ``image_id`` and ``group``.
        tasks: rows of :func:`tasks_frame`.
    """
    alone = tasks.loc[tasks["subject_kind"] == SubjectKind.IMAGE.value, "subject_id"]
    groups = tasks.loc[tasks["subject_kind"] == SubjectKind.GROUP.value, "subject_id"]
    return images["image_id"].isin(alone) | images["group"].isin(groups)


def rounds_frame(ledger: Ledger) -> pd.DataFrame:
    """Every round, oldest first: ``round_id, at, model_version, strategy, budget, seed`` and the counts."""
    with ledger.reading() as connection:
        rows = connection.execute(select(REVIEW_ROUND).order_by(REVIEW_ROUND.c.at)).mappings().all()
    counted = ("queued", "hold", "learn", "strengthened", "already_open", "dropped_by_budget", "by_reason")
    columns = ["round_id", "at", "model_version", "strategy", "budget", "seed", *counted]
    records = [{**row, **json.loads(row["counts"])} for row in rows]
    frame = pd.DataFrame(records, columns=columns, dtype=object)
    return frame.assign(at=pd.to_datetime(frame["at"], format="ISO8601", utc=True).astype("datetime64[ns, UTC]"))


def _claim(item: NewTask) -> tuple[bool, bool, float]:
    return item.kind == TaskKind.HOLD, item.purpose != Purpose.REVIEW, item.priority


def _strongest_per_subject(tasks: Sequence[NewTask]) -> dict[Subject, NewTask]:
    strongest: dict[Subject, NewTask] = {}
    for item in tasks:
        subject = (item.subject_kind.value, item.subject_id)
        if subject not in strongest or _claim(item) > _claim(strongest[subject]):
            strongest[subject] = item
    return strongest


def _require_known_subjects(connection: Connection, wanted: Collection[Subject]) -> None:
    images = {subject for kind, subject in wanted if kind == SubjectKind.IMAGE}
    groups = {subject for kind, subject in wanted if kind == SubjectKind.GROUP}
    known = {row[0] for row in rows_where_in(connection, select(IMAGE.c.image_id), IMAGE.c.image_id, images)}
    grouped = select(IMAGE.c.group_id).distinct()
    known_groups = {row[0] for row in rows_where_in(connection, grouped, IMAGE.c.group_id, groups)}
    missing = sorted((images - known) | (groups - known_groups))
    if missing:
        raise BadInput(
            f"{len(missing)} tasks are about images or groups that the ledger does not know, first {missing[0]}.",
            remedy="Ingest the images first.",
        )


def _require_free_ids(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    given = Counter(row["task_id"] for row in rows)
    query = select(REVIEW_TASK.c.task_id)
    taken = {row.task_id for row in rows_where_in(connection, query, REVIEW_TASK.c.task_id, given)}
    repeated = taken | {task_id for task_id, times in given.items() if times > 1}
    if repeated:
        raise BadInput(f"The task id {min(repeated)!r} is taken.", remedy="Leave task_id out; it follows by itself.")


def _under_way(connection: Connection, wanted: Collection[Subject]) -> dict[Subject, TaskRow]:
    query = select(REVIEW_TASK).where(REVIEW_TASK.c.state.in_(_STILL_QUEUED))
    rows = rows_where_in(connection, query, REVIEW_TASK.c.subject_id, (subject for _, subject in wanted))
    return {(row.subject_kind, row.subject_id): row._mapping for row in rows}


def _strengthen(connection: Connection, row: TaskRow, new: NewTask) -> bool:
    """Let the task under way claim what the new one claims beyond it; returns whether anything changed."""
    values: dict[str, Any] = {}
    if new.kind == TaskKind.HOLD:
        due = None if new.due_at is None else as_text(new.due_at)
        if row["kind"] != TaskKind.HOLD:
            values["kind"] = TaskKind.HOLD.value
        if due is not None and (row["due_at"] is None or due < row["due_at"]):
            values["due_at"] = due
    if new.purpose != Purpose.REVIEW and row["purpose"] == Purpose.REVIEW:
        seen = connection.execute(select(SERVED.c.who).where(SERVED.c.task_id == row["task_id"]).limit(1)).first()
        if seen is None:  # whoever saw the prediction cannot answer blind any more
            values |= {"purpose": new.purpose.value, "blind": True, "reason": new.reason}
    if values:
        values["priority"] = max(row["priority"], new.priority)
        connection.execute(update(REVIEW_TASK).where(REVIEW_TASK.c.task_id == row["task_id"]).values(**values))
    return bool(values)


def _row(item: NewTask, round_id: str, model_version: str | None, at: datetime) -> dict[str, Any]:
    named = f"{round_id}\n{item.subject_kind.value}\n{item.subject_id}".encode()
    return {
        **item.model_dump(mode="json", exclude={"evidence", "due_at", "task_id"}),
        "task_id": item.task_id or hashlib.sha256(named).hexdigest()[:32],
        "model_version": item.model_version or model_version,
        "evidence": canonical_json(item.evidence.model_dump(mode="json", exclude_defaults=True)),
        "due_at": None if item.due_at is None else as_text(item.due_at),
        "round": round_id,
        "state": TaskState.OPEN.value,
        "created_at": as_text(at),
    }
