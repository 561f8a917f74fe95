"""Labelled images that a person should look at again: suspect labels, and statements that contradict each other."""

from __future__ import annotations

import numpy as np

from data_contracts.vocabulary import ReviewReason
from domain_models.selection.pool import UNLABELLED, Bools, Floats, Indices, Pool, Selection, take_best

_SURELY = 0.5
_TIMES = 5.0
_OTHER = 0.7
_LEAST = 0.01
"""Added to both probabilities: what lies below is not told apart."""

_TEMPERING = 0.2


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
    """How much a label is doubted, larger where more; NaN where it is not.

    Confident learning (Northcutt, Jiang and Chuang, JAIR 2021) says *whether*: a label is doubted where another class
    is at least as probable as it is, on average, for images that bear it, so that a class the model is timid about is
    judged by its own measure; and wherever the other class is more probable by half or five times over, because wrong
    labels lower a class's average. :func:`label_suspicion` says *how much*.

    Args:
        probabilities: float64 [n, k]; rows with NaN are not judged.
        labels: int64 [n]; ``UNLABELLED`` is not judged.

    Returns:
        float64 [n].
    """
    suspicion = label_suspicion(probabilities, labels)
    judged = np.flatnonzero(np.isfinite(suspicion))
    if not len(judged):
        return suspicion
    values, given = probabilities[judged], labels[judged]
    k = probabilities.shape[1]
    own = values[np.arange(len(given)), given]
    sums = np.bincount(given, weights=own, minlength=k)
    counts = np.bincount(given, minlength=k)
    # A class nobody bears has no measure of its own: no image is suspected to belong to it.
    usual = np.divide(sums, counts, out=np.full(k, np.inf), where=counts > 0)
    beyond = (values >= own[:, None] + _SURELY) | (values >= _TIMES * own[:, None])
    others = np.where((values >= usual) | beyond, values, -np.inf)
    others[np.arange(len(given)), given] = -np.inf
    suspicion[judged[others.max(axis=1) <= own]] = np.nan
    return suspicion


def label_suspicion(probabilities: Floats, labels: Indices) -> Floats:
    """How improbable the label is and, a little less, how probable the likeliest other class; in logarithms.

    Errors by chance make the label improbable, whatever the class; errors between confused classes make one other class
    likely. The label's frequency tempers both: a classifier fitted to unequal classes says rare ones too seldom, and
    right labels of a rare class would lead the list; dividing by the full frequency would hide wrong ones among them.
    A small root of it does neither.

    Args:
        probabilities: float64 [n, k]; rows with NaN are not judged.
        labels: int64 [n]; ``UNLABELLED`` is not judged.

    Returns:
        float64 [n]; NaN where not judged.
    """
    suspicion = np.full(len(labels), np.nan)
    judged: Bools = np.isfinite(probabilities).all(axis=1) & (labels != UNLABELLED)
    k = probabilities.shape[1]
    if k < 2 or not judged.any():
        return suspicion
    values, given = probabilities[judged], labels[judged]
    rows = np.arange(len(given))
    own, others = values[rows, given], values.copy()
    others[rows, given] = -np.inf
    frequency = np.bincount(given, minlength=k) / len(given)
    suspicion[judged] = (
        _OTHER * np.log(others.max(axis=1).clip(0) + _LEAST)
        - np.log(own + _LEAST)
        + _TEMPERING * np.log(frequency[given])
    )
    return suspicion
