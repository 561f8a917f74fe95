"""Losses: each maps logits and (possibly mixed) targets to one value per image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from domain_models.training_config import LossKind, TrainingConfig

Loss = Callable[[Tensor, Tensor], Tensor]
"""logits float [n, k] and target probabilities float [n, k] to a loss per image float [n]."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """``-sum_k t_k log p_k``."""
    return -(targets * torch.log_softmax(logits, dim=1)).sum(dim=1)


def focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """``-sum_k t_k (1 - p_k)^gamma log p_k``: easy images count less (Lin et al., ICCV 2017)."""
    log_p = torch.log_softmax(logits, dim=1)
    return -(targets * (1.0 - log_p.exp()).clamp_min(0.0) ** gamma * log_p).sum(dim=1)


def balanced_softmax(logits: Tensor, targets: Tensor, log_counts: Tensor) -> Tensor:
    """Cross-entropy of ``logits + log(class counts)`` (Ren et al., NeurIPS 2020).

    The shift explains the imbalance, so the logits themselves predict as if the classes were equally frequent.
    """
    return cross_entropy(logits + log_counts, targets)


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """int64 [n] to float32 [n, k]: ``1 - smoothing`` on the label, ``smoothing`` spread over all classes."""
    one_hot = torch.nn.functional.one_hot(labels, classes).float()
    return one_hot * (1.0 - smoothing) + smoothing / classes


def _make_cross_entropy(_config: TrainingConfig, _counts: Tensor) -> Loss:
    return cross_entropy


def _make_focal(config: TrainingConfig, _counts: Tensor) -> Loss:
    return lambda logits, targets: focal(logits, targets, config.focal_gamma)


def _make_balanced_softmax(_config: TrainingConfig, counts: Tensor) -> Loss:
    # A class without training images keeps its logit where it is relative to a class with one.
    log_counts = counts.float().clamp_min(1.0).log()
    return lambda logits, targets: balanced_softmax(logits, targets, log_counts.to(logits.device))


LOSSES: dict[LossKind, Callable[[TrainingConfig, Tensor], Loss]] = {
    LossKind.CROSS_ENTROPY: _make_cross_entropy,
    LossKind.FOCAL: _make_focal,
    LossKind.BALANCED_SOFTMAX: _make_balanced_softmax,
}
"""How each loss is made from the configuration and the training counts int64 [k]."""
