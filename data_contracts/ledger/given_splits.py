"""The split that a user's column gives an image."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, select, update

from data_contracts.ledger.conflicts import insert_conflicts
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import IMAGE
from data_contracts.records import Conflict
from data_contracts.vocabulary import ConflictKind, Split, SubjectKind


def set_given_splits(ledger: Ledger, splits: Mapping[str, Split]) -> list[Conflict]:
    """Set the given split of images that have none yet.

    Args:
        ledger: where.
        splits: split by ``image_id``; images that the ledger does not know are passed over.

    Returns:
        A conflict for each image that was given another split before, which it keeps; also recorded.
    """
    conflicts: list[Conflict] = []
    changes: list[dict[str, str]] = []
    with ledger.writing() as connection:
        query = select(IMAGE.c.image_id, IMAGE.c.given_split)
        for row in rows_where_in(connection, query, IMAGE.c.image_id, splits):
            image_id, known = row.image_id, row.given_split
            if known is None:
                changes.append({"of_image": image_id, "to_value": splits[image_id].value})
            elif known != splits[image_id]:
                conflicts.append(split_mismatch(image_id, (Split(known), splits[image_id])))
        if changes:
            statement = update(IMAGE).where(IMAGE.c.image_id == bindparam("of_image"))
            connection.execute(statement.values(given_split=bindparam("to_value")), changes)
        insert_conflicts(connection, conflicts)
    return conflicts


def split_mismatch(image_id: str, splits: tuple[Split, ...]) -> Conflict:
    """The conflict of an image that is given several splits: a leak in the user's own split."""
    names = tuple(split.value for split in splits)
    return Conflict(
        kind=ConflictKind.SPLIT_MISMATCH,
        subject_kind=SubjectKind.IMAGE,
        subject_id=image_id,
        labels=names,
        detail=f"Files with exactly these bytes are given the splits {' and '.join(names)}.",
    )
