"""What a selection strategy may look at, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domain_models.selection.mapped_embeddings import Embeddings, known_rows

UNLABELLED = -1
"""Value of ``Pool.labels`` for an image without a label."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """Every image that selection knows of; all arrays are aligned, and an index always means a row of them.

    Attributes:
        classes: k names in index order.
        candidates: bool [n]; only these may be chosen (not those with an open task, for example).
        labels: int64 [n]; class index of the label on file, ``UNLABELLED`` without one.
        probabilities: float64 [n, k], calibrated; of labelled images by models that never saw them. A row with NaN:
            nothing is known.
        embeddings: float32 [n, d], in memory or mapped from a file (then only indexing reads it); a row with NaN means
            that nothing is known; d may be 0.
        groups: int64 [n]; at most one image of a group is chosen, because a group is reviewed as one case.
        conflicts: bool [n]; statements about the image contradict each other.
        confusion: int64 [k, k], rows actual, columns predicted, of images that the model was not trained on.
        costs: float64 [k, k]; what it costs to call an image of the row's class the column's (1: an ordinary mistake).
    """

    classes: tuple[str, ...]
    candidates: Bools
    labels: Indices
    probabilities: Floats
    embeddings: Embeddings
    groups: Indices
    conflicts: Bools
    confusion: Indices
    costs: Floats

    def __post_init__(self) -> None:
        n, k = len(self.candidates), len(self.classes)
        rows = (self.labels, self.probabilities, self.embeddings, self.groups, self.conflicts)
        if any(len(array) != n for array in rows):
            raise ValueError(f"the arrays of a pool of {n} images differ in length: {[len(array) for array in rows]}")
        tables = {self.confusion.shape, self.costs.shape}
        if self.probabilities.shape != (n, k) or tables != {(k, k)} or self.embeddings.ndim != 2:
            raise ValueError(
                f"{k} classes do not fit probabilities {self.probabilities.shape}, confusion {self.confusion.shape}, "
                f"costs {self.costs.shape} and embeddings {self.embeddings.shape}"
            )

    @classmethod
    def of(
        cls,
        size: int,
        *,
        classes: Sequence[str] = (),
        candidates: Bools | None = None,
        labels: Indices | None = None,
        probabilities: Floats | None = None,
        embeddings: Embeddings | None = None,
        groups: Indices | None = None,
        conflicts: Bools | None = None,
        confusion: Indices | None = None,
        costs: Floats | None = None,
    ) -> Pool:
        """A pool of ``size`` images; whatever is not given is unknown, every image is a group of its own."""
        k = len(classes)
        return cls(
            classes=tuple(classes),
            candidates=np.ones(size, dtype=bool) if candidates is None else candidates,
            labels=np.full(size, UNLABELLED, dtype=np.int64) if labels is None else labels,
            probabilities=np.full((size, k), np.nan) if probabilities is None else probabilities,
            embeddings=np.zeros((size, 0), dtype=np.float32) if embeddings is None else embeddings,
            groups=np.arange(size, dtype=np.int64) if groups is None else groups,
            conflicts=np.zeros(size, dtype=bool) if conflicts is None else conflicts,
            confusion=np.zeros((k, k), dtype=np.int64) if confusion is None else confusion,
            costs=1.0 - np.eye(k) if costs is None else costs,
        )

    @property
    def unlabelled(self) -> Bools:
        """bool [n]: candidates without a label."""
        return np.asarray(self.candidates & (self.labels == UNLABELLED))

    @property
    def labelled(self) -> Bools:
        """bool [n]: images with a label, candidates or not."""
        return np.asarray(self.labels != UNLABELLED)

    @property
    def predicted(self) -> Bools:
        """bool [n]: images of which a model said something."""
        if not self.classes:
            return np.zeros(len(self.candidates), dtype=bool)
        return np.asarray(np.isfinite(self.probabilities).all(axis=1))

    @property
    def embedded(self) -> Bools:
        """bool [n]: images whose place in embedding space is known."""
        return known_rows(self.embeddings)

    def without(self, indices: Indices) -> Pool:
        """The pool in which nothing of the groups of these images may be chosen any more."""
        return replace(self, candidates=self.candidates & ~np.isin(self.groups, self.groups[indices]))

    def only(self, mask: Bools) -> Pool:
        """The pool in which only candidates within ``mask``, bool [n], may be chosen."""
        return replace(self, candidates=self.candidates & mask)


@dataclass(frozen=True)
class Selection:
    """What was chosen, the most wanted first; aligned.

    Attributes:
        indices: int64 [b], rows of the pool.
        scores: float64 [b], finite; how much the image is wanted, comparable within one strategy only.
        reasons: b values of :class:`~data_contracts.vocabulary.ReviewReason` (``confused_pair:a|b`` with names).
    """

    indices: Indices
    scores: Floats
    reasons: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def first(self, count: int) -> Selection:
        """The first ``count``."""
        return Selection(self.indices[:count], self.scores[:count], self.reasons[:count])


NOTHING = Selection(np.zeros(0, dtype=np.int64), np.zeros(0), ())


def joined(first: Selection, second: Selection) -> Selection:
    """One selection after the other."""
    return Selection(
        np.concatenate([first.indices, second.indices]),
        np.concatenate([first.scores, second.scores]),
        first.reasons + second.reasons,
    )


Strategy = Callable[[Pool, int, int], Selection]
"""(pool, budget, seed) to a selection.

The contract, which one suite checks for every strategy: as many groups as are eligible, at most ``budget``; only
candidates; no group twice; the same for the same seed; images of which nothing is known come last and never disturb the
others; the pool is left as it is.
"""


def take_best(
    pool: Pool, eligible: Bools, scores: Floats, budget: int, seed: int, reason: Callable[[int], str]
) -> Selection:
    """The eligible images with the highest scores, one of each group; ties fall by chance, NaN comes last.

    Args:
        pool: whose groups count.
        eligible: bool [n].
        scores: float64 [n]; NaN where nothing is known.
        budget: at most so many.
        seed: of the chance.
        reason: of a row.
    """
    rows = np.flatnonzero(eligible)
    values = np.nan_to_num(scores[rows].astype(np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    chance = np.random.default_rng(seed).permutation(len(rows))
    rows = rows[np.lexsort((chance, -values))]
    _, first = np.unique(pool.groups[rows], return_index=True)
    chosen = rows[np.sort(first)[: max(0, budget)]]
    return selection_of(chosen, scores, reason)


def selection_of(chosen: Indices, scores: Floats, reason: Callable[[int], str]) -> Selection:
    """A selection of these rows with their scores (0 where unknown) and reasons."""
    values = np.nan_to_num(scores[chosen].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return Selection(chosen.astype(np.int64), values, tuple(reason(int(row)) for row in chosen))
