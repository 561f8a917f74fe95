"""Who learns in a replay: what a strategy may know after each round, and how good the result is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from domain_models.linear_probe import LinearProbe
from domain_models.selection.pool import Pool
from domain_models.selection_arms import Judges, fitted, predicted_test, seen_by


@dataclass(frozen=True)
class Learned:
    """What a learner makes of the labels that a pool has so far.

    Attributes:
        probabilities: float64 [n, k] of the pool's images; NaN where nothing is known.
        val_predicted: int64 [n_val].
        test_predicted: int64 [n_test].
        embeddings: float32 [n, d] of the pool's images as the learner sees them now; ``None``: as they were.
    """

    probabilities: NDArray[np.float64]
    val_predicted: NDArray[np.int64]
    test_predicted: NDArray[np.int64]
    embeddings: NDArray[np.float32] | None = None


class Learner(Protocol):
    """Learns from a pool's labels, again and again as they grow: one learner, one replay."""

    def learn(self, pool: Pool) -> Learned:
        """Learn from every label that the pool has."""
        ...


class ProbeLearner:
    """A linear classifier on embeddings that stay as they are: a second a round."""

    def __init__(self, judges: Judges) -> None:
        self._judges = judges
        self._probe: LinearProbe | None = None

    def learn(self, pool: Pool) -> Learned:
        """Fit the classifier anew."""
        judges = self._judges
        probe = self._probe = fitted(pool, judges, self._probe)
        said: NDArray[np.int64] = probe.logits(judges.val_embeddings).argmax(axis=1)
        return Learned(seen_by(probe, pool), said, predicted_test(probe, pool, judges))


def everything_alike(pool: Pool, judges: Judges, label: int) -> Learned:
    """What is known where all labels so far are of one class: nothing."""
    nothing = np.full((len(pool.labels), len(pool.classes)), np.nan)
    val, test = (np.full(len(labels), label, dtype=np.int64) for labels in (judges.val_labels, judges.test_labels))
    return Learned(nothing, val, test)
