"""Take an answer back: nothing is removed, an event says that another does not hold any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from data_contracts.errors import BadInput, NotFound
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_within
from data_contracts.ledger.fold import cancelled_events
from data_contracts.ledger.instants import now as this_moment
from data_contracts.ledger.tables import LABEL_EVENT
from data_contracts.records import LabelEvent, NewLabelEvent
from data_contracts.review.decide import event_by_request
from data_contracts.review.outbox import publish_settled
from data_contracts.review.records import Receipt
from data_contracts.review.roles import admit, require_in
from data_contracts.review.serving import LEASE_SECONDS
from data_contracts.review.standing import READING, standing_events
from data_contracts.review.task_rows import TaskRow, events_of_task, lease_to, restate, row_of
from data_contracts.vocabulary import Action, Role, Source, SubjectKind, TaskState


def undo(
    ledger: Ledger,
    who: str,
    event_id: str,
    *,
    request_id: str,
    note: str | None = None,
    lease_seconds: float = LEASE_SECONDS,
    now: datetime | None = None,
) -> Receipt:
    """Take an answer back, with what the same person answered to the task after it; the task is theirs again.

    Readers take back their own answers; an adjudicator anybody's. The task opens again for the person whose answer it
    was, leased to them, unless it stays settled without it. A decision that had left is taken back as well.

    Args:
        ledger: where.
        who: who asks.
        event_id: the answer.
        request_id: makes a repeated request idempotent.
        note: why.
        lease_seconds: how long the task is kept for the person whose answer it was.
        now: when.

    Raises:
        NotFound: there is no such answer.
        Refused: it is somebody else's.
        BadInput: it was taken back already, or it is no answer to a task.
    """
    return undo_together(
        ledger, who, [event_id], request_ids=[request_id], note=note, lease_seconds=lease_seconds, now=now
    )[0]


def undo_together(
    ledger: Ledger,
    who: str,
    event_ids: Sequence[str],
    *,
    request_ids: Sequence[str],
    note: str | None = None,
    lease_seconds: float = LEASE_SECONDS,
    now: datetime | None = None,
) -> list[Receipt]:
    """:func:`undo` of many answers, all or none; one request id for each."""
    at = now or this_moment()
    with ledger.writing() as connection:
        admit(connection, who, at)
        return [
            _undo(connection, ledger.key, who, event_id, request_id, note, lease_seconds, at)
            for event_id, request_id in zip(event_ids, request_ids, strict=True)
        ]


def _undo(
    connection: Connection,
    key: bytes,
    who: str,
    event_id: str,
    request_id: str,
    note: str | None,
    lease_seconds: float,
    at: datetime,
) -> Receipt:
    known = event_by_request(connection, request_id)
    if known is not None:
        return _repeated(connection, known, who, event_id)
    target = connection.execute(select(LABEL_EVENT).where(LABEL_EVENT.c.event_id == event_id)).mappings().first()
    if target is None:
        raise NotFound(f"There is no answer {event_id!r}.", cause="It belongs to another workspace.")
    if target["task_id"] is None or target["action"] == Action.UNDO:
        raise BadInput(f"The event {event_id!r} is no answer to a task.", remedy="Undo the answer itself.")
    if target["who"] != who:
        require_in(connection, who, Role.ADJUDICATOR)
    if target["source"] == Source.ADJUDICATION:
        require_in(connection, who, Role.ADJUDICATOR)
    task = row_of(connection, target["task_id"])
    events = events_of_task(connection, task["task_id"])
    if event_id in cancelled_events((e["event_id"], e["undoes"]) for e in events if e["action"] == Action.UNDO):
        raise BadInput(
            f"The answer {event_id!r} was taken back already.",
            remedy="Nothing is to be done.",
            situation="taken_back_already",
        )
    later = [
        e["event_id"]
        for e in standing_events(events)
        if e["sequence"] > target["sequence"] and (e["who"], e["source"]) == (target["who"], target["source"])
    ]
    written = take_back(connection, key, task, who, [event_id, *later], request_id, note, at)
    state, _ = restate(connection, task, at)
    publish_settled(connection, task, state, written[0], at)
    if target["source"] == Source.READER and state in (TaskState.OPEN, TaskState.ANSWERED):
        lease_to(connection, [task["task_id"]], target["who"], at, at + timedelta(seconds=lease_seconds))
    return Receipt(
        request_id=request_id,
        event_id=written[0].event_id,
        task_id=task["task_id"],
        task_state=state,
        label=None,
        second_event=any(e["action"] in READING for e in events if e["event_id"] in later),
    )


def take_back(
    connection: Connection,
    key: bytes,
    task: TaskRow,
    who: str,
    event_ids: Sequence[str],
    request_id: str,
    note: str | None,
    at: datetime,
) -> list[LabelEvent]:
    """Append an undo of each of a task's events; the first carries ``request_id``, the others ids made from it."""
    events = {e["event_id"]: e for e in events_of_task(connection, task["task_id"])}
    undos = [
        NewLabelEvent(
            who=who,
            subject_kind=SubjectKind(task["subject_kind"]),
            subject_id=task["subject_id"],
            action=Action.UNDO,
            note=note,
            # Somebody else's answer is taken back with an adjudicator's word.
            source=Source(events[event_id]["source"]) if events[event_id]["who"] == who else Source.ADJUDICATION,
            task_id=task["task_id"],
            undoes=event_id,
            request_id=request_id if number == 0 else f"{request_id}+{number}",
        )
        for number, event_id in enumerate(event_ids)
    ]
    return append_within(connection, key, undos, at)


def _repeated(connection: Connection, known: dict[str, Any], who: str, event_id: str) -> Receipt:
    if (known["who"], known["action"], known["undoes"]) != (who, Action.UNDO, event_id):
        raise BadInput(
            f"The request {known['request_id']!r} was already used for something else.",
            remedy="Give every request an id of its own.",
        )
    task = row_of(connection, known["task_id"])
    return Receipt(
        request_id=known["request_id"],
        event_id=known["event_id"],
        task_id=known["task_id"],
        task_state=TaskState(task["state"]),
        label=None,
    )
