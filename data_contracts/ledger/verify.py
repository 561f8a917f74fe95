"""Is everything still as it was written? Chains, seals, anchors and the triggers that guard them."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, select

from data_contracts.errors import BadInput
from data_contracts.ledger.append_only import missing_guards
from data_contracts.ledger.chain import GENESIS, entry_hash, head_seal, read_head
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.tables import (
    CHAIN_HEAD,
    DATASET_VERSION,
    GATE_LOOK,
    LABEL_EVENT,
    PROMOTION_EVENT,
    TAXONOMY_VERSION,
)
from data_contracts.progress import SILENT, Progress, Step
from data_contracts.records import LedgerHead

CHAINED = (LABEL_EVENT, PROMOTION_EVENT, GATE_LOOK, TAXONOMY_VERSION, DATASET_VERSION)
"""The tables that are hash chains."""

SHOWN_PER_CHAIN = 20

_ROWS_AT_ONCE = 1_000

Anchor = tuple[str, int, str]
"""Who names an event, its sequence number and its hash."""


@dataclass(frozen=True)
class Verification:
    """What :func:`verify_chain` found; ``problems`` are sentences, empty when ``ok``."""

    ok: bool
    events: int
    promotions: int
    problems: tuple[str, ...]


def verify_chain(ledger: Ledger, progress: Progress = SILENT) -> Verification:
    """Recompute every hash and hold every anchor against the chain it names.

    Found are: a changed field, a removed, added, repeated or reordered entry, an end that was cut off, a chain that was
    written anew, an anchor (dataset version, promotion, ``dataset.json`` beside a manifest) that names an event which
    is not there, and triggers that were removed.
    """
    with ledger.reading() as connection:
        anchors = [*_anchors(connection), *_manifest_anchors(ledger)]
        wanted = {number for _, number, _ in anchors}
        with progress.step(
            "Checking the ledger", sum(read_head(connection, table).sequence for table in CHAINED)
        ) as step:
            walks = {table.name: _walk(connection, ledger.key, table, wanted, step) for table in CHAINED}
        unguarded = missing_guards(connection)
    named = {0: GENESIS} | walks[LABEL_EVENT.name].hashes
    problems = [
        *(problem for walk in walks.values() for problem in walk.problems),
        *(f"{name.replace('_', ' ')}: its triggers were removed." for name in unguarded),
        *(
            f"{name} was made when event {sequence} had hash {digest[:12]}…; "
            + ("that event is another one now." if sequence in named else "that event is gone.")
            for name, sequence, digest in anchors
            if named.get(sequence) != digest
        ),
    ]
    return Verification(
        ok=not problems,
        events=walks[LABEL_EVENT.name].count,
        promotions=walks[PROMOTION_EVENT.name].count,
        problems=tuple(problems),
    )


@dataclass(frozen=True)
class _Walk:
    """What was met on the way along one chain; ``hashes`` of the wanted entries only, by sequence number."""

    count: int
    hashes: dict[int, str]
    problems: tuple[str, ...]


def _walk(connection: Connection, key: bytes, table: Table, wanted: set[int], step: Step) -> _Walk:
    title = table.name.replace("_", " ")
    hashes: dict[int, str] = {}
    problems: list[str] = []
    count, last, previous = 0, 0, GENESIS
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(table).order_by(table.c.sequence))
    for row in rows.mappings():
        sequence, digest = row["sequence"], str(row["hash"])
        if sequence != last + 1:
            missing = f"{last + 1}" if sequence == last + 2 else f"{last + 1} to {sequence - 1}"
            problems.append(f"{title} {missing}: missing.")
        elif row["previous_hash"] != previous:
            problems.append(f"{title} {sequence}: does not follow the entry before it.")
        if not _is_genuine(key, table, row):
            problems.append(f"{title} {sequence}: was changed after it was written, or is not from this ledger.")
        if sequence in wanted:
            hashes[sequence] = digest
        count, last, previous = count + 1, sequence, digest
        if count % _ROWS_AT_ONCE == 0:
            step.advance(_ROWS_AT_ONCE)
    step.advance(count % _ROWS_AT_ONCE)
    if len(problems) > SHOWN_PER_CHAIN:
        problems = [*problems[:SHOWN_PER_CHAIN], f"{title}: {len(problems) - SHOWN_PER_CHAIN} more problems."]
    problems += _check_end(connection, key, table, LedgerHead(sequence=last, hash=previous))
    return _Walk(count, hashes, tuple(problems))


def _is_genuine(key: bytes, table: Table, row: RowMapping) -> bool:
    try:
        return hmac.compare_digest(entry_hash(key, table.name, row).encode(), str(row["hash"]).encode())
    except BadInput:  # a value of a kind that this program never writes
        return False


def _check_end(connection: Connection, key: bytes, table: Table, found: LedgerHead) -> list[str]:
    title = table.name.replace("_", " ")
    sealed = connection.execute(select(CHAIN_HEAD).where(CHAIN_HEAD.c.chain == table.name)).first()
    if sealed is None:
        return [f"{title}: the seal of its end is gone."] if found.sequence else []
    head = LedgerHead(sequence=sealed.sequence, hash=sealed.hash)
    if not hmac.compare_digest(head_seal(key, table.name, head).encode(), str(sealed.seal).encode()):
        return [f"{title}: the seal of its end is not from this ledger's key."]
    if head.sequence > found.sequence:
        return [f"{title}: sealed at {head.sequence} entries, but only {found.sequence} are left; its end was cut off."]
    return [] if head == found else [f"{title}: its end is not the one that was sealed."]


def _anchors(connection: Connection) -> list[Anchor]:
    """Anchors that the database holds."""
    datasets = connection.execute(
        select(DATASET_VERSION.c.dataset_version, DATASET_VERSION.c.head_sequence, DATASET_VERSION.c.head_hash)
    ).all()
    moves = connection.execute(
        select(PROMOTION_EVENT.c.sequence, PROMOTION_EVENT.c.head_sequence, PROMOTION_EVENT.c.head_hash)
    ).all()
    return [
        *((f"Dataset version {name}", sequence, digest) for name, sequence, digest in datasets),
        *((f"Promotion {number}", sequence, digest) for number, sequence, digest in moves),
    ]


def _manifest_anchors(ledger: Ledger) -> Iterator[Anchor]:
    """Anchors beside the manifests, outside the database: they show that a whole database was replaced."""
    for path in sorted(ledger.workspace.datasets.glob("*/dataset.json")):
        try:
            head = LedgerHead.model_validate(json.loads(path.read_text(encoding="utf-8"))["ledger_head"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the manifest's own reader complains of a damaged file
        yield f"The manifest of {path.parent.name}", head.sequence, head.hash
