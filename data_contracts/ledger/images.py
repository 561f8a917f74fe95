"""Distinct images, where they were seen, and the groups they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
from sqlalchemy import Connection, bindparam, insert, select, update

from data_contracts.frames import IMAGES, checked
from data_contracts.ledger.chain import canonical_json, plain
from data_contracts.ledger.conflicts import insert_conflicts
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, now
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.occurrences import insert_external_ids, insert_occurrences
from data_contracts.ledger.tables import EXTERNAL_ID, IMAGE, OCCURRENCE, ROOT
from data_contracts.records import Conflict, ImageRecord, Occurrence
from data_contracts.vocabulary import ConflictKind, SubjectKind


@dataclass(frozen=True)
class AddedImages:
    """What :func:`add_images` did not know before."""

    new_images: int
    new_occurrences: int


def add_images(
    ledger: Ledger, images: Sequence[ImageRecord], occurrences: Sequence[Occurrence], batch: str
) -> AddedImages:
    """Add what is new, in one transaction; adding the same again changes nothing.

    A known image keeps what was first recorded of it. An occurrence whose file now has other bytes replaces the one
    before at that path; an image that thereby loses the file it is read from is read from another copy, if there is
    one. External ids are added to what is known.

    Args:
        ledger: where.
        images: distinct images; a repeated ``image_id`` counts once, the first.
        occurrences: of images that are known or among ``images``, under registered roots.
        batch: name of the delivery, kept with each new image.
    """
    with ledger.writing() as connection:
        new_images = _insert_images(connection, images, batch)
        new_occurrences = insert_occurrences(connection, occurrences)
        insert_external_ids(connection, occurrences)
    return AddedImages(new_images, new_occurrences)


def images_frame(ledger: Ledger) -> pd.DataFrame:
    """Every image, by ``image_id``: the columns of ``frames.IMAGES``, ``site``, ``batch``, ``first_seen`` (UTC)."""
    columns = {
        **{name: IMAGE.c[name] for name in ("image_id", "uri", "width", "height", "mode", "bit_depth", "format")},
        **{name: IMAGE.c[name] for name in ("size_bytes", "perceptual_hash", "brightness")},
        "group": IMAGE.c.group_id,
        **{name: IMAGE.c[name] for name in ("given_split", "site", "batch", "first_seen")},
    }
    with ledger.reading() as connection:
        rows = connection.execute(select(*columns.values()).order_by(IMAGE.c.image_id)).all()
    frame = pd.DataFrame(rows, columns=list(columns), dtype=object)
    instants = pd.to_datetime(frame["first_seen"], format="ISO8601", utc=True).astype("datetime64[ns, UTC]")
    return checked(frame.assign(first_seen=instants), IMAGES)


def occurrences_frame(ledger: Ledger, root_id: str | None = None) -> pd.DataFrame:
    """Where images were seen: ``image_id, root_id, path, size_bytes, modified_ns`` (int64), of one root or of all."""
    columns = ["image_id", "root_id", "path", "size_bytes", "modified_ns"]
    query = select(*(OCCURRENCE.c[name] for name in columns)).order_by(
        OCCURRENCE.c.root_id, OCCURRENCE.c.path, OCCURRENCE.c.image_id
    )
    with ledger.reading() as connection:
        rows = connection.execute(query if root_id is None else query.where(OCCURRENCE.c.root_id == root_id)).all()
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    return frame.astype({"size_bytes": "int64", "modified_ns": "int64"})


def set_groups(ledger: Ledger, groups: Mapping[str, str]) -> list[Conflict]:
    """Set the group of images that have none yet.

    Args:
        ledger: where.
        groups: group by ``image_id``; images that the ledger does not know are passed over.

    Returns:
        A conflict for each image that is known to belong to another group, which it keeps; also recorded.
    """
    conflicts: list[Conflict] = []
    changes: dict[str, str] = {}
    with ledger.writing() as connection:
        query = select(IMAGE.c.image_id, IMAGE.c.group_id)
        for row in rows_where_in(connection, query, IMAGE.c.image_id, groups):
            image_id, known, group = row.image_id, row.group_id, groups[row.image_id]
            if known is None:
                changes[image_id] = group
            elif known != group:
                conflicts.append(
                    Conflict(
                        kind=ConflictKind.GROUP_MISMATCH,
                        subject_kind=SubjectKind.IMAGE,
                        subject_id=image_id,
                        labels=(known, group),
                        detail=f"The image belongs to group {known!r}; now it is said to belong to {group!r}. "
                        f"It stays in {known!r}.",
                    )
                )
        if changes:
            _update_images(connection, "group_id", changes)
        insert_conflicts(connection, conflicts)
    return conflicts


def find_images(ledger: Ledger, text: str) -> list[str]:
    """Ids of the images that ``text`` names.

    ``text`` is an image id or the first 8 or more characters of one, a file name, a path (relative to its root,
    absolute, or a uri), or any external id. Sorted; empty where nothing fits.
    """
    wanted = text.strip()
    if not wanted:
        return []
    found: set[str] = set()
    relative = wanted.removeprefix("./")
    with ledger.reading() as connection:
        if len(wanted) >= 8:
            prefix = IMAGE.c.image_id.startswith(wanted.lower(), autoescape=True)
            found.update(connection.execute(select(IMAGE.c.image_id).where(prefix)).scalars())
        found.update(connection.execute(select(IMAGE.c.image_id).where(IMAGE.c.uri == wanted)).scalars())
        for column, value in ((OCCURRENCE.c.path, relative), (OCCURRENCE.c.file_name, wanted)):
            found.update(connection.execute(select(OCCURRENCE.c.image_id).where(column == value)).scalars())
        found.update(connection.execute(select(EXTERNAL_ID.c.image_id).where(EXTERNAL_ID.c.value == wanted)).scalars())
        if Path(wanted).is_absolute() or wanted.startswith("s3://"):
            found.update(_under_roots(connection, wanted))
    return sorted(found)


def repoint_images(ledger: Ledger, uris: Mapping[str, str]) -> None:
    """Read images from another place from now on: new uri by ``image_id`` (a file moved, custody was taken)."""
    with ledger.writing() as connection:
        _update_images(connection, "uri", uris)


def _update_images(connection: Connection, column: str, values: Mapping[str, str]) -> None:
    if values:
        statement = (
            update(IMAGE).where(IMAGE.c.image_id == bindparam("of_image")).values({column: bindparam("to_value")})
        )
        connection.execute(statement, [{"of_image": key, "to_value": value} for key, value in values.items()])


def _under_roots(connection: Connection, path: str) -> Iterator[str]:
    for root_id, folder in connection.execute(select(ROOT.c.root_id, ROOT.c.folder)).all():
        if PurePosixPath(path).is_relative_to(folder):  # of an address, too: both spell s3: alike
            relative = PurePosixPath(path).relative_to(folder).as_posix()
            place = (OCCURRENCE.c.root_id == root_id) & (OCCURRENCE.c.path == relative)
            yield from connection.execute(select(OCCURRENCE.c.image_id).where(place)).scalars()


def _insert_images(connection: Connection, images: Sequence[ImageRecord], batch: str) -> int:
    records = {image.image_id: image for image in reversed(images)}
    known = {row.image_id for row in rows_where_in(connection, select(IMAGE.c.image_id), IMAGE.c.image_id, records)}
    at = as_text(now())
    rows = [
        {
            **image.model_dump(exclude={"group", "metadata", "captured_at", "given_split"}),
            "group_id": image.group,
            "captured_at": None if image.captured_at is None else as_text(image.captured_at),
            "given_split": None if image.given_split is None else image.given_split.value,
            "metadata": canonical_json(plain(image.metadata)),
            "batch": batch,
            "first_seen": at,
        }
        for image in records.values()
        if image.image_id not in known
    ]
    if rows:
        connection.execute(insert(IMAGE), rows)
    return len(rows)
