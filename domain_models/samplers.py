"""Samplers: which images an epoch draws, by class frequency. numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from domain_models.training_config import SamplerKind

Labels = NDArray[np.int64]
Weights = NDArray[np.float64]

Sampler = Callable[[Labels, Weights, np.random.Generator, float], NDArray[np.int64]]
"""labels int64 [n], weights float64 [n], a generator, and the share of the training that is done (0 in the first epoch,
1 in the last), to positions int64 [m], in the order they are trained on."""


def natural(labels: Labels, weights: Weights, chance: np.random.Generator, done: float) -> NDArray[np.int64]:
    """Every image with a weight once, shuffled."""
    del labels, done
    return chance.permutation(np.flatnonzero(weights > 0)).astype(np.int64)


def class_balanced(labels: Labels, weights: Weights, chance: np.random.Generator, done: float) -> NDArray[np.int64]:
    """As many draws as there are images, each class equally often."""
    del done
    return _drawn(labels, weights, chance, lambda counts: np.ones(len(counts)))


def square_root(labels: Labels, weights: Weights, chance: np.random.Generator, done: float) -> NDArray[np.int64]:
    """As many draws as there are images, classes in proportion to the square root of their size."""
    del done
    return _drawn(labels, weights, chance, np.sqrt)


def progressively_balanced(
    labels: Labels, weights: Weights, chance: np.random.Generator, done: float
) -> NDArray[np.int64]:
    """From natural in the first epoch to class-balanced in the last (Kang et al., ICLR 2020, eq. 2)."""
    return _drawn(
        labels,
        weights,
        chance,
        lambda counts: (1.0 - done) * counts / counts.sum() + done * np.ones(len(counts)) / len(counts),
    )


def _drawn(
    labels: Labels,
    weights: Weights,
    chance: np.random.Generator,
    share_of: Callable[[NDArray[np.int64]], NDArray[np.float64]],
) -> NDArray[np.int64]:
    """Draw classes in proportion to ``share_of`` their counts, and within a class every image before any again."""
    used = np.flatnonzero(weights > 0)
    classes, counts = np.unique(labels[used], return_counts=True)
    shares = share_of(counts) / share_of(counts).sum()
    wanted = np.floor(shares * len(used)).astype(np.int64)
    rest = len(used) - int(wanted.sum())
    wanted += np.bincount(chance.choice(len(classes), size=rest, replace=False, p=shares), minlength=len(classes))
    drawn = []
    for index, amount in zip(classes, wanted, strict=True):
        members = used[labels[used] == index]
        rounds = [chance.permutation(members) for _ in range(-(-int(amount) // len(members)))]
        drawn.append(np.concatenate([*rounds, members[:0]])[:amount])
    return chance.permutation(np.concatenate(drawn)).astype(np.int64)


SAMPLERS: dict[SamplerKind, Sampler] = {
    SamplerKind.NATURAL: natural,
    SamplerKind.CLASS_BALANCED: class_balanced,
    SamplerKind.SQUARE_ROOT: square_root,
    SamplerKind.PROGRESSIVELY_BALANCED: progressively_balanced,
}
