"""How much an image counts in the loss by how frequent its class is. numpy only.

Each rule maps class counts to one weight per class, with mean 1 over the training images, so that a learning rate means
the same with and without weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from domain_models.training_config import ReweightingKind, TrainingConfig

Weights = NDArray[np.float64]

Rule = Callable[[NDArray[np.int64], TrainingConfig], Weights]
"""Training images of each class int64 [k] to the weight of each class float64 [k], before scaling."""


def alike(counts: NDArray[np.int64], _config: TrainingConfig) -> Weights:
    """Every image counts the same."""
    return np.ones(len(counts))


def inverse_frequency(counts: NDArray[np.int64], _config: TrainingConfig) -> Weights:
    """``1 / n_k``: every class counts the same."""
    return 1.0 / np.maximum(counts, 1)


def effective_number(counts: NDArray[np.int64], config: TrainingConfig) -> Weights:
    """``(1 - beta) / (1 - beta^n_k)``: the inverse of the effective number of images (Cui et al., CVPR 2019, eq. 2).

    ``beta`` 0 counts images alike; towards 1 it becomes the inverse frequency.
    """
    beta = config.effective_number_beta
    return (1.0 - beta) / (1.0 - beta ** np.maximum(counts, 1))


REWEIGHTINGS: dict[ReweightingKind, Rule] = {
    ReweightingKind.NONE: alike,
    ReweightingKind.INVERSE_FREQUENCY: inverse_frequency,
    ReweightingKind.EFFECTIVE_NUMBER: effective_number,
}
"""What each kind of reweighting does."""


def class_weights(counts: NDArray[np.int64], config: TrainingConfig, share_done: float) -> Weights:
    """The weight of each class at a point of the training: float64 [k], mean 1 over the training images.

    Args:
        counts: int64 [k], training images of each class.
        config: which rule, and from which share of the epochs on; before that, images count alike (deferred
            re-weighting, Cao et al., NeurIPS 2019).
        share_done: epochs done over epochs planned, 0..1.
    """
    kind = config.reweighting if share_done >= config.reweighting_from else ReweightingKind.NONE
    weights = REWEIGHTINGS[kind](counts, config)
    total = float((weights * counts).sum())
    return weights * counts.sum() / total if total > 0 else np.ones(len(counts))
