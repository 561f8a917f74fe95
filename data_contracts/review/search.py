"""Find an image by any of its names or by a time, and tell everything that happened to it, undone answers included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field
from sqlalchemy import Connection, and_, or_, select

from data_contracts.errors import NotFound
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.event_tables import event_of
from data_contracts.ledger.fold import cancelled_events
from data_contracts.ledger.images import find_images as images_named
from data_contracts.ledger.instants import as_text, from_text
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import EXTERNAL_ID, IMAGE, LABEL_EVENT, OCCURRENCE, SPLIT_ASSIGNMENT
from data_contracts.ledger.tables_review import DECISION_OUT, DELIVERY, REVIEW_TASK
from data_contracts.records import LabelEvent, Record
from data_contracts.review.outbox import external_ids_of, verdict_in
from data_contracts.vocabulary import Action, SubjectKind

MOST = 200
"""How many images a search gives at most."""

_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2})(:\d{2})?)?\Z")


class FoundImage(Record):
    """One image that a search found. ``external_ids`` hold its file names under ``file_name``."""

    image_id: str
    group: str | None
    external_ids: dict[str, tuple[str, ...]]


class StoryKind(StrEnum):
    """What happened."""

    SEEN = "seen"
    QUEUED = "queued"
    SAID = "said"
    DECIDED = "decided"
    DELIVERED = "delivered"


class StoryEntry(Record):
    """One thing that happened. ``facts`` depend on the kind; ``event`` is the label event of what was said."""

    at: datetime
    kind: StoryKind
    who: str | None = None
    subject_kind: SubjectKind = SubjectKind.IMAGE
    event: LabelEvent | None = None
    undone: bool = False
    facts: dict[str, Any] = Field(default_factory=dict)


class Story(Record):
    """Everything that is known of one image, oldest first, and what holds now."""

    image_id: str
    uri: str
    group: str | None
    split: str | None
    external_ids: dict[str, tuple[str, ...]]
    label: str | None
    bad_image: bool
    entries: tuple[StoryEntry, ...]


def find_images(ledger: Ledger, text: str, *, time_zone: str = "UTC", limit: int = MOST) -> list[FoundImage]:
    """Images that ``text`` names: the most exact kind of name that fits decides.

    Args:
        ledger: where.
        text: a file name or path, serial, lot or any other external id, a group, an image id or its first 8 or more
            characters; or a date or time (``2026-03-01``, ``2026-03-01 08:05``), which finds what was taken, first seen
            or answered then. Where nothing is called so, names that contain it are tried.
        time_zone: of a time.
        limit: how many at most.
    """
    wanted = text.strip()
    if not wanted:
        return []
    found = images_named(ledger, wanted)
    with ledger.reading() as connection:
        if not found:
            found = sorted(connection.execute(select(IMAGE.c.image_id).where(IMAGE.c.group_id == wanted)).scalars())
        if not found and (span := _span(wanted, time_zone)) is not None:
            found = list(dict.fromkeys(_at_time(connection, *span)))
        elif not found:
            found = sorted(set(_containing(connection, wanted, limit)))
        return _described(connection, found[:limit])


def story(ledger: Ledger, image_id: str) -> Story:
    """Everything that happened to an image and, as far as it concerns it, to its group.

    Raises:
        NotFound: there is no such image.
    """
    with ledger.reading() as connection:
        image = connection.execute(select(IMAGE).where(IMAGE.c.image_id == image_id)).mappings().first()
        if image is None:
            raise NotFound(
                f"There is no image {image_id!r}.",
                remedy="Search for its file name or serial number.",
                situation="no_such_image",
                facts={"image": image_id},
            )
        subjects = [(SubjectKind.IMAGE.value, image_id)]
        if image["group_id"] is not None:
            subjects.append((SubjectKind.GROUP.value, image["group_id"]))
        ids = external_ids_of(connection, subjects[:1])[subjects[0]]
        split = connection.execute(select(SPLIT_ASSIGNMENT.c.split).where(SPLIT_ASSIGNMENT.c.image_id == image_id))
        label, bad_image = verdict_in(connection, SubjectKind.IMAGE, image_id)
        seen = StoryEntry(at=from_text(image["first_seen"]), kind=StoryKind.SEEN, facts={"batch": image["batch"]})
        entries = [
            seen,
            *(entry for subject in subjects for entry in _of_subject(connection, subject)),
        ]
        return Story(
            image_id=image_id,
            uri=image["uri"],
            group=image["group_id"],
            split=split.scalar(),
            external_ids={name: tuple(values) for name, values in ids.items()},
            label=label,
            bad_image=bad_image,
            entries=tuple(sorted(entries, key=_when)),
        )


def _when(entry: StoryEntry) -> tuple[datetime, int, int]:
    return entry.at, list(StoryKind).index(entry.kind), 0 if entry.event is None else entry.event.sequence


def _of_subject(connection: Connection, subject: tuple[str, str]) -> Iterator[StoryEntry]:
    kind = SubjectKind(subject[0])

    def of(table: Any) -> Any:
        return connection.execute(
            select(table).where(table.c.subject_kind == subject[0], table.c.subject_id == subject[1])
        ).mappings()

    for row in of(REVIEW_TASK):
        names = (
            "task_id",
            "kind",
            "reason",
            "purpose",
            "round",
            "strategy",
            "model_version",
            "predicted",
            "confidence",
        )
        facts = {name: row[name] for name in (*names, "blind", "readings_required", "state")}
        yield StoryEntry(at=from_text(row["created_at"]), kind=StoryKind.QUEUED, subject_kind=kind, facts=facts)
    events = [event_of(row) for row in of(LABEL_EVENT)]
    events.sort(key=lambda event: event.sequence)
    undone = cancelled_events((e.event_id, e.undoes) for e in events if e.action == Action.UNDO)
    for event in events:
        yield StoryEntry(
            at=event.at,
            kind=StoryKind.SAID,
            who=event.who,
            subject_kind=kind,
            event=event,
            undone=event.event_id in undone,
        )
    made = {row["decision_id"]: row for row in of(DECISION_OUT)}
    for row in made.values():
        told = ("decision_id", "verdict", "bad_image", "automatic", "model_version", "supersedes", "event_id")
        facts = {name: row[name] for name in told}
        decided = {"at": from_text(row["at"]), "who": row["who"], "subject_kind": kind, "facts": facts}
        yield StoryEntry(kind=StoryKind.DECIDED, **decided)
    for row in rows_where_in(connection, select(DELIVERY), DELIVERY.c.decision_id, made):
        facts = {"decision_id": row.decision_id, "sink": row.sink}
        yield StoryEntry(at=from_text(row.at), kind=StoryKind.DELIVERED, subject_kind=kind, facts=facts)


def _span(text: str, time_zone: str) -> tuple[str, str] | None:
    """Beginning and end (exclusive) of the day, minute or second that ``text`` names, as the ledger writes instants."""
    match = _TIME.match(text)
    if match is None:
        return None
    day, minute, second = match.groups()
    try:
        begin = datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ''}").replace(tzinfo=ZoneInfo(time_zone))
    except ValueError:
        return None
    length = timedelta(seconds=1) if second else timedelta(minutes=1) if minute else timedelta(days=1)
    return as_text(begin), as_text(begin + length)


def _at_time(connection: Connection, begin: str, end: str) -> Iterator[str]:
    """Images that were answered, taken or first seen in a span of time."""
    said = select(LABEL_EVENT.c.subject_kind, LABEL_EVENT.c.subject_id).where(
        LABEL_EVENT.c.at >= begin, LABEL_EVENT.c.at < end
    )
    subjects = connection.execute(said.order_by(LABEL_EVENT.c.sequence)).all()
    yield from (subject for kind, subject in subjects if kind == SubjectKind.IMAGE)
    groups = [subject for kind, subject in subjects if kind == SubjectKind.GROUP]
    members = select(IMAGE.c.image_id)
    yield from (row.image_id for row in rows_where_in(connection, members, IMAGE.c.group_id, groups))
    taken = and_(IMAGE.c.captured_at >= begin, IMAGE.c.captured_at < end)
    seen = and_(IMAGE.c.first_seen >= begin, IMAGE.c.first_seen < end)
    query = select(IMAGE.c.image_id).where(or_(taken, seen)).order_by(IMAGE.c.image_id)
    yield from connection.execute(query).scalars()


def _containing(connection: Connection, text: str, limit: int) -> Iterator[str]:
    for column, owner in (
        (OCCURRENCE.c.file_name, OCCURRENCE.c.image_id),
        (EXTERNAL_ID.c.value, EXTERNAL_ID.c.image_id),
        (IMAGE.c.group_id, IMAGE.c.image_id),
    ):
        query = select(owner).where(column.icontains(text, autoescape=True)).order_by(owner).limit(limit)
        yield from connection.execute(query).scalars()


def _described(connection: Connection, found: list[str]) -> list[FoundImage]:
    query = select(IMAGE.c.image_id, IMAGE.c.group_id)
    group_of = {row.image_id: row.group_id for row in rows_where_in(connection, query, IMAGE.c.image_id, found)}
    known = [image for image in found if image in group_of]
    ids = external_ids_of(connection, [(SubjectKind.IMAGE.value, image) for image in known])
    return [
        FoundImage(
            image_id=image,
            group=group_of[image],
            external_ids={name: tuple(v) for name, v in ids[SubjectKind.IMAGE.value, image].items()},
        )
        for image in known
    ]
