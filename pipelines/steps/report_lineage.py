"""Where a model comes from, as the closing lines of its report."""

from __future__ import annotations

from data_contracts.records import DatasetVersion
from domain_models.model_card import ModelCard
from domain_models.tracking import ModelVersionInfo


def lineage(
    info: ModelVersionInfo, card: ModelCard, dataset: DatasetVersion, profile: str
) -> tuple[tuple[str, str], ...]:
    """Names and values that lead from a model version back to its data, its ledger and its champion."""
    return (
        ("Model version", f"{info.version} ({', '.join(info.aliases) or 'no alias'})"),
        ("Run key", info.run_key),
        ("Package sha256", info.package_sha256),
        ("Trained on", card.dataset_version or "unknown"),
        ("Taxonomy version", str(card.taxonomy_version)),
        ("Profile", f"{profile} ({(card.profile_hash or '')[:12]})"),
        *_origin(card),
        *_teacher(card),
        *_cascade(card),
        ("Preset and seed", f"{card.preset}, {card.seed}"),
        ("Ledger head", f"{dataset.ledger_head.sequence} · {dataset.ledger_head.hash[:12]}"),
        ("Trained at", f"{card.created_at:%Y-%m-%d %H:%M} UTC"),
    )


def _origin(card: ModelCard) -> list[tuple[str, str]]:
    """Which champion an incremental training went on from."""
    origin = card.retrained_from
    if origin is None:
        return []
    learned = f"{origin.new} new and {origin.corrected} corrected images, {origin.replayed} old ones seen again"
    return [("Trained on from", f"model version {origin.champion} ({origin.champion_dataset_version}): {learned}")]


def _teacher(card: ModelCard) -> list[tuple[str, str]]:
    """Who taught a full training beside the labels."""
    teacher = card.config.get("teacher") or {}
    if not teacher.get("model"):
        return []
    name = f"model version {teacher['model']}" if str(teacher["model"]).isdigit() else teacher["model"]
    return [("Taught by", f"{name} (package sha256 {teacher['content'][:12]})")]


def _cascade(card: ModelCard) -> list[tuple[str, str]]:
    """Which two models a cascade is made of."""
    return [] if card.cascade is None else [("Decided in two steps", card.cascade.in_words)]
