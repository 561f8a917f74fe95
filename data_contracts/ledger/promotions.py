"""Looks of the gate and moves of an alias: both chained, each move anchored in the label chain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping, select

from data_contracts.errors import BadInput
from data_contracts.ledger.chain import append_rows, canonical_json, plain, read_head
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, from_text, now
from data_contracts.ledger.tables import GATE_LOOK, LABEL_EVENT, PROMOTION_EVENT
from data_contracts.records import GateLook, LedgerHead, PromotionEvent
from data_contracts.vocabulary import Alias


def record_look(
    ledger: Ledger,
    *,
    model_version: str,
    against: str | None,
    dataset_version: str,
    passed: bool,
    report: Mapping[str, Any],
) -> GateLook:
    """Record one look of the gate, whether it agreed or not.

    Args:
        ledger: where.
        model_version: the candidate.
        against: the champion it was held against, ``None`` for a first champion.
        dataset_version: whose test edition both were scored on.
        passed: what the gate said.
        report: its reasons and figures; numbers that are not finite are kept as null.
    """
    row = {
        "at": as_text(now()),
        "model_version": model_version,
        "against": against,
        "dataset_version": dataset_version,
        "passed": bool(passed),
        "report": canonical_json(plain(report)),
    }
    with ledger.writing() as connection:
        return _look_of(append_rows(connection, ledger.key, GATE_LOOK, [row])[0])


def looks(ledger: Ledger) -> list[GateLook]:
    """Every look of the gate, oldest first."""
    with ledger.reading() as connection:
        rows = connection.execute(select(GATE_LOOK).order_by(GATE_LOOK.c.sequence)).mappings().all()
    return [_look_of(row) for row in rows]


def record_promotion(
    ledger: Ledger,
    *,
    model_version: str,
    to_alias: Alias,
    from_alias: Alias | None,
    previous_version: str | None,
    who: str,
    why: str,
    override: bool,
    gate_report: Mapping[str, Any],
) -> PromotionEvent:
    """Record one move of an alias, anchored in the label chain as it stands now.

    Args:
        ledger: where.
        model_version: what the alias names from now on.
        to_alias: the alias that moves.
        from_alias: the alias that the version had before.
        previous_version: what the alias named before; a rollback goes back to it.
        who: who decided.
        why: their reason, for the auditor.
        override: the gate had refused and a person went on.
        gate_report: what the gate said.

    Raises:
        BadInput: ``who`` or ``why`` is blank.
    """
    if not who.strip() or not why.strip():
        raise BadInput("A promotion needs who decided and why.", remedy="Give --by NAME and --why TEXT.")
    with ledger.writing() as connection:
        head = read_head(connection, LABEL_EVENT)
        row = {
            "at": as_text(now()),
            "model_version": model_version,
            "to_alias": Alias(to_alias).value,
            "from_alias": None if from_alias is None else Alias(from_alias).value,
            "previous_version": previous_version,
            "who": who,
            "why": why,
            "override": bool(override),
            "gate_report": canonical_json(plain(gate_report)),
            "head_sequence": head.sequence,
            "head_hash": head.hash,
        }
        return _promotion_of(append_rows(connection, ledger.key, PROMOTION_EVENT, [row])[0])


def promotions(ledger: Ledger) -> list[PromotionEvent]:
    """Every move of an alias, oldest first."""
    with ledger.reading() as connection:
        rows = connection.execute(select(PROMOTION_EVENT).order_by(PROMOTION_EVENT.c.sequence)).mappings().all()
    return [_promotion_of(row) for row in rows]


def _look_of(row: Mapping[str, Any] | RowMapping) -> GateLook:
    content = {name: value for name, value in row.items() if name not in ("previous_hash", "hash")}
    return GateLook.model_validate({**content, "at": from_text(row["at"]), "report": json.loads(row["report"])})


def _promotion_of(row: Mapping[str, Any] | RowMapping) -> PromotionEvent:
    content = {name: value for name, value in row.items() if name not in ("head_sequence", "head_hash")}
    return PromotionEvent.model_validate(
        {
            **content,
            "at": from_text(row["at"]),
            "gate_report": json.loads(row["gate_report"]),
            "ledger_head": LedgerHead(sequence=row["head_sequence"], hash=row["head_hash"]),
        }
    )
