"""Labelled images that a person should look at again: suspect labels, and statements that contradict each other."""

from __future__ import annotations

import numpy as np

from data_contracts.vocabulary import ReviewReason
from domain_models.selection.pool import UNLABELLED, Bools, Floats, Indices, Pool, Selection, take_best

_SURELY = 0.5


def suspect_labels(pool: Pool, budget: int, seed: int) -> Selection:
    """Labelled candidates whose label a model that never saw them confidently disagrees with, the surest first."""
    doubt = label_doubt(pool.probabilities, pool.labels)
    eligible = pool.candidates & np.isfinite(doubt)
    return take_best(pool, eligible, doubt, budget, seed, lambda _: ReviewReason.SUSPECT_LABEL.value)


def conflicts(pool: Pool, budget: int, seed: int) -> Selection:
    """Candidates about which contradicting statements are on file; they cannot be used until a person decides.

    Those that a model finds hardest come first.
    """
    doubt = 1.0 - pool.probabilities.max(axis=1) if pool.classes else np.full(len(pool.candidates), np.nan)
    eligible = pool.candidates & pool.conflicts
    return take_best(pool, eligible, doubt, budget, seed, lambda _: ReviewReason.CONFLICT.value)


def label_doubt(probabilities: Floats, labels: Indices) -> Floats:
    """How much a label is doubted: NaN where it is not, else probability of the other class minus that of the label.

    Confident learning (Northcutt, Jiang and Chuang, JAIR 2021): a label is doubted where another class is at least as
    probable as it is, on average, for images that bear it, so that a class the model is timid about is judged by its
    own measure; and wherever the other class is more probable by half, because wrong labels lower a class's average.

    Args:
        probabilities: float64 [n, k]; rows with NaN are not judged.
        labels: int64 [n]; ``UNLABELLED`` is not judged.

    Returns:
        float64 [n].
    """
    doubt = np.full(len(labels), np.nan)
    judged: Bools = np.isfinite(probabilities).all(axis=1) & (labels != UNLABELLED)
    k = probabilities.shape[1]
    if k < 2 or not judged.any():
        return doubt
    values, given = probabilities[judged], labels[judged]
    own = values[np.arange(len(given)), given]
    sums = np.bincount(given, weights=own, minlength=k)
    counts = np.bincount(given, minlength=k)
    # A class nobody bears has no measure of its own: no image is suspected to belong to it.
    usual = np.divide(sums, counts, out=np.full(k, np.inf), where=counts > 0)
    others = np.where((values >= usual) | (values >= own[:, None] + _SURELY), values, -np.inf)
    others[np.arange(len(given)), given] = -np.inf
    best = others.max(axis=1)
    doubt[np.flatnonzero(judged)] = np.where(best > own, best - own, np.nan)
    return doubt
