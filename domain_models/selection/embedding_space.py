"""Selection by where images lie in embedding space: novelty, diversity, and the cold start without any model.

Distances are cosine distances (0 the same direction, 2 opposite), as nearest-neighbour novelty uses them (Sun et al.,
ICML 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.vocabulary import ReviewReason
from domain_models.selection.clusters import centroids_of, nearest_centroid, principal_axes
from domain_models.selection.pool import Floats, Indices, Pool, Selection, joined, selection_of, take_best

NEIGHBOURS = 5
"""Novelty is the mean distance to so many nearest labelled images: one mislabelled or odd neighbour decides nothing."""

_CHUNK = 4096
_SHORTLIST = 10
_TYPICAL_NEIGHBOURS = 20
_MOST_CLUSTERS = 500
_LARGE_CLUSTER = 1500
_CLUSTER_DIMENSIONS = 64


def novelty(pool: Pool, budget: int, seed: int) -> Selection:
    """Images far from everything labelled, and from one another.

    The farthest are a shortlist; from it the image whose distance to labelled *and* already chosen ones is largest is
    taken again and again, so that one strange new product does not fill the batch.
    """
    place = unit_vectors(pool.embeddings)
    eligible = pool.unlabelled & pool.embedded
    away = np.full(len(pool.candidates), np.nan)
    away[eligible] = distance_to_labelled(place[eligible], place[pool.labelled & pool.embedded])
    shortlist = take_best(pool, eligible, away, max(_SHORTLIST * budget, 200), seed, _novel).indices
    chosen = _farthest_first(place, shortlist, away[shortlist], budget)
    return filled(pool, selection_of(chosen, away, _novel), away, budget, seed, _novel)


def diverse(pool: Pool, budget: int, seed: int) -> Selection:
    """Images that cover the space: each the farthest from everything labelled or chosen (k-centre greedy).

    Sener and Savarese, ICLR 2018. Without labels the first choice is the image nearest to the middle.
    """
    place = unit_vectors(pool.embeddings)
    eligible = pool.unlabelled & pool.embedded
    rows = take_best(pool, eligible, np.zeros(len(place)), len(place), seed, _novel).indices
    known = place[pool.labelled & pool.embedded]
    away = np.full(len(pool.candidates), np.nan)
    if len(known):
        away[rows] = distance_to_labelled(place[rows], known, neighbours=1)
    elif len(rows):
        middle = pool.embeddings[rows].astype(np.float64)
        away[rows] = 2.0 - np.linalg.norm(middle - middle.mean(axis=0), axis=1) * 1e-9
    chosen = _farthest_first(place, rows, away[rows], budget)
    return filled(pool, selection_of(chosen, away, _cold), away, budget, seed, _cold)


def cold_start(pool: Pool, budget: int, seed: int) -> Selection:
    """Typical *and* diverse images, for a workspace without a model: one from the densest spot of each cluster.

    Hacohen, Dekel and Weinshall, ICML 2022 (TypiClust): as many clusters as there are labels to spend (and labels on
    file); clusters with the fewest labels first, then the largest; in each the image whose neighbours are nearest.
    """
    eligible = pool.unlabelled & pool.embedded
    known = pool.labelled & pool.embedded
    rows = np.flatnonzero(eligible | known)
    scores = np.full(len(pool.candidates), np.nan)
    if budget <= 0 or not eligible.any():
        return filled(pool, selection_of(np.zeros(0, dtype=np.int64), scores, _cold), scores, budget, seed, _cold)
    place = principal_axes(unit_vectors(pool.embeddings)[rows], _CLUSTER_DIMENSIONS, seed)
    wanted = min(budget + min(int(known.sum()), _MOST_CLUSTERS), _MOST_CLUSTERS, len(rows))
    cluster = nearest_centroid(place, centroids_of(place, wanted, seed))
    queues: list[tuple[int, int, list[int]]] = []
    for number in range(wanted):
        members = np.flatnonzero(cluster == number)
        free = members[eligible[rows[members]]]
        if len(free):
            density = _typicality(place, members, free, seed)
            scores[rows[free]] = density
            order = free[np.argsort(-density, kind="stable")]
            queues.append((len(members) - len(free), -len(members), [int(rows[i]) for i in order]))
    queues.sort(key=lambda item: item[:2])
    chosen = in_turns(pool, [queue for *_, queue in queues], budget)
    return filled(pool, selection_of(chosen, scores, _cold), scores, budget, seed, _cold)


def unit_vectors(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [n, d] with length 1; rows with NaN stay NaN.

    The mean stays in: without it, images of the largest cluster would point nowhere in particular.
    """
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    out: NDArray[np.float32] = (embeddings / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return out


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
    for start in range(0, len(place), _CHUNK):
        away = 1.0 - place[start : start + _CHUNK] @ labelled.T
        out[start : start + _CHUNK] = np.partition(away, count - 1, axis=1)[:, :count].mean(axis=1)
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


def _farthest_first(place: NDArray[np.float32], rows: Indices, away: Floats, budget: int) -> Indices:
    """Again and again the row farthest from what is labelled (``away``, float64 [len(rows)]) and from those chosen."""
    here = place[rows]
    left = away.astype(np.float64).copy()
    chosen: list[int] = []
    for _ in range(min(budget, len(rows))):
        best = int(np.argmax(left))
        chosen.append(best)
        left = np.minimum(left, 1.0 - here @ here[best])
        left[best] = -np.inf
    return rows[np.asarray(chosen, dtype=np.int64)]


def _typicality(place: NDArray[np.float32], members: Indices, free: Indices, seed: int) -> Floats:
    """Inverse of the mean distance to the nearest members of the cluster, float64 [len(free)]."""
    crowd = members
    if len(members) > _LARGE_CLUSTER:
        crowd = np.random.default_rng(seed).choice(members, _LARGE_CLUSTER, replace=False)
    count = min(_TYPICAL_NEIGHBOURS, len(crowd))
    out = np.empty(len(free))
    for start in range(0, len(free), _CHUNK):
        here = place[free[start : start + _CHUNK]]
        squared = (here**2).sum(axis=1)[:, None] + (place[crowd] ** 2).sum(axis=1) - 2 * here @ place[crowd].T
        near = np.partition(np.sqrt(np.maximum(squared, 0.0)), count - 1, axis=1)[:, :count]
        out[start : start + _CHUNK] = 1.0 / (near.mean(axis=1) + 1e-6)
    return out


def in_turns(pool: Pool, queues: Sequence[list[int]], budget: int) -> Indices:
    """One image of each queue in turn, then the next of each; never two of one group."""
    chosen: list[int] = []
    taken: set[int] = set()
    waiting = [iter(queue) for queue in queues]
    while waiting and len(chosen) < budget:
        going_on = []
        for queue in waiting:
            row = next((row for row in queue if int(pool.groups[row]) not in taken), None)
            if row is None:
                continue
            chosen.append(row)
            taken.add(int(pool.groups[row]))
            going_on.append(queue)
            if len(chosen) == budget:
                break
        waiting = going_on
    return np.asarray(chosen, dtype=np.int64)


def filled(
    pool: Pool, found: Selection, scores: Floats, budget: int, seed: int, reason: Callable[[int], str]
) -> Selection:
    """What was found and, where that is less than the budget, images of which nothing is known, by chance."""
    if len(found) >= budget:
        return found
    left = pool.without(found.indices)
    more = take_best(left, left.unlabelled, scores, budget - len(found), seed, reason)
    return joined(found, more)


def _novel(_: int) -> str:
    return ReviewReason.NOVELTY.value


def _cold(_: int) -> str:
    return ReviewReason.COLD_START.value
