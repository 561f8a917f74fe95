"""Selection by what the model is unsure of *and* by where it lies: batches that do not ask the same thing twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain_models.selection.clusters import centroids_of, nearest_centroid, principal_axes
from domain_models.selection.embedding_space import filled, in_turns
from domain_models.selection.mapped_embeddings import LARGE, blocks_of
from domain_models.selection.pool import Floats, Indices, Pool, Selection, selection_of, take_best
from domain_models.selection.uncertainty import lead_of_the_best, low_confidence, pair_reason

SHORTLIST = 10
"""Clustered margin looks at so many times the budget of images, those with the smallest margins (its ``k_m / k_t``)."""

_CLUSTER_DIMENSIONS = 64
_MOST_CLUSTERS = 500


def badge(pool: Pool, budget: int, seed: int) -> Selection:
    """Images whose gradients would move the last layer far, and in different directions.

    Ash et al., ICLR 2020: the gradient of the last layer, with the predicted class taken for the true one, is
    ``(p - onehot) x embedding``; k-means++ (Arthur and Vassilvitskii 2007) draws images that are long and far apart by
    it. The first is the longest. Distances follow from products of the two factors; gradients are never written down.
    Of a large pool only the longest gradients take part: a model that is sure of an image would learn nothing from it.
    """
    eligible = pool.unlabelled & pool.predicted & pool.embedded
    scores = np.full(len(pool.candidates), np.nan)
    rows = np.flatnonzero(eligible)
    if len(pool.classes) < 2 or not len(rows) or budget <= 0:
        return low_confidence(pool, budget, seed)
    slope = pool.probabilities[rows].astype(np.float32)
    slope[np.arange(len(rows)), slope.argmax(axis=1)] -= 1.0
    squares = [(pool.embeddings[part] ** 2).sum(axis=1) for part in blocks_of(rows)]
    length = (slope**2).sum(axis=1) * np.concatenate(squares)
    scores[rows] = np.sqrt(length)
    if len(rows) > LARGE:
        longest = np.sort(np.argsort(-length, kind="stable")[:LARGE])
        rows, slope, length = rows[longest], slope[longest], length[longest]
    place = pool.embeddings[rows]
    chosen = _far_apart(slope, place, length.astype(np.float64), pool.groups[rows], budget, np.random.default_rng(seed))
    reason = pair_reason(pool)
    return filled(pool, selection_of(rows[chosen], scores, reason), scores, budget, seed, reason)


def clustered_margin(pool: Pool, budget: int, seed: int) -> Selection:
    """Small margins from as many places as possible.

    Citovsky et al., NeurIPS 2021: of the images with the smallest margins, one from each cluster in turn, clusters with
    the fewest of them first. Clusters are those of k-means over these images, as many as the budget, and the smallest
    margin of a cluster comes first (there: agglomerative clusters of the whole pool, and chance).
    """
    eligible = pool.unlabelled & pool.predicted & pool.embedded
    if len(pool.classes) < 2 or not eligible.any() or budget <= 0:
        return low_confidence(pool, budget, seed)
    scores, reason = 1.0 - lead_of_the_best(pool.probabilities), pair_reason(pool)
    rows = take_best(pool, eligible, scores, SHORTLIST * budget, seed, reason).indices
    place = principal_axes(pool.embeddings[rows], _CLUSTER_DIMENSIONS, seed)
    cluster = nearest_centroid(place, centroids_of(place, min(budget, _MOST_CLUSTERS, len(rows)), seed))
    sizes = np.bincount(cluster)
    queues = [rows[cluster == number].tolist() for number in np.argsort(sizes, kind="stable") if sizes[number]]
    chosen = in_turns(pool, queues, budget)
    return filled(pool, selection_of(chosen, scores, reason), scores, budget, seed, reason)


def _far_apart(
    slope: NDArray[np.float32],
    place: NDArray[np.float32],
    length: Floats,
    groups: Indices,
    budget: int,
    chance: np.random.Generator,
) -> Indices:
    """k-means++ over the products of both factors: positions int64, no two of one group.

    Args:
        slope: float32 [n, k].
        place: float32 [n, d].
        length: float64 [n], squared length of each product.
        groups: int64 [n].
        budget: at most so many.
        chance: draws.
    """
    free = np.ones(len(groups), dtype=bool)
    away = length.copy()
    chosen: list[int] = []
    while free.any() and len(chosen) < budget:
        weight = np.where(free, away, 0.0)
        total = float(weight.sum())
        if not chosen:
            best = int(weight.argmax()) if total > 0 else int(chance.choice(np.flatnonzero(free)))
        elif total > 0:
            best = int(chance.choice(len(weight), p=weight / total))
        else:
            best = int(chance.choice(np.flatnonzero(free)))
        chosen.append(best)
        free &= groups != groups[best]
        product = (slope @ slope[best]).astype(np.float64) * (place @ place[best])
        apart = np.maximum(length + length[best] - 2.0 * product, 0.0)
        away = np.minimum(away, apart) if len(chosen) > 1 else apart
    return np.asarray(chosen, dtype=np.int64)
