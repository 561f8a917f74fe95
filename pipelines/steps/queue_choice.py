"""Which images of a round become tasks, and of which kind: what waits, the random audit, and what would teach most."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data_contracts.profile import ReviewSettings
from data_contracts.vocabulary import ReviewReason
from domain_models.selection.pool import UNLABELLED, Pool
from domain_models.selection.strategies import STRATEGIES, StrategyName, audit_size
from pipelines.steps.queue_pool import RoundPool

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Chosen:
    """One task to be: ``row`` of the pool that stands for its subject, why, and how much it is wanted (0 to 1)."""

    row: int
    reason: str
    priority: float
    hold: bool
    audit: bool


@dataclass(frozen=True)
class RoundChoice:
    """The tasks of a round. ``left_out`` counts subjects that neither budget nor capacity had room for."""

    chosen: tuple[Chosen, ...]
    budget: int
    capacity: int
    left_out: int


def learn_capacity(review: ReviewSettings, *, waiting_images: int, hold_images: int) -> int:
    """How many images beyond those that wait already the readers can look at in a week.

    Args:
        review: of the profile.
        waiting_images: images of tasks under way.
        hold_images: images of this round that wait and must be looked at first.
    """
    seconds = review.reader_hours_per_week * SECONDS_PER_HOUR
    readings = review.seconds_per_image * review.readings_required
    return max(0, int(seconds / readings) - waiting_images - hold_images)


def choose_tasks(
    round_pool: RoundPool,
    strategy: StrategyName,
    *,
    budget: int,
    review: ReviewSettings,
    waiting_images: int,
    hold: bool,
    seed: int,
) -> RoundChoice:
    """Choose the tasks of one round.

    - Every image that triage sent to review waits: a ``hold`` that no budget drops (unless ``hold`` is off).
    - The audit is drawn from what is set aside, by lot, before any strategy looks, from waiting and other images alike:
      what it shows holds for all of them. One that waits stays a hold.
    - The strategy spends the rest of the budget on what neither waits, nor is set aside, nor belongs with the test.

    Args:
        round_pool: everything that may be asked about.
        strategy: how learn tasks are chosen.
        budget: learn tasks at most, audits included.
        review: of the profile: audit share, capacity, readings.
        waiting_images: images of tasks under way.
        hold: whether flagged images wait; otherwise they are candidates like the others.
        seed: of the choice.
    """
    images, pool = round_pool.images, round_pool.pool
    # also those with a task under way: the queue makes a hold of a learn task, and keeps the earlier due time
    usable = ~images["bad_image"].to_numpy(dtype=bool) & (pool.labels == UNLABELLED)
    flagged = images["flagged"].to_numpy(dtype=bool) & usable & hold
    groups_waiting = np.unique(pool.groups[flagged])
    waits = np.isin(pool.groups, groups_waiting)
    audited = _audit_rows(round_pool, audit_size(budget, review.random_audit_share))
    is_audited = np.isin(pool.groups, pool.groups[audited])
    holds = _holds(round_pool, flagged, is_audited)
    audits = [
        Chosen(int(row), ReviewReason.RANDOM_AUDIT.value, 0.5, hold=False, audit=True)
        for row in audited
        if not waits[row]
    ]
    hold_images = int((waits & ~images["waiting"].to_numpy(dtype=bool)).sum())
    capacity = learn_capacity(review, waiting_images=waiting_images, hold_images=hold_images)
    untouched = (images["set_aside"] | images["in_test"]).to_numpy(dtype=bool) & (pool.labels == UNLABELLED)
    open_pool = pool.only(~waits & ~is_audited & ~untouched)
    selection = STRATEGIES[strategy](open_pool, max(0, budget - len(audited)), seed)
    size = np.bincount(pool.groups, minlength=int(pool.groups.max(initial=-1)) + 1)
    learned: list[Chosen] = []
    spent = sum(int(size[pool.groups[one.row]]) for one in audits)
    for place, (row, reason) in enumerate(zip(selection.indices, selection.reasons, strict=True)):
        spent += int(size[pool.groups[row]])
        if spent > capacity:
            break
        priority = 1.0 - place / max(1, len(selection))
        learned.append(Chosen(int(row), reason, priority, hold=False, audit=False))
    audits = audits[: capacity if not learned else None]
    could = len(np.unique(pool.groups[open_pool.unlabelled])) + sum(not waits[row] for row in audited)
    asked = sum(1 for one in learned if pool.labels[one.row] == UNLABELLED) + len(audits)
    return RoundChoice((*holds, *audits, *learned), budget, capacity, max(0, could - asked))


def _holds(round_pool: RoundPool, flagged: NDArray[np.bool_], audited: NDArray[np.bool_]) -> list[Chosen]:
    """One task for each waiting subject; its least certain image stands for it."""
    images, pool = round_pool.images, round_pool.pool
    doubt = 1.0 - np.nan_to_num(_lead(pool), nan=0.0)
    rows = np.flatnonzero(flagged)
    rows = rows[np.argsort(-doubt[rows], kind="stable")]
    _, first = np.unique(pool.groups[rows], return_index=True)
    holds = []
    for row in rows[np.sort(first)]:
        said = images["reason"].iloc[row]
        reason = said if isinstance(said, str) and said else ReviewReason.LOW_CONFIDENCE.value
        if audited[row]:
            reason = ReviewReason.RANDOM_AUDIT.value
        holds.append(Chosen(int(row), reason, float(doubt[row]), hold=True, audit=bool(audited[row])))
    return holds


def _audit_rows(round_pool: RoundPool, count: int) -> NDArray[np.int64]:
    """Rows of the audit: set aside, without a label, of this round's batches where there are any; lowest lots first."""
    images, pool = round_pool.images, round_pool.pool
    eligible = pool.unlabelled & images["set_aside"].to_numpy(dtype=bool)
    scored = images["scored"].to_numpy(dtype=bool)
    if scored.any():
        eligible &= scored
    lots = replace(pool, candidates=eligible)
    rows = np.flatnonzero(lots.candidates)
    rows = rows[np.argsort(images["lot"].to_numpy(dtype=np.float64)[rows], kind="stable")]
    _, first = np.unique(pool.groups[rows], return_index=True)
    chosen: NDArray[np.int64] = rows[np.sort(first)[:count]].astype(np.int64)
    return chosen


def _lead(pool: Pool) -> NDArray[np.float64]:
    """float64 [n]: lead of the most probable class over the second; NaN where nothing is known."""
    if len(pool.classes) < 2:
        return np.full(len(pool.candidates), np.nan)
    top = np.sort(pool.probabilities, axis=1)[:, -2:]
    lead: NDArray[np.float64] = top[:, 1] - top[:, 0]
    return lead
