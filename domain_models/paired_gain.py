"""What one model gained over another on the same test images, with intervals that draw whole groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain_models.class_counts import ClassCounts, confusion_matrix, count_columns, counts_from_sums
from domain_models.intervals import (
    REPLICATES,
    Interval,
    bootstrap_weights,
    group_codes,
    group_sums,
    percentile_interval,
)


@dataclass(frozen=True)
class Difference:
    """A figure of the model before and of the one after; ``interval`` is of the difference, 95%, paired."""

    before: float
    after: float
    interval: Interval | None

    @property
    def gained(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.interval is not None and not self.interval[0] <= 0.0 <= self.interval[1]


@dataclass(frozen=True)
class PairedGain:
    """Macro-F1, and the recall of each class of which there are test images (``None`` otherwise), in index order."""

    macro_f1: Difference
    recall: tuple[Difference | None, ...]


def paired_gain(
    labels: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    groups: Sequence[object] | ArrayLike | None,
    classes: int,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> PairedGain:
    """Compare two models image by image: every bootstrap replicate draws the same groups for both.

    Args:
        labels: int [n], class indices.
        before: int [n], what the older model says.
        after: int [n], what the newer one says.
        groups: one value per image, or ``None``.
        classes: k.
        seed: of the bootstrap.
        replicates: of the bootstrap.
    """
    truth, old, new = (np.asarray(values, dtype=np.int64) for values in (labels, before, after))
    codes = group_codes(groups, len(truth))
    sums = group_sums(np.hstack([count_columns(truth, said, classes) for said in (old, new)]), codes)
    f1: list[NDArray[np.float64]] = []
    recalls: list[NDArray[np.float64]] = []
    for weights in bootstrap_weights(len(sums), replicates=replicates, seed=seed):
        drawn = (weights @ sums).astype(np.float64)
        one = counts_from_sums(drawn[:, : 3 * classes], classes)
        other = counts_from_sums(drawn[:, 3 * classes :], classes)
        f1.append(other.macro_f1 - one.macro_f1)
        recalls.append(other.recall - one.recall)
    was, now = (ClassCounts.of(confusion_matrix(truth, said, classes)) for said in (old, new))
    by_class = np.concatenate(recalls)
    return PairedGain(
        Difference(float(was.macro_f1), float(now.macro_f1), percentile_interval(np.concatenate(f1))),
        tuple(
            Difference(float(was.recall[i]), float(now.recall[i]), percentile_interval(by_class[:, i]))
            if was.actual[i]
            else None
            for i in range(classes)
        ),
    )
