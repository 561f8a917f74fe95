"""Selection by where images lie in embedding space: novelty, diversity, and the cold start without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.vocabulary import ReviewReason
from domain_models.selection.clusters import centroids_of, nearest_centroid, principal_axes
from domain_models.selection.mapped_embeddings import BLOCK, LARGE
from domain_models.selection.neighbours import (
    ShortDirections,
    all_pairs_are_looked_at,
    away_from_known,
    distance_to_labelled,
    unit_vectors,
)
from domain_models.selection.pool import Floats, Indices, Pool, Selection, joined, selection_of, take_best

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
    eligible = pool.unlabelled & pool.embedded
    rows, known = np.flatnonzero(eligible), np.flatnonzero(pool.labelled & pool.embedded)
    away = np.full(len(pool.candidates), np.nan)
    away[rows] = away_from_known(pool.embeddings, rows, known, seed)
    shortlist = take_best(pool, eligible, away, max(_SHORTLIST * budget, 200), seed, _novel).indices
    here = unit_vectors(pool.embeddings[shortlist])
    if not all_pairs_are_looked_at(rows, known):
        away[shortlist] = distance_to_labelled(here, unit_vectors(pool.embeddings[known]))
    chosen = _farthest_first(here, shortlist, away[shortlist], budget)
    return filled(pool, selection_of(chosen, away, _novel), away, budget, seed, _novel)


def diverse(pool: Pool, budget: int, seed: int) -> Selection:
    """Images that cover the space: each the farthest from everything labelled or chosen (k-centre greedy).

    Sener and Savarese, ICLR 2018. Without labels the first choice is the image nearest to the middle. Distances within
    a large pool are those of its short directions.
    """
    eligible = pool.unlabelled & pool.embedded
    rows = take_best(pool, eligible, np.zeros(len(eligible)), len(eligible), seed, _novel).indices
    known = np.flatnonzero(pool.labelled & pool.embedded)
    here = _directions(pool, rows, seed)
    away = np.full(len(pool.candidates), np.nan)
    if len(known):
        away[rows] = away_from_known(pool.embeddings, rows, known, seed, neighbours=1)
    elif len(rows):
        place = (pool.embeddings[rows] if len(rows) <= LARGE else here).astype(np.float64)
        away[rows] = 2.0 - np.linalg.norm(place - place.mean(axis=0), axis=1) * 1e-9
    chosen = _farthest_first(here, rows, away[rows], budget)
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
    place = _directions(pool, rows, seed)
    if len(rows) <= LARGE:
        place = principal_axes(place, _CLUSTER_DIMENSIONS, seed)
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
            queues.append((len(members) - len(free), -len(members), rows[order].tolist()))
    queues.sort(key=lambda item: item[:2])
    chosen = in_turns(pool, [queue for *_, queue in queues], budget)
    return filled(pool, selection_of(chosen, scores, _cold), scores, budget, seed, _cold)


def _directions(pool: Pool, rows: Indices, seed: int) -> NDArray[np.float32]:
    """float32 [n, a], unit vectors: those of the embeddings, or short ones where there are many rows."""
    if len(rows) <= LARGE:
        return unit_vectors(pool.embeddings[rows])
    return ShortDirections.of_sample(pool.embeddings, rows, seed).of_rows(pool.embeddings, rows)


def _farthest_first(here: NDArray[np.float32], rows: Indices, away: Floats, budget: int) -> Indices:
    """Again and again the row farthest from what is labelled (``away``, float64 [n]) and from those chosen.

    ``here``: float32 [n, a], directions of the rows int64 [n].
    """
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
    for start in range(0, len(free), BLOCK):
        here = place[free[start : start + BLOCK]]
        squared = (here**2).sum(axis=1)[:, None] + (place[crowd] ** 2).sum(axis=1) - 2 * here @ place[crowd].T
        near = np.partition(np.sqrt(np.maximum(squared, 0.0)), count - 1, axis=1)[:, :count]
        out[start : start + BLOCK] = 1.0 / (near.mean(axis=1) + 1e-6)
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
