"""Losses: each maps logits and (possibly mixed) targets to one value per image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from domain_models.heads import COSINE_SCALE
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


def ldam(logits: Tensor, targets: Tensor, margins: Tensor, scale: float) -> Tensor:
    """Cross-entropy where the true class has to win by a margin (LDAM, Cao et al., NeurIPS 2019, eq. 10-13).

    Args:
        logits: float [n, k]; ``scale`` times the cosines between features and classes.
        targets: float [n, k].
        margins: float [k], as cosines; see :func:`ldam_margins`.
        scale: of the logits.
    """
    return cross_entropy(logits - scale * margins * _true_class(targets), targets)


def ldam_margins(counts: Tensor, largest: float) -> Tensor:
    """float32 [k] in proportion to ``n_k ** -1/4``, with ``largest`` for the rarest class."""
    margins = counts.float().clamp_min(1.0) ** -0.25
    return margins * (largest / margins.max())


def arcface(logits: Tensor, targets: Tensor, margin: float, scale: float) -> Tensor:
    """Cross-entropy where the angle to the true class counts as ``margin`` wider (Deng et al., CVPR 2019, eq. 3).

    Where angle and margin add up to more than pi the cosine would rise again; it goes on falling in a straight line.

    Args:
        logits: float [n, k]; ``scale`` times the cosines between features and classes.
        targets: float [n, k].
        margin: radians.
        scale: of the logits.
    """
    cosine = (logits / scale).clamp(-1.0 + 1e-6, 1.0 - 1e-6)
    wider = torch.cos(torch.acos(cosine) + margin)
    turn = -math.cos(margin)  # the cosine of pi - margin
    beyond = cosine - math.sin(margin) * margin
    moved = torch.where(cosine > turn, wider, beyond)
    true = _true_class(targets)
    return cross_entropy(scale * (true * moved + (1.0 - true) * cosine), targets)


def hierarchical(logits: Tensor, targets: Tensor, levels: Sequence[Tensor], discount: float) -> Tensor:
    """Cross-entropy along the path from the coarsest level to the class (Bertinetto et al., CVPR 2020, eq. 3-5).

    The step from one level to the next is the log-probability of the true group given the one above it; a step weighs
    ``exp(-discount)`` times the step above. Without a discount the steps add up to plain cross-entropy.

    Args:
        logits: float [n, k].
        targets: float [n, k].
        levels: int64 [k] each, the group of each class, coarsest first; see :mod:`domain_models.hierarchy`.
        discount: 0 or more.
    """
    log_p = torch.log_softmax(logits, dim=1)
    known, weight = torch.zeros_like(log_p), 1.0
    path = torch.zeros_like(log_p)
    for groups in levels:
        outside = groups[:, None] != groups[None, :]
        reached = log_p[:, None, :].masked_fill(outside, -math.inf).logsumexp(dim=2)
        path = path + weight * (reached - known)
        known, weight = reached, weight * math.exp(-discount)
    return -(targets * (path + weight * (log_p - known))).sum(dim=1)


def _true_class(targets: Tensor) -> Tensor:
    """1 for the class with the largest target, 0 for all others: float [n, k]."""
    return torch.nn.functional.one_hot(targets.argmax(dim=1), targets.shape[1]).to(targets.dtype)


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


def _make_logit_adjusted(config: TrainingConfig, counts: Tensor) -> Loss:
    log_shares = config.adjustment * (counts.float().clamp_min(1.0) / counts.sum().clamp_min(1)).log()
    return lambda logits, targets: cross_entropy(logits + log_shares.to(logits.device), targets)


def _make_ldam(config: TrainingConfig, counts: Tensor) -> Loss:
    margins = ldam_margins(counts, config.margin)
    return lambda logits, targets: ldam(logits, targets, margins.to(logits.device), COSINE_SCALE)


def _make_arcface(config: TrainingConfig, _counts: Tensor) -> Loss:
    return lambda logits, targets: arcface(logits, targets, config.margin, COSINE_SCALE)


def _make_hierarchical(config: TrainingConfig, _counts: Tensor) -> Loss:
    levels = [torch.tensor(level) for level in config.levels]
    return lambda logits, targets: hierarchical(
        logits, targets, [level.to(logits.device) for level in levels], config.level_discount
    )


LOSSES: dict[LossKind, Callable[[TrainingConfig, Tensor], Loss]] = {
    LossKind.CROSS_ENTROPY: _make_cross_entropy,
    LossKind.FOCAL: _make_focal,
    LossKind.BALANCED_SOFTMAX: _make_balanced_softmax,
    LossKind.LOGIT_ADJUSTED: _make_logit_adjusted,
    LossKind.LDAM: _make_ldam,
    LossKind.ARCFACE: _make_arcface,
    LossKind.HIERARCHICAL: _make_hierarchical,
}
"""How each loss is made from the configuration and the training counts int64 [k]."""
