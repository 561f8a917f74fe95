"""Shortcuts: what a file tells of its class without being looked at. numpy only.

Where all images of one class were saved by another camera, in another format or at another site, a network learns the
camera. It scores well on test images of the same origin and fails on the line. So each attribute of the files is asked
how well it alone predicts the class; where it does clearly better than chance, a person is told.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain_models.intervals import bootstrap_weights, group_codes, group_sums, wilson

FOLDS = 5
REPLICATES = 1000
CLEARLY_BETTER = 0.05
"""An attribute is reported when the lower bound of its balanced accuracy is above chance by at least this much."""

_MOST_VALUES = 20
_TELLING_SHARE = 0.9
_TELLING_IMAGES = 10


@dataclass(frozen=True)
class TellingValue:
    """One value of an attribute, and the class that ``share`` of its ``images`` images belong to."""

    value: str
    label: str
    images: int
    share: float


@dataclass(frozen=True)
class Shortcut:
    """How well one attribute alone predicts the class.

    Attributes:
        attribute: its name.
        balanced_accuracy: mean recall over the classes, of images whose group was not looked at.
        low: lower bound of its 95% interval, from a bootstrap that draws groups.
        high: upper bound.
        chance: what guessing gives, 1 over the number of classes.
        telling: the values that nearly give a class away, the most images first.
    """

    attribute: str
    balanced_accuracy: float
    low: float
    high: float
    chance: float
    telling: tuple[TellingValue, ...]

    @property
    def worth_telling(self) -> bool:
        """Whether a person should know of it."""
        return self.low >= self.chance + CLEARLY_BETTER


def shortcut(
    attribute: str,
    values: Sequence[object],
    labels: Sequence[str],
    groups: Sequence[object] | ArrayLike | None = None,
    *,
    seed: int = 0,
) -> Shortcut | None:
    """How well an attribute predicts the class; ``None`` where that is not better than guessing, or nothing differs.

    Each image's class is guessed from the other folds: of the classes, the one in which its value is most frequent
    (every class counts the same, and a value that was never seen is a guess among all). No group is on both sides.

    Args:
        attribute: its name.
        values: n values, told apart by their text; of numbers with more than twenty values, tenths are taken.
        labels: n class names.
        groups: one value per image, or ``None``.
        seed: of folds and bootstrap.
    """
    codes, names = _coded(values)
    classes, truth = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    if len(names) < 2 or len(classes) < 2:
        return None
    group = group_codes(groups, len(truth))
    fold = (np.random.default_rng(seed).permutation(int(group.max()) + 1) % FOLDS)[group]
    hits = np.zeros(len(truth))
    for number in range(FOLDS):
        inside = fold == number
        told = _table(codes[~inside], truth[~inside], len(names), len(classes))
        best = told[codes[inside]] >= told[codes[inside]].max(axis=1, keepdims=True) - 1e-12
        hits[inside] = best[np.arange(int(inside.sum())), truth[inside]] / best.sum(axis=1)
    one_hot = np.eye(len(classes))[truth]
    sums = group_sums(np.hstack([one_hot * hits[:, None], one_hot]), group)
    chance = 1.0 / len(classes)
    told_by_it = float(_mean_recall(sums.sum(axis=0, keepdims=True), len(classes))[0])
    if told_by_it < chance + CLEARLY_BETTER:
        return None
    low, high = np.quantile(
        np.concatenate(
            [
                _mean_recall((weights @ sums).astype(np.float64), len(classes))
                for weights in bootstrap_weights(len(sums), replicates=REPLICATES, seed=seed)
            ]
        ),
        [0.025, 0.975],
    )
    return Shortcut(
        attribute=attribute,
        balanced_accuracy=told_by_it,
        low=float(low),
        high=float(high),
        chance=chance,
        telling=_telling(codes, truth, names, classes),
    )


def _coded(values: Sequence[object]) -> tuple[NDArray[np.int64], list[str]]:
    """int64 [n] and the name of each code; many different numbers become tenths of the images."""
    distinct = set(values)
    if len(distinct) > _MOST_VALUES and all(isinstance(value, int | float) for value in distinct):
        numbers = np.asarray(values, dtype=np.float64)
        edges = np.unique(np.quantile(numbers, np.linspace(0.1, 0.9, 9)))
        codes = np.searchsorted(edges, numbers, side="right")
        bounds = [f"{edge:.3g}" for edge in edges]
        between = [f"{a} to {b}" for a, b in itertools.pairwise(bounds)]
        return codes.astype(np.int64), [f"less than {bounds[0]}", *between, f"{bounds[-1]} or more"]
    names, codes = np.unique([str(value) for value in values], return_inverse=True)
    return codes.astype(np.int64), [str(name) for name in names]


def _table(codes: NDArray[np.int64], truth: NDArray[np.int64], values: int, classes: int) -> NDArray[np.float64]:
    """float64 [values, classes]: the share of each class's images that have the value."""
    counts = np.zeros((values, classes))
    np.add.at(counts, (codes, truth), 1.0)
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=0), 1.0)
    return shares


def _mean_recall(sums: NDArray[np.floating[Any]], classes: int) -> NDArray[np.float64]:
    """float64 [r] from sums float64 [r, 2k]: hits of each class, then images of each class; absent ones left out."""
    hits, images = sums[:, :classes], sums[:, classes:]
    present = images > 0
    recall = np.where(present, hits / np.where(present, images, 1.0), 0.0)
    return np.asarray(recall.sum(axis=1) / np.maximum(present.sum(axis=1), 1))


def _telling(
    codes: NDArray[np.int64], truth: NDArray[np.int64], names: Sequence[str], classes: NDArray[np.str_]
) -> tuple[TellingValue, ...]:
    """Values of at least ten images that nearly all are of one class, while most images elsewhere are not."""
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (codes, truth), 1.0)
    found = []
    for code, row in enumerate(counts):
        best, images = int(row.argmax()), int(row.sum())
        interval = wilson(float(row[best]), images)
        elsewhere = (counts[:, best].sum() - row[best]) / max(1.0, counts.sum() - images)
        if images >= _TELLING_IMAGES and interval and row[best] / images >= _TELLING_SHARE and interval[0] > elsewhere:
            found.append(TellingValue(names[code], str(classes[best]), images, float(row[best] / images)))
    return tuple(sorted(found, key=lambda item: -item.images))
