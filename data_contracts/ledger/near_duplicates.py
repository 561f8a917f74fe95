"""Pairs of images that look the same."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from sqlalchemy import delete, insert, select

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import NEAR_DUPLICATE
from data_contracts.records import NearDuplicate


def record_near_duplicates(ledger: Ledger, pairs: Sequence[NearDuplicate]) -> int:
    """Keep pairs; returns how many were not known. A pair is the same in either order; a new measurement replaces."""
    given = {(min(p.image_a, p.image_b), max(p.image_a, p.image_b)): p for p in pairs}
    if not given:
        return 0
    with ledger.writing() as connection:
        query = select(NEAR_DUPLICATE.c.image_a, NEAR_DUPLICATE.c.image_b)
        stored = rows_where_in(connection, query, NEAR_DUPLICATE.c.image_a, (a for a, _ in given))
        known = {(row.image_a, row.image_b) for row in stored} & given.keys()
        for a, b in known:
            same = (NEAR_DUPLICATE.c.image_a == a) & (NEAR_DUPLICATE.c.image_b == b)
            connection.execute(delete(NEAR_DUPLICATE).where(same))
        rows = [{**pair.model_dump(), "image_a": a, "image_b": b} for (a, b), pair in given.items()]
        connection.execute(insert(NEAR_DUPLICATE), rows)
    return len(given) - len(known)


def near_duplicates_frame(ledger: Ledger) -> pd.DataFrame:
    """All pairs: ``image_a, image_b`` (in order), ``hash_distance, correlation, transform, binding``."""
    query = select(NEAR_DUPLICATE).order_by(NEAR_DUPLICATE.c.image_a, NEAR_DUPLICATE.c.image_b)
    columns = [column.name for column in NEAR_DUPLICATE.columns]
    with ledger.reading() as connection:
        frame = pd.DataFrame(connection.execute(query).all(), columns=columns, dtype=object)
    return frame.astype({"hash_distance": "int64", "correlation": "float64", "binding": bool})
