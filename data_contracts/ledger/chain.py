"""Keyed hash chains: every entry's hash covers the entry and the hash of the one before (HMAC-SHA256, RFC 2104).

Without the key nobody can write an entry that fits, change one, reorder or remove any. The head of each chain is sealed
beside it, so cutting the end off shows as well. Five tables are chains: label events, promotions, looks of the gate,
taxonomy versions and dataset versions.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, func, insert, select, update

from data_contracts.errors import BadInput, IntegrityError
from data_contracts.ledger.tables import CHAIN_HEAD
from data_contracts.records import LedgerHead

GENESIS = "0" * 64
"""What the first entry of a chain has for the hash before it."""

Row = dict[str, Any]

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def canonical_json(value: object) -> str:
    """The one spelling of a value: keys sorted, no spaces, UTF-8, no NaN.

    Raises:
        BadInput: the value has text that no database can store (lone surrogates, NUL) or a number that is not finite.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (ValueError, TypeError) as error:
        raise BadInput(f"The entry cannot be kept in the ledger: {error}.") from None
    if "\\u0000" in text and _NUL.search(text):
        raise BadInput(
            "The entry has a NUL character, which the ledger refuses.", remedy="Remove it from the text or label."
        )
    return text


def plain(value: object) -> Any:
    """A report as plain JSON values: numbers that are not finite become ``None``, numpy scalars become numbers."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if callable(item := getattr(value, "tolist", None)):  # numpy scalars and arrays
        return plain(item())
    return str(value)


def entry_hash(key: bytes, chain: str, row: Mapping[str, Any] | RowMapping) -> str:
    """The hash of an entry: HMAC-SHA256 over every column but ``hash`` itself, in hexadecimal."""
    content = {name: value for name, value in row.items() if name != "hash"}
    return _hmac(key, {"chain": chain, "entry": content})


def head_seal(key: bytes, chain: str, head: LedgerHead) -> str:
    """The seal of a chain's end."""
    return _hmac(key, {"chain": chain, "head": [head.sequence, head.hash]})


def read_head(connection: Connection, table: Table) -> LedgerHead:
    """The end of a chain as it was sealed; ``GENESIS`` for an empty one. Does not check the seal."""
    row = connection.execute(
        select(CHAIN_HEAD.c.sequence, CHAIN_HEAD.c.hash).where(CHAIN_HEAD.c.chain == table.name)
    ).first()
    return LedgerHead(sequence=0, hash=GENESIS) if row is None else LedgerHead(sequence=row.sequence, hash=row.hash)


def append_rows(connection: Connection, key: bytes, table: Table, rows: Sequence[Row]) -> list[Row]:
    """Append entries to a chain, in order; returns them with ``sequence``, ``previous_hash`` and ``hash``.

    Args:
        connection: inside :func:`~data_contracts.ledger.transactions.writing`.
        key: the ledger's secret.
        table: one of the chained tables.
        rows: every column but the three above; values exactly as the database gives them back.

    Raises:
        IntegrityError: the chain does not end where it was sealed; nothing is written on a broken chain.
        BadInput: a value that the ledger cannot keep.
    """
    if not rows:
        return []
    before = read_head(connection, table)
    _require_unbroken_end(connection, key, table, before)
    finished: list[Row] = []
    sequence, previous = before.sequence, before.hash
    for row in rows:
        sequence += 1
        entry = {**row, "sequence": sequence, "previous_hash": previous}
        previous = entry["hash"] = entry_hash(key, table.name, entry)
        finished.append(entry)
    connection.execute(insert(table), finished)
    after = LedgerHead(sequence=sequence, hash=previous)
    values = {"sequence": sequence, "hash": previous, "seal": head_seal(key, table.name, after)}
    if before.sequence:
        connection.execute(update(CHAIN_HEAD).where(CHAIN_HEAD.c.chain == table.name).values(**values))
    else:
        connection.execute(insert(CHAIN_HEAD).values(chain=table.name, **values))
    return finished


def _require_unbroken_end(connection: Connection, key: bytes, table: Table, head: LedgerHead) -> None:
    seal = connection.execute(select(CHAIN_HEAD.c.seal).where(CHAIN_HEAD.c.chain == table.name)).scalar()
    last = connection.execute(select(func.max(table.c.sequence))).scalar() or 0
    final = connection.execute(select(table.c.hash).where(table.c.sequence == head.sequence)).scalar()
    whole = last == head.sequence and (final or GENESIS) == head.hash
    if not whole or (head.sequence and not hmac.compare_digest(seal or "", head_seal(key, table.name, head))):
        raise IntegrityError(
            f"The chain of {table.name.replace('_', ' ')}s does not end where it was sealed; nothing was written.",
            cause="Somebody changed the database by other means than Tailsight, or mixed files of two backups.",
            remedy="See `tailsight labels verify`, then restore the ledger from a backup.",
        )


def _hmac(key: bytes, value: object) -> str:
    return hmac.new(key, canonical_json(value).encode("utf-8"), hashlib.sha256).hexdigest()
