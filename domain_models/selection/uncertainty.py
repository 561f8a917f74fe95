"""Selection by what a model predicts: low confidence, small margin, confused pairs, rare classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from data_contracts.vocabulary import ReviewReason
from domain_models.selection.pool import UNLABELLED, Floats, Indices, Pool, Selection, joined, selection_of, take_best

_BLOCK = 65536
"""Rows of probabilities at once: what is computed on the way never takes more than a few of these blocks."""


@dataclass(frozen=True)
class NamedPair:
    """Two classes that the model takes for one another; ``share`` of the images of both were."""

    first: str
    second: str
    share: float


def low_confidence(pool: Pool, budget: int, seed: int) -> Selection:
    """Images whose most probable class is least probable (least confidence)."""
    if not pool.classes:
        return take_best(pool, pool.unlabelled, _nothing(pool), budget, seed, _low)
    return take_best(pool, pool.unlabelled, 1.0 - pool.probabilities.max(axis=1), budget, seed, _low)


def margin(pool: Pool, budget: int, seed: int) -> Selection:
    """Images whose two most probable classes are closest to one another (margin sampling)."""
    if len(pool.classes) < 2:
        return low_confidence(pool, budget, seed)
    return take_best(pool, pool.unlabelled, 1.0 - lead_of_the_best(pool.probabilities), budget, seed, pair_reason(pool))


def entropy(pool: Pool, budget: int, seed: int) -> Selection:
    """Images whose probabilities are spread most evenly, ``-sum p log p`` in nats (entropy sampling)."""
    if len(pool.classes) < 2:
        return low_confidence(pool, budget, seed)
    spread = np.empty(len(pool.candidates))
    for start in range(0, len(spread), _BLOCK):
        values = pool.probabilities[start : start + _BLOCK]
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.where(values > 0, values * np.log(values), np.where(np.isnan(values), np.nan, 0.0))
        spread[start : start + _BLOCK] = -parts.sum(axis=1)
    return take_best(pool, pool.unlabelled, spread, budget, seed, _low)


def confused_pairs(pool: Pool, budget: int, seed: int) -> Selection:
    """Images that lie between two classes which the model is known to confuse, the worst pairs first.

    Score: what confusing the pair has cost (how often it happens x the profile's cost) x how evenly the image lies
    between the two. Pairs that were never confused come after all those that were, by margin alone.
    """
    if len(pool.classes) < 2:
        return low_confidence(pool, budget, seed)
    first, second, lead = _two_best(pool.probabilities)
    shares = _pair_shares(pool.confusion, pool.costs)
    scores = (shares[first, second] + 1e-6) * (1.0 - lead)
    return take_best(pool, pool.unlabelled, scores, budget, seed, pair_reason(pool))


def rare_classes(pool: Pool, budget: int, seed: int) -> Selection:
    """Images that probably belong to classes of which there are few labels.

    Each choice counts as expected labels of its classes, so that the rarest class does not take the whole batch.
    Score: sum over the classes of probability / (1 + labels, known and expected).
    """
    eligible = pool.unlabelled & pool.predicted
    rest = pool.unlabelled & ~pool.predicted
    counts = np.bincount(pool.labels[pool.labels != UNLABELLED], minlength=len(pool.classes)).astype(np.float64)
    tie = np.random.default_rng(seed).random(len(pool.candidates)) * 1e-12
    open_rows = np.flatnonzero(eligible)
    values = pool.probabilities[open_rows]
    free = np.ones(len(open_rows), dtype=bool)
    chosen: list[int] = []
    scores = np.full(len(pool.candidates), np.nan)
    while len(chosen) < budget and free.any():
        wanted = values @ (1.0 / (1.0 + counts)) + tie[open_rows]
        place = int(np.argmax(np.where(free, wanted, -np.inf)))
        row = int(open_rows[place])
        chosen.append(row)
        scores[row] = wanted[place]
        counts += values[place]
        free &= pool.groups[open_rows] != pool.groups[row]
    found = selection_of(np.asarray(chosen, dtype=np.int64), scores, lambda _: ReviewReason.RARE_CLASS.value)
    if len(found) >= budget:
        return found
    left = pool.without(found.indices)
    return joined(found, take_best(left, rest & left.candidates, scores, budget - len(found), seed, _low))


def lead_of_the_best(probabilities: Floats) -> Floats:
    """The margin: by how much the most probable class leads the second, float64 [n]; NaN where nothing is known."""
    return _two_best(probabilities)[2]


def pair_reason(pool: Pool) -> Callable[[int], str]:
    """The reason of a row: between which two classes it lies; low confidence where nothing is known."""

    def reason(row: int) -> str:
        first, second, lead = _two_best(pool.probabilities[row : row + 1])
        if not np.isfinite(lead[0]):
            return _low(row)
        return _pair_reason(pool.classes[first[0]], pool.classes[second[0]])

    return reason


def named_pairs(confusion: ArrayLike, classes: Sequence[str], limit: int = 10) -> tuple[NamedPair, ...]:
    """The pairs of classes that a model confuses most, in both directions together, the worst first.

    Args:
        confusion: int [k, k], rows actual, columns predicted.
        classes: k names.
        limit: at most so many.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    shares = _pair_shares(counts, np.ones(counts.shape))
    rows, columns = np.triu_indices(len(classes), 1)
    order = np.argsort(-shares[rows, columns], kind="stable")
    pairs = (NamedPair(classes[rows[i]], classes[columns[i]], float(shares[rows[i], columns[i]])) for i in order)
    return tuple(pair for pair in pairs if pair.share > 0)[:limit]


def _pair_shares(confusion: Indices, costs: Floats) -> Floats:
    """float64 [k, k], symmetric: images of either class that were called the other, as a share of both classes.

    Each counts as often as its mistake costs.
    """
    counts = confusion.astype(np.float64)
    dear = counts * costs
    mixed = dear + dear.T
    np.fill_diagonal(mixed, 0.0)
    totals = counts.sum(axis=1)
    both = totals[:, None] + totals[None, :]
    shares: Floats = np.divide(mixed, both, out=np.zeros_like(mixed), where=both > 0)
    return shares


def _two_best(probabilities: Floats) -> tuple[Indices, Indices, Floats]:
    """Indices of the two most probable classes, and the lead of the first (NaN where nothing is known): [n] each."""
    n = len(probabilities)
    first, second, lead = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(n)
    for start in range(0, n, _BLOCK):
        values = probabilities[start : start + _BLOCK]
        known = np.nan_to_num(values, nan=0.0)
        order = np.argsort(-known, axis=1, kind="stable")[:, :2]
        rows, part = np.arange(len(known)), slice(start, start + _BLOCK)
        first[part], second[part] = order[:, 0], order[:, 1]
        apart = known[rows, order[:, 0]] - known[rows, order[:, 1]]
        lead[part] = np.where(np.isfinite(values).all(axis=1), apart, np.nan)
    return first, second, lead


def _pair_reason(first: str, second: str) -> str:
    return f"{ReviewReason.CONFUSED_PAIR.value}:{first}|{second}"


def _low(_: int) -> str:
    return ReviewReason.LOW_CONFIDENCE.value


def _nothing(pool: Pool) -> Floats:
    return np.full(len(pool.candidates), np.nan)
