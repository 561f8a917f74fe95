"""Conflicts: statements about one subject that cannot both be true, kept once each until a person decides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import pandas as pd
from sqlalchemy import Connection, insert, select

from data_contracts.ledger.chain import canonical_json
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, now
from data_contracts.ledger.lookups import rows_where_in
from data_contracts.ledger.tables import CONFLICT
from data_contracts.records import Conflict


def insert_conflicts(connection: Connection, conflicts: Sequence[Conflict]) -> int:
    """:func:`record_conflicts` within a write transaction that is under way."""
    by_id = {_conflict_id(conflict): conflict for conflict in conflicts}
    known = {
        row.conflict_id
        for row in rows_where_in(connection, select(CONFLICT.c.conflict_id), CONFLICT.c.conflict_id, by_id)
    }
    at = as_text(now())
    rows = [
        {
            "conflict_id": conflict_id,
            "kind": conflict.kind.value,
            "subject_kind": conflict.subject_kind.value,
            "subject_id": conflict.subject_id,
            "labels": canonical_json(list(conflict.labels)),
            "detail": conflict.detail,
            "at": at,
        }
        for conflict_id, conflict in by_id.items()
        if conflict_id not in known
    ]
    if rows:
        connection.execute(insert(CONFLICT), rows)
    return len(rows)


def record_conflicts(ledger: Ledger, conflicts: Sequence[Conflict]) -> int:
    """Keep conflicts that are not known yet; returns how many were new.

    Two conflicts are the same if kind, subject and the set of labels are; ``detail`` may be worded differently.
    """
    if not conflicts:
        return 0
    with ledger.writing() as connection:
        return insert_conflicts(connection, conflicts)


def conflicts_frame(ledger: Ledger) -> pd.DataFrame:
    """All conflicts, oldest first: ``kind, subject_kind, subject_id, labels`` (tuple), ``detail, at`` (UTC)."""
    columns = ["kind", "subject_kind", "subject_id", "labels", "detail", "at"]
    with ledger.reading() as connection:
        query = select(*(CONFLICT.c[name] for name in columns)).order_by(CONFLICT.c.at, CONFLICT.c.conflict_id)
        rows = connection.execute(query).all()
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    return frame.assign(
        labels=frame["labels"].map(lambda text: tuple(json.loads(text))),
        at=pd.to_datetime(frame["at"], format="ISO8601", utc=True).astype("datetime64[ns, UTC]"),
    )


def _conflict_id(conflict: Conflict) -> str:
    identity = [conflict.kind.value, conflict.subject_kind.value, conflict.subject_id, sorted(conflict.labels)]
    return hashlib.sha256(canonical_json(identity).encode("utf-8")).hexdigest()
