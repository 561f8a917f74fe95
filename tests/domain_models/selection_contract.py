"""What every selection strategy promises; ``test_selection.py`` runs this on each entry of ``STRATEGIES``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from domain_models.selection.labels_in_doubt import label_doubt
from domain_models.selection.pool import UNLABELLED, Pool
from domain_models.selection.strategies import StrategyName

CLASSES = ("crack", "inactive", "sound")
KNOWN_REASONS = (
    *("low_confidence", "confused_pair", "rare_class", "novelty"),
    *("suspect_label", "conflict", "random_audit", "cold_start"),
)


def make_pool(size: int = 120, seed: int = 3, *, unknown: float = 0.1, grouped: bool = True) -> Pool:
    """A pool with labels right and wrong, groups, conflicts, and rows of which nothing is known."""
    chance = np.random.default_rng(seed)
    truth = chance.choice(3, size, p=[0.1, 0.3, 0.6])
    centres = chance.normal(0, 3, (3, 16))
    embeddings = (centres[truth] + chance.normal(0, 1, (size, 16))).astype(np.float32)
    sharp = chance.normal(0, 1, (size, 3)) + 2.5 * np.eye(3)[truth]
    probabilities = np.exp(sharp) / np.exp(sharp).sum(axis=1, keepdims=True)
    labels = np.where(chance.random(size) < 0.4, truth, UNLABELLED).astype(np.int64)
    wrong = np.flatnonzero(labels != UNLABELLED)[:6]
    labels[wrong] = (labels[wrong] + 1) % 3
    probabilities[chance.random(size) < unknown] = np.nan
    embeddings[chance.random(size) < unknown] = np.nan
    return Pool.of(
        size,
        classes=CLASSES,
        candidates=chance.random(size) < 0.9,
        labels=labels,
        probabilities=probabilities,
        embeddings=embeddings,
        groups=(np.arange(size) // 2 if grouped else np.arange(size)).astype(np.int64),
        conflicts=chance.random(size) < 0.1,
        confusion=np.array([[20, 5, 1], [6, 60, 8], [0, 2, 150]]),
    )


def nothing_known(size: int = 30) -> Pool:
    """A pool of which nothing at all is known: no classes, no model, no embeddings."""
    return Pool.of(size)


def eligible(name: StrategyName, pool: Pool) -> NDArray[np.bool_]:
    """bool [n]: which images a strategy is about."""
    suspects = pool.candidates & np.isfinite(label_doubt(pool.probabilities, pool.labels))
    conflicts = pool.candidates & pool.conflicts
    about: dict[StrategyName, NDArray[np.bool_]] = {
        StrategyName.SUSPECT_LABELS: suspects,
        StrategyName.CONFLICTS: conflicts,
        StrategyName.MIX: pool.unlabelled | suspects | conflicts,
    }
    return about.get(name, pool.unlabelled)


def check_strategy(name: StrategyName, select: Callable[..., object], pool: Pool, budget: int, seed: int) -> None:
    """Every clause of the contract on one pool."""
    before = {field.name: np.copy(getattr(pool, field.name)[:]) for field in fields(pool)}
    chosen = select(pool, budget, seed)
    again = select(pool, budget, seed)
    for field, value in before.items():
        assert np.array_equal(value, getattr(pool, field)[:], equal_nan=value.dtype.kind == "f"), f"{field} was changed"
    indices, scores, reasons = chosen.indices, chosen.scores, chosen.reasons  # type: ignore[attr-defined]

    may = eligible(name, pool)
    assert len(indices) == min(budget, len(np.unique(pool.groups[may]))), "as many groups as are eligible, up to budget"
    assert len(indices) == len(scores) == len(reasons)
    assert indices.dtype == np.int64
    assert may[indices].all(), "only eligible candidates"
    assert len(np.unique(pool.groups[indices])) == len(indices), "no group twice"
    assert np.isfinite(scores).all(), "scores are finite"
    assert all(reason.partition(":")[0] in KNOWN_REASONS for reason in reasons)
    assert np.array_equal(indices, again.indices), "the same seed, the same choice"  # type: ignore[attr-defined]
    assert np.array_equal(scores, again.scores)  # type: ignore[attr-defined]
    assert reasons == again.reasons  # type: ignore[attr-defined]
