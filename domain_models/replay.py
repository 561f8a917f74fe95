"""Which of the old images are seen again in an incremental training, and how much each of them stands for. numpy only.

Few images of a frequent class are enough to remember it, while a rare class may be lost with its last image. So classes
are drawn in proportion to the square root of their size, and each drawn image weighs as much as the images of its class
that it stands for: the loss is, in expectation, the loss over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST = 256
PER_CHANGE = 2
"""Old images seen again for each new or corrected one, but at least `LEAST`."""

CLASSIFIER_IMAGES = 4000
"""Old images that the classifier is fitted on, at most: their features are kept, so they cost next to nothing."""

HEAVIEST = 8.0
"""A changed image weighs at most this much, or as much as a replayed one does on average, whichever is more."""

CHANGED_SHARE = 1 / 3
"""The share of the loss that new and corrected images get together, if they have less: they are seen for fewer epochs
than in a full training, and some of them contradict what the champion has learned by heart."""


@dataclass(frozen=True)
class Replay:
    """Old images that are seen again.

    Attributes:
        positions: int64 [m], rising.
        weights: float64 [m]; how many images each stands for, at least 1.
    """

    positions: NDArray[np.int64]
    weights: NDArray[np.float64]


def replay_size(changed: int, unchanged: int, *, least: int = LEAST) -> int:
    """How many of ``unchanged`` old images are seen again beside ``changed`` new and corrected ones."""
    return min(unchanged, max(least, PER_CHANGE * changed))


def replay_sample(labels: NDArray[np.int64], size: int, seed: int) -> Replay:
    """Draw old images, at least one (as far as ``size`` goes) of every class.

    Args:
        labels: int64 [n] of the images whose label did not change.
        size: how many to draw; all of them where it is at least n.
        seed: decides which.
    """
    if size >= len(labels):
        return Replay(np.arange(len(labels), dtype=np.int64), np.ones(len(labels)))
    chance = np.random.default_rng([seed, len(labels)])
    classes, counts = np.unique(labels, return_counts=True)
    wanted = _allotted(counts, size)
    positions, weights = [], []
    for index, count, amount in zip(classes, counts, wanted, strict=True):
        members = np.flatnonzero(labels == index)
        positions.append(chance.choice(members, size=int(amount), replace=False))
        weights.append(np.full(int(amount), count / max(1, amount)))
    chosen = np.concatenate(positions).astype(np.int64)
    order = np.argsort(chosen)
    return Replay(chosen[order], np.concatenate(weights)[order])


@dataclass(frozen=True)
class ReplayPlan:
    """What an incremental training looks at, and how much each image counts.

    Attributes:
        positions: int64 [m] into the training images; changed ones first, then the old ones that are seen again.
        changed: bool [m].
        weights: float64 [m]; for the classifier.
        fine_tuning_weights: float64 [m]; fine-tuning sees fewer old images than the classifier does; 0 is one that it
            does not see.
    """

    positions: NDArray[np.int64]
    changed: NDArray[np.bool_]
    weights: NDArray[np.float64]
    fine_tuning_weights: NDArray[np.float64]


def plan_replay(labels: NDArray[np.int64], changed: NDArray[np.bool_], seed: int) -> ReplayPlan:
    """Choose the old images that are seen again, and weigh all.

    Args:
        labels: int64 [n] of the training images.
        changed: bool [n]; new or corrected since the champion.
        seed: of the replay.
    """
    new, old = np.flatnonzero(changed), np.flatnonzero(~changed)
    replay = replay_sample(labels[old], CLASSIFIER_IMAGES, seed)
    tuned_on = replay_sample(labels[old][replay.positions], replay_size(len(new), len(old)), seed)
    tuned_on = Replay(tuned_on.positions, tuned_on.weights * replay.weights[tuned_on.positions])
    fine_tuning_weights = np.zeros(len(new) + len(replay.positions))
    fine_tuning_weights[: len(new)] = changed_weight(len(new), tuned_on)
    fine_tuning_weights[len(new) + tuned_on.positions] = tuned_on.weights
    return ReplayPlan(
        np.concatenate([new, old[replay.positions]]).astype(np.int64),
        np.arange(len(fine_tuning_weights)) < len(new),
        np.concatenate([np.full(len(new), changed_weight(len(new), replay)), replay.weights]),
        fine_tuning_weights,
    )


def changed_weight(changed: int, replay: Replay) -> float:
    """The weight of each changed image beside the replayed ones: `CHANGED_SHARE` of the loss, within `HEAVIEST`."""
    if not changed or not len(replay.weights):
        return 1.0
    fair = replay.weights.sum() * CHANGED_SHARE / (1 - CHANGED_SHARE) / changed
    return float(np.clip(fair, 1.0, max(HEAVIEST, replay.weights.mean())))


def _allotted(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """int64 per class, summing to ``size``: in proportion to the square roots, never more than the class has."""
    wanted = np.zeros(len(counts), dtype=np.int64)
    # rarest first: what a small class cannot give is left to the larger ones
    for done, index in enumerate(np.argsort(counts, kind="stable")):
        rest = np.argsort(counts, kind="stable")[done:]
        share = np.sqrt(counts[index]) / np.sqrt(counts[rest]).sum()
        left = size - int(wanted.sum())
        wanted[index] = min(int(counts[index]), left, max(1, round(left * share)))
    return wanted
