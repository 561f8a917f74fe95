"""An answer: its label event, the state of its task and the decision that leaves, all in one transaction.

An answer whose ``request_id`` is known makes no second event: whoever was cut off before the receipt came sends it
again, as often as needed.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_within
from data_contracts.ledger.fold import Event
from data_contracts.ledger.instants import as_text
from data_contracts.ledger.instants import now as this_moment
from data_contracts.ledger.standpoints import Standpoints
from data_contracts.ledger.tables import LABEL_EVENT
from data_contracts.ledger.tables_review import LEASE, SERVED
from data_contracts.ledger.taxonomies import taxonomy_in
from data_contracts.records import NewLabelEvent
from data_contracts.review.outbox import publish_settled
from data_contracts.review.records import Answer, Receipt
from data_contracts.review.roles import admit
from data_contracts.review.standing import READING, TaskStanding, is_second_event, standing_events, task_standing
from data_contracts.review.task_rows import TaskRow, events_of_task, restate, row_of
from data_contracts.vocabulary import Action, Source, SubjectKind, TaskState

_STATING = frozenset({Action.LABEL, Action.CONFIRM, Action.CORRECT})


def decide(
    ledger: Ledger, who: str, answer: Answer, *, read_first: bool = False, now: datetime | None = None
) -> Receipt:
    """Keep what a person answered to a task.

    The event's action says how the answer relates to the label on file: ``confirm`` if equal, ``correct`` if
    different, ``label`` where there was none. One answer closes a task that needs one reading; of two, equal ones close
    it and different ones make a dispute. ``unsure`` leaves it to others, ``skip`` to whoever comes next.

    Args:
        ledger: where.
        who: who answers.
        answer: what they say; ``confirm`` without a label confirms the label on file, or else the predicted class.
        read_first: the profile hides the model until the decision is locked; then one second answer with
            ``model_shown`` is allowed, which changes the label and keeps the first on record.
        now: when.

    Raises:
        NotFound: there is no such task.
        Refused: somebody else answered it meanwhile or holds it, this person answered it already, their role does not
            allow it, or the model was shown where it must not be.
        BadInput: the label is no class, is missing or is not wanted, or the request id was used for something else.
    """
    return decide_together(ledger, who, [answer], read_first=read_first, now=now)[0]


def decide_together(
    ledger: Ledger, who: str, answers: Sequence[Answer], *, read_first: bool = False, now: datetime | None = None
) -> list[Receipt]:
    """:func:`decide` for many tasks, all or none; receipts in the order of the answers."""
    at = now or this_moment()
    with ledger.writing() as connection:
        admit(connection, who, at)
        return [_decide(connection, ledger.key, who, answer, read_first, at) for answer in answers]


def event_by_request(connection: Connection, request_id: str) -> dict[str, Any] | None:
    """The event that a request made, if it did."""
    row = connection.execute(select(LABEL_EVENT).where(LABEL_EVENT.c.request_id == request_id)).mappings().first()
    return None if row is None else dict(row)


def class_of(connection: Connection, label: str) -> str:
    """The class that a label means.

    Raises:
        BadInput: the taxonomy does not know it (where there is one).
    """
    taxonomy = taxonomy_in(connection)
    found = taxonomy.resolve(label)
    if found is not None or not taxonomy.classes:
        return found or label
    near = difflib.get_close_matches(label, taxonomy.names, n=1)
    raise BadInput(
        f"There is no class {label!r}.",
        remedy=f"Did you mean {near[0]!r}?" if near else f"Classes: {', '.join(taxonomy.names)}.",
        situation="no_such_class",
        facts={"label": label, "classes": ", ".join(taxonomy.names)},
    )


def _decide(connection: Connection, key: bytes, who: str, answer: Answer, read_first: bool, at: datetime) -> Receipt:
    task = row_of(connection, answer.task_id)
    events = events_of_task(connection, answer.task_id)
    known = event_by_request(connection, answer.request_id)
    if known is not None:
        _require_same(known, who, answer)
        return _receipt(answer.request_id, known, TaskState(task["state"]), is_second_event(events, known))
    standing = task_standing(events)
    second = _require_allowed(connection, task, who, answer, events, standing, read_first, at)
    action, label = _what_is_said(connection, task, answer)
    event = NewLabelEvent(
        who=who,
        subject_kind=SubjectKind(task["subject_kind"]),
        subject_id=task["subject_id"],
        action=action,
        label=label,
        note=answer.note,
        certainty=answer.certainty,
        source=Source.READER,
        task_id=task["task_id"],
        seconds_spent=answer.seconds_spent,
        model_version=task["model_version"] if answer.model_shown else None,
        blind=not answer.model_shown,
        request_id=answer.request_id,
    )
    (written,) = append_within(connection, key, [event], at)
    connection.execute(delete(LEASE).where(LEASE.c.task_id == task["task_id"], LEASE.c.who == who))
    state, _ = restate(connection, task, at)
    publish_settled(connection, task, state, written, at)
    return _receipt(answer.request_id, written.model_dump(), state, second)


def _receipt(request_id: str, event: dict[str, Any], state: TaskState, second: bool) -> Receipt:
    return Receipt(
        request_id=request_id,
        event_id=event["event_id"],
        task_id=event["task_id"],
        task_state=state,
        label=event["label"],
        second_event=second,
    )


def _require_allowed(
    connection: Connection,
    task: TaskRow,
    who: str,
    answer: Answer,
    events: Sequence[dict[str, Any]],
    standing: TaskStanding,
    read_first: bool,
    at: datetime,
) -> bool:
    """Pass if this person may answer now; returns whether it is the second event of a read-first task.

    Raises:
        Refused: they may not.
    """
    own = [e for e in standing_events(events) if e["who"] == who and e["source"] == Source.READER]
    answered = [e for e in own if e["action"] in READING]
    if answered or any(e["action"] == Action.UNSURE for e in own):
        if _is_second(task, answer, answered, standing, read_first):
            return True
        raise Refused(
            f"{who} answered this task already.",
            cause="Its answer was saved; a screen may be older than that.",
            remedy="Undo the answer to give another one.",
            situation="answered_already",
            facts={"who": who},
        )
    _require_unsettled(task, standing)
    _require_not_anothers(connection, task, who, at)
    shown_before = any(e["who"] == who and e["action"] not in (Action.SKIP, Action.UNDO) for e in events)
    if answer.model_shown and (task["blind"] or read_first) and not shown_before:
        raise Refused(
            "The model was shown before the decision on a task that is read blind; the answer was not kept.",
            remedy="Answer first; where the profile is read-first, the model is shown afterwards.",
            situation="model_shown_first",
        )
    return False


def _is_second(
    task: TaskRow, answer: Answer, answered: Sequence[Event], standing: TaskStanding, read_first: bool
) -> bool:
    return (
        read_first
        and answer.model_shown
        and not task["blind"]
        and len(answered) == 1
        and standing.adjudication is None
        and answer.action.value in READING
    )


def _require_unsettled(task: TaskRow, standing: TaskStanding) -> None:
    state = TaskState(task["state"])
    if state == TaskState.CLOSED:
        event = standing.adjudication or (standing.readings or [{"who": "Somebody", "at": "before"}])[-1]
        at = event["at"][:16].replace("T", " ")
        raise Refused(
            f"{event['who']} has answered this task meanwhile ({at} UTC).",
            cause="Your lease on it had expired.",
            remedy="Nothing is to be done; go on with the next one.",
            situation="answered_meanwhile",
            facts={"who": event["who"], "at": at},
        )
    if state == TaskState.DISPUTED:
        raise Refused(
            "The readings of this task differ; an adjudicator settles it.",
            remedy="Go on with the next one.",
            situation="readings_differ",
        )
    if state == TaskState.WITHDRAWN:
        raise Refused(
            "This task was taken out of the queue.", remedy="Go on with the next one.", situation="task_withdrawn"
        )


def _require_not_anothers(connection: Connection, task: TaskRow, who: str, at: datetime) -> None:
    """Whoever never had the task may not answer it while others fill its places; whoever had it may, first come."""
    here = (SERVED.c.task_id == task["task_id"]) & (SERVED.c.who == who)
    if connection.execute(select(SERVED.c.who).where(here)).first() is not None:
        return
    live = (LEASE.c.task_id == task["task_id"]) & (LEASE.c.who != who) & (LEASE.c.expires_at > as_text(at))
    others = connection.execute(select(func.count()).select_from(LEASE).where(live)).scalar_one()
    if others >= task["readings_required"] - (task["state"] == TaskState.ANSWERED):
        raise Refused(
            "Somebody else has this task before them.",
            remedy="Ask for a task of your own.",
            situation="task_of_another",
        )


def _what_is_said(connection: Connection, task: TaskRow, answer: Answer) -> tuple[Action, str | None]:
    """The action that the ledger keeps, and the label."""
    if answer.action not in _STATING:
        if answer.label is not None:
            raise BadInput(
                f"An answer {answer.action.value!r} states no label, but {answer.label!r} was given.",
                remedy="Leave the label out.",
            )
        return answer.action, None
    on_file = _label_on_file(connection, task)
    label = answer.label
    if label is None and answer.action == Action.CONFIRM:
        label = on_file if on_file is not None or not answer.model_shown else task["predicted"]
    if label is None or not label.strip():
        raise BadInput(f"The answer {answer.action.value!r} has no label.", remedy="Give the class.")
    label = class_of(connection, label)
    if on_file is None:
        return Action.LABEL, label
    return (Action.CONFIRM if label == on_file else Action.CORRECT), label


def _label_on_file(connection: Connection, task: TaskRow) -> str | None:
    """The label that holds for the task's subject, its own readings left out: a second reading corrects no first."""
    kind, subject = SubjectKind(task["subject_kind"]), task["subject_id"]
    standpoints = Standpoints.load(connection, [(kind, subject)], without_task=task["task_id"])
    label = standpoints.label(kind, subject)
    return None if label is None else standpoints.spelling(label)


def _require_same(known: dict[str, Any], who: str, answer: Answer) -> None:
    kept = "states a label" if known["action"] in set(_STATING) else known["action"]
    asked = "states a label" if answer.action in _STATING else answer.action.value
    same = (known["who"], known["task_id"], kept) == (who, answer.task_id, asked)
    if not same or answer.label not in (None, known["label"]):
        raise BadInput(
            f"The request {answer.request_id!r} was already used for another answer.",
            cause="Two different answers carry the same request id; only the first was kept.",
            remedy="Send the second answer with a request id of its own.",
        )
