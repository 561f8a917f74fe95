"""Append label events, and read them."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime

import pandas as pd
from sqlalchemy import ColumnElement, Connection, and_, or_, select

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.chain import Row, append_rows, read_head
from data_contracts.ledger.conflicts import insert_conflicts
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.event_tables import event_frame_of, event_of
from data_contracts.ledger.instants import as_text, now
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.standpoints import Standpoints
from data_contracts.ledger.tables import IMAGE, LABEL_EVENT
from data_contracts.records import Conflict, LabelEvent, LedgerHead, NewLabelEvent
from data_contracts.vocabulary import Action, ConflictKind, Source, SubjectKind

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STATES_A_LABEL = (Action.LABEL, Action.CORRECT, Action.ADJUDICATE, Action.IMPORT)


def append_events(ledger: Ledger, events: Sequence[NewLabelEvent]) -> list[LabelEvent]:
    """Append events in their order, all or none, and return them with their place in the chain.

    - An event whose ``request_id`` is known is not appended again; the first event is returned in its place.
    - ``previous_label`` becomes what the subject (or its group) was called before.
    - ``confirm`` without a label confirms the label that holds.
    - An ``import`` that contradicts what a person answered is kept, never wins, and is recorded as a conflict; also
      when the same import comes again.

    Raises:
        BadInput: an event lacks its label, confirms nothing, undoes something unknown or of another subject, has a
            control character or a number that is not finite, or re-uses a ``request_id`` for something else.
        Refused: an undo of a stronger source's event by a weaker source.
        IntegrityError: the chain does not end where it was sealed.
    """
    for event in events:
        _require_sound(event)  # before the only writer's place is taken
    if not events:
        return []
    with ledger.writing() as connection:
        return append_within(connection, ledger.key, events, now())


def append_within(
    connection: Connection, key: bytes, events: Sequence[NewLabelEvent], at: datetime
) -> list[LabelEvent]:
    """:func:`append_events` within a write transaction that is under way, with what else must hold together with it.

    Args:
        connection: inside :meth:`~data_contracts.ledger.connect.Ledger.writing`.
        key: the ledger's secret.
        events: see :func:`append_events`.
        at: when they were said.
    """
    for event in events:
        _require_sound(event)
    if not events:
        return []
    repeated = _events_by_request(connection, events)
    standpoints = Standpoints.load(connection, ((e.subject_kind, e.subject_id) for e in events))
    sequence = read_head(connection, LABEL_EVENT).sequence
    rows: list[Row] = []
    places: list[Row] = []
    conflicts: list[Conflict] = []
    for event in events:
        row = repeated.get(event.request_id) if event.request_id is not None else None
        if row is None:
            sequence += 1
            row = _new_row(event, sequence, as_text(at), standpoints)
            rows.append(row)
            if event.request_id is not None:
                repeated[event.request_id] = row
            conflict = _contradiction(event, standpoints)
            standpoints.apply(row)
        else:
            _require_same(event, row)
            conflict = _contradiction(event, standpoints)
        places.append(row)
        if conflict is not None:
            conflicts.append(conflict)
    finished = {row["event_id"]: row for row in append_rows(connection, key, LABEL_EVENT, rows)}
    insert_conflicts(connection, conflicts)
    return [event_of(finished.get(row["event_id"], row)) for row in places]


def events_frame(ledger: Ledger) -> pd.DataFrame:
    """Every label event in the order of the chain: one column per field of the record, ``at`` as a UTC instant."""
    with ledger.reading() as connection:
        return event_frame_of(connection)


def history(ledger: Ledger, image_id: str) -> list[LabelEvent]:
    """Everything that was said of an image and of its group, in order."""
    with ledger.reading() as connection:
        group = connection.execute(select(IMAGE.c.group_id).where(IMAGE.c.image_id == image_id)).scalar()
        of_subject: ColumnElement[bool] = and_(
            LABEL_EVENT.c.subject_kind == SubjectKind.IMAGE.value, LABEL_EVENT.c.subject_id == image_id
        )
        if group is not None:
            of_group = and_(LABEL_EVENT.c.subject_kind == SubjectKind.GROUP.value, LABEL_EVENT.c.subject_id == group)
            of_subject = or_(of_subject, of_group)
        rows = (
            connection.execute(select(LABEL_EVENT).where(of_subject).order_by(LABEL_EVENT.c.sequence)).mappings().all()
        )
    return [event_of(row) for row in rows]


def head(ledger: Ledger) -> LedgerHead:
    """The end of the label chain: how many events there are, and the hash of the last."""
    with ledger.reading() as connection:
        return read_head(connection, LABEL_EVENT)


def _require_sound(event: NewLabelEvent) -> None:
    for name in ("who", "subject_id", "label", "task_id", "model_version", "undoes", "request_id"):
        value = getattr(event, name)
        if value is not None and (_CONTROL.search(value) or len(value) > 255):
            raise BadInput(f"The {name} {value[:60]!r} has control characters or is longer than 255.")
    if event.action in _STATES_A_LABEL and not (event.label or "").strip():
        raise BadInput(f"The event on {event.subject_id} ({event.action.value}) has no label.")
    if (event.action == Action.UNDO) != (event.undoes is not None):
        raise BadInput(f"The event on {event.subject_id}: 'undo', and only 'undo', names the event that it takes back.")
    if event.seconds_spent is not None and not (math.isfinite(event.seconds_spent) and event.seconds_spent >= 0):
        raise BadInput(f"The event on {event.subject_id}: seconds_spent is {event.seconds_spent}; it is a time.")


def _new_row(event: NewLabelEvent, sequence: int, at: str, standpoints: Standpoints) -> Row:
    held = standpoints.label(event.subject_kind, event.subject_id)
    label = event.label
    if event.action == Action.CONFIRM and label is None:
        label = held
        if label is None:
            raise BadInput(f"{event.subject_id} has no label that could be confirmed.", remedy="Give the label.")
    if event.action == Action.UNDO and event.undoes is not None:
        _require_undoable(event, standpoints)
    return {
        **event.model_dump(mode="json"),
        "label": label,
        "seconds_spent": None if event.seconds_spent is None else event.seconds_spent + 0.0,  # -0.0 does not survive
        "sequence": sequence,
        "event_id": uuid.uuid4().hex,
        "at": at,
        "previous_label": held,
    }


def _require_undoable(event: NewLabelEvent, standpoints: Standpoints) -> None:
    target = standpoints.event(event.subject_kind, event.subject_id, event.undoes or "")
    if target is None:
        raise BadInput(
            f"There is no event {event.undoes} on {event.subject_id} that could be undone.",
            cause="It belongs to another subject, or was never kept.",
        )
    if Source(target["source"]).strength > event.source.strength:
        raise Refused(
            f"An event of source {target['source']!r} cannot be undone by source {event.source.value!r}.",
            remedy="Somebody whose word counts as much has to undo it.",
        )


def _contradiction(event: NewLabelEvent, standpoints: Standpoints) -> Conflict | None:
    """The conflict of an imported label with what a person answered, if there is one."""
    if event.action != Action.IMPORT or event.label is None:
        return None
    winner = standpoints.winner(event.subject_kind, event.subject_id)
    if winner is None or not _outranks(winner, event):
        return None
    said, imported = standpoints.spelling(winner["label"]), standpoints.spelling(event.label)
    if said == imported or standpoints.may_mean(winner, event.label):
        return None
    return Conflict(
        kind=ConflictKind.IMPORT_AGAINST_HUMAN,
        subject_kind=event.subject_kind,
        subject_id=event.subject_id,
        labels=(said, imported),
        detail=f"{winner['who']} answered {said!r}; an imported file says {imported!r}. The answer {said!r} stays.",
    )


def _outranks(winner: Row, imported: NewLabelEvent) -> bool:
    strength = Source(winner["source"]).strength
    return strength > imported.source.strength or (
        strength == imported.source.strength and winner["action"] != Action.IMPORT
    )


def _events_by_request(connection: Connection, events: Iterable[NewLabelEvent]) -> dict[str | None, Row]:
    requests = (event.request_id for event in events if event.request_id is not None)
    stored = rows_where_in(connection, select(LABEL_EVENT), LABEL_EVENT.c.request_id, requests)
    return {row.request_id: dict(row._mapping) for row in stored}


def _require_same(event: NewLabelEvent, row: Row) -> None:
    same = (row["subject_kind"], row["subject_id"], row["action"], row["undoes"]) == (
        event.subject_kind.value,
        event.subject_id,
        event.action.value,
        event.undoes,
    )
    if not same or event.label not in (None, row["label"]):
        raise BadInput(
            f"The request {event.request_id!r} was already used, for {row['subject_id']}.",
            cause="Two different answers carry the same request id; only the first was kept.",
            remedy="Send the second answer with a request id of its own.",
        )
