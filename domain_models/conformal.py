"""Sets of classes that hold the right one with stated probability (split conformal prediction).

Three scores: ``lac`` gives the smallest sets on average (Sadinle, Lei, Wasserman, JASA 2019); ``aps`` adapts to hard
images (Romano, Sesia, Candès, NeurIPS 2020, without its coin toss); ``raps`` adapts too, and keeps unlikely classes out
(Angelopoulos, Bates, Malik, Jordan, ICLR 2021, without its coin toss). Images of one group count as one observation
(hierarchical conformal prediction: Lee, Barber, Willett, 2023).

A common threshold promises coverage over all images, which may be bought with the frequent classes alone; thresholds of
each class (Sadinle et al., section 4; Vovk 2012) promise it for every class, and ask for calibration images of each.
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
    RAPS = "raps"


RAPS_FREE = 2
"""Classes that enter a ``raps`` set without a penalty (``k_reg``)."""

RAPS_PENALTY = 0.1
"""What each further class costs in a ``raps`` set (``lambda``)."""


class ConformalRule(BaseModel):
    """A class belongs to an image's set when its score is at most ``threshold``, or at most its own threshold.

    ``threshold`` is ``None`` where there were too few calibration groups: every class belongs to every set. With
    ``class_thresholds``, one per class, the same holds of each class by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: ConformalScore
    threshold: float | None
    class_thresholds: tuple[float | None, ...] | None = None
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
    class_conditional: bool = False,
) -> ConformalRule:
    """Find the threshold under which sets hold the right class of a new image with probability ``coverage``.

    Args:
        probabilities: float [n, k] of images the model was not fitted on.
        labels: int [n].
        coverage: wanted share of sets with the right class, over images of new groups.
        score: see :class:`ConformalScore`.
        groups: one value per image, or ``None``.
        class_conditional: hold the coverage for the images of every class, and not only over all.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.int64)
    codes = group_codes(groups, len(truth))
    own = _TABLE[score](values)[np.arange(len(truth)), truth] if len(truth) else np.zeros(0)
    of_class = (
        tuple(_quantile(own[truth == index], codes[truth == index], coverage) for index in range(values.shape[1]))
        if class_conditional
        else None
    )
    return ConformalRule(
        score=score,
        threshold=_quantile(own, codes, coverage),
        class_thresholds=of_class,
        coverage=coverage,
        n_calibration=len(truth),
        n_groups=len(np.unique(codes)),
    )


def _quantile(own: NDArray[np.float64], codes: NDArray[np.int64], coverage: float) -> float | None:
    """The smallest score that ``coverage`` of the groups and one more stay within; ``None`` where they are too few."""
    if not len(own):
        return None
    _, places, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    order = np.argsort(own, kind="stable")
    mass = np.cumsum(1.0 / sizes[places][order]) / (len(sizes) + 1)  # the rest, 1 / (G + 1), lies at infinity
    reached = np.nonzero(mass >= coverage - 1e-12)[0]
    return float(own[order[reached[0]]]) if reached.size else None


def sets(
    probabilities: ArrayLike, rule: ConformalRule, predicted: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """The classes in each image's set; the most probable and the predicted class belong, so no set is empty.

    Args:
        probabilities: float [n, k].
        rule: from :func:`fit`.
        predicted: int64 [n]; ``None``: the most probable classes.

    Returns:
        bool [n, k].
    """
    values = np.asarray(probabilities, dtype=np.float64)
    limits = [rule.threshold] if rule.class_thresholds is None else rule.class_thresholds
    bounds = np.asarray([np.inf if limit is None else limit for limit in limits])
    members = _TABLE[rule.score](values) <= bounds + 1e-12
    for named in (values.argmax(axis=1), predicted):
        if named is not None:
            members[np.arange(len(values)), named] = True
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


def _regularised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rank = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1, kind="stable") + 1
    return np.asarray(_adaptive(values) + RAPS_PENALTY * np.maximum(0, rank - RAPS_FREE))


_TABLE = {
    ConformalScore.LAC: _least_ambiguous,
    ConformalScore.APS: _adaptive,
    ConformalScore.RAPS: _regularised,
}
