"""Directions in embedding space, and how far images are from what has a label.

Distances are cosine distances (0 the same direction, 2 opposite), as nearest-neighbour novelty uses them (Sun et al.,
ICML 2022). Of large pools, neighbours are searched for among directions of a few numbers each; the distance to those
that were found is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain_models.selection.mapped_embeddings import BLOCK, LARGE, Embeddings, Indices, blocks_of

NEIGHBOURS = 5
"""Novelty is the mean distance to so many nearest labelled images: one mislabelled or odd neighbour decides nothing."""

MOST_EXACT = 10_000 * LARGE
"""Up to so many pairs of an image and a labelled image are all looked at; beyond, neighbours are approximate."""

_AXES = 64
_AXES_FROM = 2000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ShortDirections:
    """Unit vectors told in a few numbers: their parts along the main axes of a sample, and the length of the rest.

    They are unit vectors again. Products of two are never smaller than those of the vectors that they stand for, so
    distances are never longer (Cauchy and Schwarz for the rest, equality where both rests point the same way).

    Attributes:
        axes: float32 [d, a], orthonormal.
    """

    axes: NDArray[np.float32]

    @classmethod
    def of_sample(cls, embeddings: Embeddings, rows: Indices, seed: int) -> ShortDirections:
        """Axes of some of these rows, drawn by chance: those along which unit vectors are longest."""
        drawn = rows
        if len(rows) > _AXES_FROM:
            drawn = np.sort(np.random.default_rng(seed).choice(rows, _AXES_FROM, replace=False))
        _, _, axes = np.linalg.svd(unit_vectors(embeddings[drawn]), full_matrices=False)
        return cls(np.ascontiguousarray(axes[:_AXES].T))

    def __call__(self, place: NDArray[np.float32]) -> NDArray[np.float32]:
        """Float32 [n, a + 1], of unit vectors float32 [n, d]."""
        along = place @ self.axes
        rest = np.sqrt(np.maximum(1.0 - (along**2).sum(axis=1, keepdims=True), 0.0))
        return np.concatenate([along, rest], axis=1, dtype=np.float32)

    def of_rows(self, embeddings: Embeddings, rows: Indices) -> NDArray[np.float32]:
        """The same of rows int64 [n], a block at a time: float32 [n, a + 1]."""
        out = np.empty((len(rows), self.axes.shape[1] + 1), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        for part in blocks_of(order):
            out[part] = self(unit_vectors(embeddings[rows[part]]))
        return out


def unit_vectors(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [n, d] with length 1; rows with NaN stay NaN.

    The mean stays in: without it, images of the largest cluster would point nowhere in particular.
    """
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    out: NDArray[np.float32] = (embeddings / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return out


def away_from_known(
    embeddings: Embeddings, rows: Indices, known: Indices, seed: int, neighbours: int = NEIGHBOURS
) -> Floats:
    """Mean cosine distance of rows to the nearest of the known ones, float64 [n]; 2 where nothing is known.

    Beyond :data:`MOST_EXACT` pairs it is the distance to approximate neighbours, which is never too short.

    Args:
        embeddings: [N, d].
        rows: int64 [n], rows without NaN.
        known: int64 [m], of the same kind.
        seed: of the sample that gives the short directions their axes.
        neighbours: how many nearest ones.
    """
    count = min(neighbours, len(known))
    if not count:
        return np.full(len(rows), 2.0)
    labelled = unit_vectors(embeddings[known])
    if all_pairs_are_looked_at(rows, known):
        parts = [distance_to_labelled(unit_vectors(embeddings[part]), labelled, neighbours) for part in blocks_of(rows)]
        return np.concatenate([np.zeros(0), *parts])
    from sklearn.neighbors import NearestNeighbors

    short = ShortDirections.of_sample(embeddings, rows, seed)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(short(labelled))
    out = np.empty(len(rows))
    for part in blocks_of(np.argsort(rows, kind="stable")):  # rising rows lie side by side in a file
        here = unit_vectors(embeddings[rows[part]])
        near = search.kneighbors(short(here), return_distance=False)
        alike = np.stack([np.einsum("nd,nd->n", here, labelled[near[:, i]]) for i in range(count)])
        out[part] = (1.0 - alike).mean(axis=0)
    return out


def all_pairs_are_looked_at(rows: Indices, known: Indices) -> bool:
    """Whether distances between these rows and those are exact."""
    return len(rows) * len(known) <= MOST_EXACT


def distance_to_labelled(
    place: NDArray[np.float32], labelled: NDArray[np.float32], neighbours: int = NEIGHBOURS
) -> Floats:
    """Mean cosine distance to the nearest labelled images, float64 [n]; 2 (the largest) where nothing is labelled.

    Args:
        place: float32 [n, d], of :func:`unit_vectors`.
        labelled: float32 [m, d], of the same.
        neighbours: how many nearest ones; fewer where fewer are labelled.
    """
    count = min(neighbours, len(labelled))
    if not count:
        return np.full(len(place), 2.0)
    out = np.empty(len(place))
    for start in range(0, len(place), BLOCK):
        away = 1.0 - place[start : start + BLOCK] @ labelled.T
        out[start : start + BLOCK] = np.partition(away, count - 1, axis=1)[:, :count].mean(axis=1)
    return out


def nearest_of_class(
    image: NDArray[np.float32], labelled: NDArray[np.float32], labels: Indices, wanted: int, count: int
) -> Indices:
    """Positions, among the labelled, of the images of one class that are nearest to ``image``, the nearest first.

    Args:
        image: float32 [d], of :func:`unit_vectors`.
        labelled: float32 [m, d], of the same.
        labels: int64 [m].
        wanted: the class.
        count: at most so many.
    """
    members = np.flatnonzero(labels == wanted)
    if not len(members) or not np.isfinite(image).all():
        return np.zeros(0, dtype=np.int64)
    near = np.argsort(-(labelled[members] @ image), kind="stable")[:count]
    return members[near].astype(np.int64)
