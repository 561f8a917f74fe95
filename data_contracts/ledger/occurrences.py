"""Rows of the places where images were seen; used by :mod:`data_contracts.ledger.images`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import EXTERNAL_ID, IMAGE, OCCURRENCE
from data_contracts.records import Occurrence


def insert_occurrences(connection: Connection, occurrences: Sequence[Occurrence]) -> int:
    """Add the occurrences that are new, drop those whose file has other bytes now; returns how many are new."""
    given = {(item.root_id, item.path, item.image_id): item for item in occurrences}
    places = {(root_id, path) for root_id, path, _ in given}
    known = {
        (row.root_id, row.path, row.image_id): (row.size_bytes, row.modified_ns)
        for row in rows_where_in(connection, select(OCCURRENCE), OCCURRENCE.c.path, (path for _, path in places))
        if (row.root_id, row.path) in places
    }
    gone = known.keys() - given.keys()
    if gone:
        _forget_occurrences(connection, sorted(gone), given.keys())
    touched = [
        key for key in given.keys() & known.keys() if known[key] != (given[key].size_bytes, given[key].modified_ns)
    ]
    for key in touched:
        root_id, path, image_id = key
        place = (OCCURRENCE.c.root_id == root_id) & (OCCURRENCE.c.path == path) & (OCCURRENCE.c.image_id == image_id)
        values = {"size_bytes": given[key].size_bytes, "modified_ns": given[key].modified_ns}
        connection.execute(update(OCCURRENCE).where(place).values(**values))
    rows = [
        {**item.model_dump(exclude={"external_ids"}), "file_name": item.path.rpartition("/")[2]}
        for key, item in given.items()
        if key not in known
    ]
    if rows:
        connection.execute(insert(OCCURRENCE), rows)
    return len(rows)


def _forget_occurrences(
    connection: Connection, gone: Sequence[tuple[str, str, str]], given: Iterable[tuple[str, str, str]]
) -> None:
    """Drop occurrences whose file has other bytes now; their images are read from another copy where there is one."""
    for root_id, path, image_id in gone:
        place = (OCCURRENCE.c.root_id == root_id) & (OCCURRENCE.c.path == path) & (OCCURRENCE.c.image_id == image_id)
        connection.execute(delete(OCCURRENCE).where(place))
    fragment = {image_id: image_id.partition("#")[1:] for _, _, image_id in gone}
    lost = {image_id: f"{root_id}/{path}{''.join(fragment[image_id])}" for root_id, path, image_id in gone}
    copies = {image_id: (root_id, path) for root_id, path, image_id in given if image_id in lost}
    stored = select(OCCURRENCE.c.image_id, OCCURRENCE.c.root_id, OCCURRENCE.c.path)
    for row in rows_where_in(connection, stored, OCCURRENCE.c.image_id, lost):
        copies.setdefault(row.image_id, (row.root_id, row.path))
    for image_id, (root_id, path) in copies.items():
        uri = f"{root_id}/{path}{''.join(fragment[image_id])}"
        same = (IMAGE.c.image_id == image_id) & (IMAGE.c.uri == lost[image_id])
        connection.execute(update(IMAGE).where(same).values(uri=uri))


def insert_external_ids(connection: Connection, occurrences: Sequence[Occurrence]) -> None:
    """Add the external ids (serial number, lot, name in another system) that are new."""
    given = {(o.image_id, name, value) for o in occurrences for name, value in o.external_ids.items() if value}
    if not given:
        return
    stored = rows_where_in(connection, select(EXTERNAL_ID), EXTERNAL_ID.c.image_id, (i for i, _, _ in given))
    known = {(row.image_id, row.name, row.value) for row in stored}
    rows = [{"image_id": i, "name": name, "value": value} for i, name, value in sorted(given - known)]
    if rows:
        connection.execute(insert(EXTERNAL_ID), rows)
