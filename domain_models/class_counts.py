"""Recall, precision and F1 from counts, for one data set or for many bootstrap replicates at once.

Undefined is NaN, never 0: recall of a class without images, precision of a class never predicted. Macro figures are the
mean over the classes that the figure knows: recall over classes with images (as scikit-learn's balanced accuracy), F1
over classes that have images or were predicted (as scikit-learn's macro F1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassCounts:
    """Counts per class; leading axes are replicates.

    Attributes:
        right: float64 [..., k], images of the class predicted as such.
        actual: float64 [..., k], images of the class.
        predicted: float64 [..., k], images predicted as the class.
    """

    right: NDArray[np.float64]
    actual: NDArray[np.float64]
    predicted: NDArray[np.float64]

    @classmethod
    def of(cls, confusion: NDArray[np.int64]) -> ClassCounts:
        """Counts of a confusion matrix [k, k], rows actual."""
        values = confusion.astype(np.float64)
        return cls(np.diagonal(values), values.sum(axis=1), values.sum(axis=0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """[..., k], NaN for classes without images."""
        return _ratio(self.right, self.actual)

    @property
    def precision(self) -> NDArray[np.float64]:
        """[..., k], NaN for classes never predicted."""
        return _ratio(self.right, self.predicted)

    @property
    def f1(self) -> NDArray[np.float64]:
        """[..., k], NaN for classes that neither have images nor were predicted."""
        return _ratio(2 * self.right, self.actual + self.predicted)

    @property
    def balanced_accuracy(self) -> NDArray[np.float64]:
        """[...], mean recall of the classes with images."""
        return known_mean(self.recall)

    @property
    def macro_f1(self) -> NDArray[np.float64]:
        """[...], mean F1 of the classes that have images or were predicted."""
        return known_mean(self.f1)


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """int64 [k, k]: rows actual, columns predicted."""
    return np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k).astype(np.int64)


def count_columns(labels: NDArray[np.int64], predicted: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """float64 [n, 3k]: per image, indicators of right, actual and predicted class; summed they are the counts."""
    n = len(labels)
    rows = np.arange(n)
    columns = np.zeros((n, 3 * k))
    columns[rows, labels] = labels == predicted
    columns[rows, k + labels] = 1
    columns[rows, 2 * k + predicted] = 1
    return columns


def counts_from_sums(sums: NDArray[np.float64], k: int) -> ClassCounts:
    """Split summed columns of :func:`count_columns` ([..., 3k]) into counts."""
    return ClassCounts(sums[..., :k], sums[..., k : 2 * k], sums[..., 2 * k : 3 * k])


def known_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is not NaN; NaN where nothing is known."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    unknown = np.full(np.shape(bottom), np.nan)
    return np.asarray(np.divide(top, bottom, out=unknown, where=np.asarray(bottom) > 0))
