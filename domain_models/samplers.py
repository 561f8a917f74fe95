"""Samplers: which images an epoch draws, by class frequency. numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from domain_models.training_config import SamplerKind

Sampler = Callable[[NDArray[np.int64], NDArray[np.float64], np.random.Generator], NDArray[np.int64]]
"""labels int64 [n], weights float64 [n] and a generator to positions int64 [m], in the order they are trained on."""


def natural(labels: NDArray[np.int64], weights: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.int64]:
    """Every image with a weight once, shuffled."""
    del labels
    return chance.permutation(np.flatnonzero(weights > 0)).astype(np.int64)


def class_balanced(
    labels: NDArray[np.int64], weights: NDArray[np.float64], chance: np.random.Generator
) -> NDArray[np.int64]:
    """As many draws as there are images, each class equally often."""
    return _drawn(labels, weights, chance, power=0.0)


def square_root(
    labels: NDArray[np.int64], weights: NDArray[np.float64], chance: np.random.Generator
) -> NDArray[np.int64]:
    """As many draws as there are images, classes in proportion to the square root of their size."""
    return _drawn(labels, weights, chance, power=0.5)


def _drawn(
    labels: NDArray[np.int64], weights: NDArray[np.float64], chance: np.random.Generator, power: float
) -> NDArray[np.int64]:
    """Draw class shares in proportion to ``count ** power``, and within a class every image before any again."""
    used = np.flatnonzero(weights > 0)
    classes, counts = np.unique(labels[used], return_counts=True)
    shares = counts**power / (counts**power).sum()
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
}
