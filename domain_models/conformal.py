"""Sets of classes that hold the right one with stated probability (split conformal prediction).

Two scores: ``lac`` gives the smallest sets on average (Sadinle, Lei, Wasserman, JASA 2019); ``aps`` adapts to hard
images (Romano, Sesia, Candès, NeurIPS 2020, without its coin toss). Images of one group count as one observation
(hierarchical conformal prediction: Lee, Barber, Willett, 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from domain_models.intervals import group_codes


class ConformalScore(StrEnum):
    """How unusual a class is for an image."""

    LAC = "lac"
    APS = "aps"


class ConformalRule(BaseModel):
    """A class belongs to an image's set when its score is at most ``threshold``.

    ``threshold`` is ``None`` where there were too few calibration groups: every class belongs to every set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: ConformalScore
    threshold: float | None
    coverage: float
    n_calibration: int
    n_groups: int


def fit(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    coverage: float = 0.95,
    score: ConformalScore = ConformalScore.LAC,
    groups: Sequence[object] | ArrayLike | None = None,
) -> ConformalRule:
    """Find the threshold under which sets hold the right class of a new image with probability ``coverage``.

    Args:
        probabilities: float [n, k] of images the model was not fitted on.
        labels: int [n].
        coverage: wanted share of sets with the right class, over images of new groups.
        score: see :class:`ConformalScore`.
        groups: one value per image, or ``None``.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.int64)
    codes = group_codes(groups, len(truth))
    sizes = np.bincount(codes) if codes.size else np.zeros(0, dtype=np.int64)
    threshold: float | None = None
    if codes.size:
        own = _TABLE[score](values)[np.arange(len(truth)), truth]
        order = np.argsort(own, kind="stable")
        mass = np.cumsum(1.0 / sizes[codes][order]) / (len(sizes) + 1)  # the rest, 1 / (G + 1), lies at infinity
        reached = np.nonzero(mass >= coverage - 1e-12)[0]
        threshold = float(own[order[reached[0]]]) if reached.size else None
    return ConformalRule(
        score=score, threshold=threshold, coverage=coverage, n_calibration=len(truth), n_groups=len(sizes)
    )


def sets(probabilities: ArrayLike, rule: ConformalRule) -> NDArray[np.bool_]:
    """The classes in each image's set; the most probable class always belongs, so no set is empty.

    Args:
        probabilities: float [n, k].
        rule: from :func:`fit`.

    Returns:
        bool [n, k].
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if rule.threshold is None:
        return np.ones(values.shape, dtype=bool)
    members = _TABLE[rule.score](values) <= rule.threshold + 1e-12
    members[np.arange(len(values)), values.argmax(axis=1)] = True
    return np.asarray(members)


def set_names(members: NDArray[np.bool_], probabilities: ArrayLike, classes: Sequence[str]) -> list[list[str]]:
    """Class names of each set, the most probable first: the ``conformal_set`` column of scores."""
    order = np.argsort(-np.asarray(probabilities), axis=1, kind="stable")
    return [[classes[index] for index in row if inside[index]] for row, inside in zip(order, members, strict=True)]


def _least_ambiguous(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 - values


def _adaptive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(-values, axis=1, kind="stable")
    scores = np.empty_like(values)
    np.put_along_axis(scores, order, np.cumsum(np.take_along_axis(values, order, axis=1), axis=1), axis=1)
    return scores


_TABLE = {ConformalScore.LAC: _least_ambiguous, ConformalScore.APS: _adaptive}
