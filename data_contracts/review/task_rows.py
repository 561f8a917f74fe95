"""Tasks between their rows in the database and their records; what a changed task leaves behind."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from data_contracts.errors import NotFound
from data_contracts.ledger.instants import as_text, from_text
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import IMAGE, LABEL_EVENT
from data_contracts.ledger.tables_review import LEASE, REVIEW_TASK, ROLE_EVENT, SERVED
from data_contracts.ledger.taxonomies import taxonomy_in
from data_contracts.review.records import ReviewTask, TaskEvidence
from data_contracts.review.standing import SAID, TaskStanding, task_standing
from data_contracts.vocabulary import SubjectKind, TaskState

TaskRow = Mapping[str, Any] | RowMapping

UNSETTLED = (TaskState.OPEN.value, TaskState.ANSWERED.value)
"""Stored states in which a reader may still answer."""


def row_of(connection: Connection, task_id: str) -> TaskRow:
    """A task's row.

    Raises:
        NotFound: there is no such task.
    """
    row = connection.execute(select(REVIEW_TASK).where(REVIEW_TASK.c.task_id == task_id)).mappings().first()
    if row is None:
        raise NotFound(f"There is no review task {task_id!r}.", cause="It belongs to another workspace.")
    return row


def tasks_of(connection: Connection, rows: Sequence[TaskRow], at: datetime) -> list[ReviewTask]:
    """The records of rows: with the images of their subjects, and ``leased`` where somebody holds them at ``at``."""
    groups = [row["subject_id"] for row in rows if row["subject_kind"] == SubjectKind.GROUP]
    images: dict[str, list[str]] = defaultdict(list)
    if groups:
        query = select(IMAGE.c.image_id, IMAGE.c.group_id).order_by(IMAGE.c.image_id)
        for image in rows_where_in(connection, query, IMAGE.c.group_id, groups):
            images[image.group_id].append(image.image_id)
    held_query = select(LEASE.c.task_id).where(LEASE.c.expires_at > as_text(at))
    held = {row.task_id for row in rows_where_in(connection, held_query, LEASE.c.task_id, (r["task_id"] for r in rows))}
    return [
        ReviewTask.model_validate(
            {
                **row,
                "image_ids": images[row["subject_id"]]
                if row["subject_kind"] == SubjectKind.GROUP
                else (row["subject_id"],),
                "state": TaskState.LEASED
                if row["task_id"] in held and row["state"] in UNSETTLED
                else TaskState(row["state"]),
                "evidence": TaskEvidence.model_validate(json.loads(row["evidence"])),
                "due_at": None if row["due_at"] is None else from_text(row["due_at"]),
                "created_at": from_text(row["created_at"]),
            }
        )
        for row in rows
    ]


def events_of_task(connection: Connection, task_id: str) -> list[dict[str, Any]]:
    """The label events that name a task, in the order of the ledger."""
    query = select(LABEL_EVENT).where(LABEL_EVENT.c.task_id == task_id).order_by(LABEL_EVENT.c.sequence)
    return [dict(row) for row in connection.execute(query).mappings()]


def people_in(connection: Connection) -> set[str]:
    """Everybody who may answer tasks."""
    return set(connection.execute(select(ROLE_EVENT.c.who).distinct()).scalars())


def restate(connection: Connection, task: TaskRow, at: datetime) -> tuple[TaskState, TaskStanding]:
    """Store what follows from a task's events: its state, and who said what; a settled task is nobody's any more.

    Readings are compared by what their labels mean now: between two of them a class may have been renamed or merged.
    Call it in the transaction that appended the event.
    """
    task_id, taxonomy = task["task_id"], taxonomy_in(connection)
    meant = [
        event if event["label"] is None else {**event, "label": taxonomy.resolve(event["label"]) or event["label"]}
        for event in events_of_task(connection, task_id)
    ]
    standing = task_standing(meant)
    state = standing.state(task["readings_required"], people_in(connection))
    if task["state"] == TaskState.WITHDRAWN and state == TaskState.OPEN:
        state = TaskState.WITHDRAWN  # somebody took back a skip of before
    if state.value != task["state"]:
        connection.execute(update(REVIEW_TASK).where(REVIEW_TASK.c.task_id == task_id).values(state=state.value))
    if state.value not in UNSETTLED:
        connection.execute(delete(LEASE).where(LEASE.c.task_id == task_id))
    stored = {row.who: row for row in connection.execute(select(SERVED).where(SERVED.c.task_id == task_id))}
    wanted: dict[str, tuple[str | None, str | None]] = {
        who: (SAID[event["action"]], event["at"]) for who, event in standing.said.items()
    }
    for who in stored.keys() | wanted.keys():
        said, said_at = wanted.get(who, (None, None))
        if who not in stored:
            row = {"who": who, "task_id": task_id, "at": as_text(at), "said": said, "said_at": said_at}
            connection.execute(insert(SERVED).values(**row))
        elif (stored[who].said, stored[who].said_at) != (said, said_at):
            place = (SERVED.c.task_id == task_id) & (SERVED.c.who == who)
            connection.execute(update(SERVED).where(place).values(said=said, said_at=said_at))
    return state, standing


def lease_to(
    connection: Connection, task_ids: Sequence[str], who: str, at: datetime, until: datetime, *, reserved: bool = False
) -> None:
    """Give tasks to a person until ``until``, or for longer where they have them for longer already."""
    leases = {
        row.task_id: row.expires_at
        for row in rows_where_in(connection, select(LEASE).where(LEASE.c.who == who), LEASE.c.task_id, task_ids)
    }
    seen_query = select(SERVED.c.task_id).where(SERVED.c.who == who)
    seen = {row.task_id for row in rows_where_in(connection, seen_query, SERVED.c.task_id, task_ids)}
    moment, end = as_text(at), as_text(until)
    fresh = [task_id for task_id in task_ids if task_id not in leases]
    if fresh:
        common = {"who": who, "leased_at": moment, "expires_at": end, "reserved": reserved}
        connection.execute(insert(LEASE), [{"task_id": task_id, **common} for task_id in fresh])
    longer = [task_id for task_id in task_ids if leases.get(task_id, end) < end]
    place = (LEASE.c.task_id == bindparam("of_task")) & (LEASE.c.who == who)
    if longer:
        statement = update(LEASE).where(place).values(expires_at=end)
        connection.execute(statement, [{"of_task": task_id} for task_id in longer])
    known = [task_id for task_id in task_ids if task_id in seen]
    if known:
        place = (SERVED.c.task_id == bindparam("of_task")) & (SERVED.c.who == who)
        connection.execute(update(SERVED).where(place).values(at=moment), [{"of_task": task_id} for task_id in known])
    new = [task_id for task_id in task_ids if task_id not in seen]
    if new:
        connection.execute(insert(SERVED), [{"who": who, "task_id": task_id, "at": moment} for task_id in new])
