"""Which split an image belongs to: assigned once, for ever."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from sqlalchemy import insert, select

from data_contracts.errors import IntegrityError
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, now
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import SPLIT_ASSIGNMENT
from data_contracts.vocabulary import Split


def split_assignments(ledger: Ledger) -> pd.DataFrame:
    """Every assignment: ``image_id, split, dataset_version`` (the first that used the image there)."""
    columns = ["image_id", "split", "dataset_version"]
    query = select(*(SPLIT_ASSIGNMENT.c[name] for name in columns)).order_by(SPLIT_ASSIGNMENT.c.image_id)
    with ledger.reading() as connection:
        return pd.DataFrame(connection.execute(query).all(), columns=columns, dtype=object)


def assign_splits(ledger: Ledger, splits: Mapping[str, Split], dataset_version: str) -> int:
    """Assign images to splits, all or none; returns how many had none before.

    The pool is where an image waits, not an assignment: pool entries are passed over, and an image may leave the pool.

    Raises:
        IntegrityError: an image is assigned to another split already; the first few are named.
    """
    wanted = {image_id: Split(split) for image_id, split in splits.items() if split != Split.POOL}
    if not wanted:
        return 0
    with ledger.writing() as connection:
        query = select(SPLIT_ASSIGNMENT.c.image_id, SPLIT_ASSIGNMENT.c.split)
        known = {
            row.image_id: row.split for row in rows_where_in(connection, query, SPLIT_ASSIGNMENT.c.image_id, wanted)
        }
        moved = [f"{i} from {split} to {wanted[i].value}" for i, split in known.items() if split != wanted[i]]
        if moved:
            raise IntegrityError(
                f"{len(moved)} images would change their split, first {'; '.join(moved[:3])}.",
                cause="A split is given once, so that no test image is ever trained on.",
                remedy="Keep the assigned splits; new images may go anywhere.",
            )
        at = as_text(now())
        rows = [
            {"image_id": image_id, "split": split.value, "dataset_version": dataset_version, "at": at}
            for image_id, split in wanted.items()
            if image_id not in known
        ]
        if rows:
            connection.execute(insert(SPLIT_ASSIGNMENT), rows)
    return len(rows)
