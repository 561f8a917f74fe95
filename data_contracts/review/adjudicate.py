"""Tasks that their readers could not settle: an adjudicator decides, or gives them back to be read again."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.event_tables import event_of
from data_contracts.ledger.events import append_within
from data_contracts.ledger.instants import from_text
from data_contracts.ledger.instants import now as this_moment
from data_contracts.ledger.tables_review import REVIEW_TASK
from data_contracts.records import NewLabelEvent
from data_contracts.review.decide import class_of, event_by_request
from data_contracts.review.outbox import publish_settled
from data_contracts.review.records import Dispute, Receipt
from data_contracts.review.roles import require_in
from data_contracts.review.standing import standing_events, task_standing
from data_contracts.review.task_rows import TaskRow, events_of_task, lease_to, restate, row_of, tasks_of
from data_contracts.review.undo import take_back
from data_contracts.vocabulary import Action, Role, Source, SubjectKind, TaskState

RETURNED_FOR = timedelta(days=7)
"""How long a returned task waits for its original readers before others may have it."""


def disputes(ledger: Ledger, who: str | None = None, *, now: datetime | None = None) -> list[Dispute]:
    """Every dispute, oldest first, with what its readers said (those who were unsure included).

    Raises:
        Refused: ``who`` was given and is no adjudicator: whoever still reads must not see the readings of others.
    """
    with ledger.reading() as connection:
        if who is not None:
            require_in(connection, who, Role.ADJUDICATOR)
        query = select(REVIEW_TASK).where(REVIEW_TASK.c.state == TaskState.DISPUTED.value)
        rows = connection.execute(query).mappings().all()
        found = []
        for row, task in zip(rows, tasks_of(connection, rows, now or this_moment()), strict=True):
            said = task_standing(events_of_task(connection, row["task_id"])).said.values()
            ordered = sorted((e for e in said if e["action"] != Action.SKIP), key=lambda e: int(e["sequence"]))
            readings = tuple(event_of(event) for event in ordered)
            found.append(Dispute(task=task, readings=readings, since=from_text(ordered[-1]["at"])))
    return sorted(found, key=lambda dispute: (dispute.since, dispute.task.task_id))


def adjudicate(
    ledger: Ledger,
    who: str,
    task_id: str,
    label: str | None,
    *,
    request_id: str,
    note: str | None = None,
    bad_image: bool = False,
    return_to_readers: bool = False,
    seconds_spent: float | None = None,
    now: datetime | None = None,
) -> Receipt:
    """Settle a dispute with a class or as a bad image, or give it back to the readers to be read again.

    Args:
        ledger: where.
        who: an adjudicator or a lead.
        task_id: the disputed task.
        label: the class; ``None`` with ``bad_image`` or ``return_to_readers``.
        request_id: makes a repeated request idempotent.
        note: why, for the auditor and for the readers.
        bad_image: the image cannot be judged.
        return_to_readers: every answer is taken back, and the task waits a week for those who gave them.
        seconds_spent: how long it took.
        now: when.

    Raises:
        Refused: ``who`` is no adjudicator, or the task is not disputed (any more).
        NotFound: there is no such task.
        BadInput: not exactly one of ``label``, ``bad_image`` and ``return_to_readers`` was given, or the label is no
            class.
    """
    if [label is not None, bad_image, return_to_readers].count(True) != 1:
        raise BadInput("A dispute ends with a class, as a bad image, or back with its readers: give exactly one.")
    at = now or this_moment()
    with ledger.writing() as connection:
        require_in(connection, who, Role.ADJUDICATOR)
        task = row_of(connection, task_id)
        action = Action.UNDO if return_to_readers else Action.BAD_IMAGE if bad_image else Action.ADJUDICATE
        spelled = None if label is None else class_of(connection, label)
        known = event_by_request(connection, request_id)
        if known is not None:
            if (known["who"], known["task_id"], known["action"], known["label"]) != (who, task_id, action, spelled):
                raise BadInput(
                    f"The request {request_id!r} was already used for something else.",
                    remedy="Give every request an id of its own.",
                )
            return _receipt(request_id, known["event_id"], task_id, TaskState(task["state"]), spelled)
        if task["state"] != TaskState.DISPUTED:
            raise Refused(
                f"The task is {task['state']}, not disputed.",
                cause="Somebody settled it meanwhile, or a reader took an answer back.",
                remedy="Go on with the next one.",
                situation="not_in_dispute",
            )
        if return_to_readers:
            return _give_back(connection, ledger.key, task, who, request_id, note, at)
        event = NewLabelEvent(
            who=who,
            subject_kind=SubjectKind(task["subject_kind"]),
            subject_id=task["subject_id"],
            action=action,
            label=spelled,
            note=note,
            source=Source.ADJUDICATION,
            task_id=task_id,
            seconds_spent=seconds_spent,
            model_version=None if task["blind"] else task["model_version"],
            blind=task["blind"],
            request_id=request_id,
        )
        (written,) = append_within(connection, ledger.key, [event], at)
        state, _ = restate(connection, task, at)
        publish_settled(connection, task, state, written, at)
        return _receipt(request_id, written.event_id, task_id, state, spelled)


def _give_back(
    connection: Connection, key: bytes, task: TaskRow, who: str, request_id: str, note: str | None, at: datetime
) -> Receipt:
    said = [
        event
        for event in standing_events(events_of_task(connection, task["task_id"]))
        if event["source"] == Source.READER and event["action"] != Action.SKIP
    ]
    readers = list(dict.fromkeys(event["who"] for event in said))
    every = [event["event_id"] for event in said]
    written = take_back(connection, key, task, who, every, request_id, note, at)
    state, _ = restate(connection, task, at)
    publish_settled(connection, task, state, written[0], at)
    for reader in readers[-task["readings_required"] :]:
        lease_to(connection, [task["task_id"]], reader, at, at + RETURNED_FOR, reserved=True)
    return _receipt(request_id, written[0].event_id, task["task_id"], state, None)


def _receipt(request_id: str, event_id: str, task_id: str, state: TaskState, label: str | None) -> Receipt:
    return Receipt(request_id=request_id, event_id=event_id, task_id=task_id, task_state=state, label=label)
