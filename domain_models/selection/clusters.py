"""k-means and principal axes in a few lines of numpy: enough for spreading a batch over a pool, always the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain_models.selection.mapped_embeddings import LARGE
from domain_models.selection.pool import Floats, Indices

_ROUNDS = 15
_AXES_FROM = 2000
_CHUNK = 4096


def principal_axes(values: NDArray[np.float32], dimensions: int, seed: int) -> NDArray[np.float32]:
    """float32 [n, d] on its first principal axes, [n, at most ``dimensions``]; axes come from a sample of the rows."""
    if values.shape[1] <= dimensions:
        return values
    sample = values
    if len(values) > _AXES_FROM:
        sample = values[np.random.default_rng(seed).choice(len(values), _AXES_FROM, replace=False)]
    middle = sample.mean(axis=0)
    _, _, axes = np.linalg.svd(sample - middle, full_matrices=False)
    reduced: NDArray[np.float32] = (values - middle) @ axes[:dimensions].T
    return reduced


def centroids_of(values: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """k-means centroids, float32 [count, d]: greedy k-means++ first (Arthur and Vassilvitskii 2007), then Lloyd.

    The greedy variant draws several points for each centroid and keeps the best, so that small clusters are not missed.
    Of many rows, a sample is clustered.
    """
    chance = np.random.default_rng(seed)
    if len(values) > LARGE:
        values = values[np.sort(chance.choice(len(values), LARGE, replace=False))]
    tries = 2 + int(np.log(count))
    chosen = [int(chance.integers(len(values)))]
    away = _squared(values, values[chosen])[:, 0]
    while len(chosen) < count:
        total = float(away.sum())
        spread = away / total if total > 0 else np.full(len(values), 1.0 / len(values))
        drawn = chance.choice(len(values), size=tries, p=spread)
        nearer = np.minimum(away[:, None], _squared(values, values[drawn]))
        best = int(nearer.sum(axis=0).argmin())
        chosen.append(int(drawn[best]))
        away = nearer[:, best]
    centroids = values[chosen].copy()
    for _ in range(_ROUNDS):
        nearest = nearest_centroid(values, centroids)
        sizes = np.bincount(nearest, minlength=count)
        sums = np.zeros(centroids.shape, dtype=np.float64)
        np.add.at(sums, nearest, values)
        moved = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centroids).astype(np.float32)
        if np.allclose(moved, centroids, atol=1e-5):
            break
        centroids = moved
    return centroids


def nearest_centroid(values: NDArray[np.float32], centroids: NDArray[np.float32]) -> Indices:
    """int64 [n]: the centroid nearest to each row."""
    parts = [_squared(values[i : i + _CHUNK], centroids).argmin(axis=1) for i in range(0, len(values), _CHUNK)]
    return np.concatenate(parts).astype(np.int64)


def _squared(values: NDArray[np.float32], centres: NDArray[np.float32]) -> Floats:
    squared = (values**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2.0 * values @ centres.T
    out: Floats = np.maximum(squared, 0.0).astype(np.float64)
    return out
