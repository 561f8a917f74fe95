"""MixUp and CutMix: training on blends of two images, with blended targets."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from domain_models.training_config import TrainingConfig


def mixup(inputs: Tensor, targets: Tensor, order: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """``share`` of each image plus ``1 - share`` of its partner (Zhang et al., ICLR 2018).

    Args:
        inputs: float [n, c, h, w]; images or feature maps.
        targets: float [n, k].
        order: int64 [n]; image i is blended with image ``order[i]``.
        share: 0..1.
    """
    blend = inputs * share + inputs[order] * (1.0 - share)
    return blend, targets * share + targets[order] * (1.0 - share)


def cutmix(
    inputs: Tensor, targets: Tensor, order: Tensor, share: float, centre: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """A rectangle of about ``1 - share`` of each image comes from its partner (Yun et al., ICCV 2019).

    ``centre`` is the rectangle's middle as shares of height and width. The targets follow the area really replaced, so
    a rectangle that the border cuts counts as what is left of it. Arguments else as in :func:`mixup`.
    """
    height, width = inputs.shape[-2:]
    half_height = height * (1.0 - share) ** 0.5 / 2.0
    half_width = width * (1.0 - share) ** 0.5 / 2.0
    top, bottom = (round(min(max(centre[0] * height + d, 0.0), height)) for d in (-half_height, half_height))
    left, right = (round(min(max(centre[1] * width + d, 0.0), width)) for d in (-half_width, half_width))
    mixed = inputs.clone()
    mixed[..., top:bottom, left:right] = inputs[order][..., top:bottom, left:right]
    kept = 1.0 - (bottom - top) * (right - left) / (height * width)
    return mixed, targets * kept + targets[order] * (1.0 - kept)


def mixed_batch(
    inputs: Tensor, targets: Tensor, config: TrainingConfig, chance: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The batch, mixed as the configuration says: MixUp, CutMix, either by a fair coin, or neither."""
    kinds = [
        (function, alpha)
        for function, alpha in ((mixup, config.mixup_alpha), (cutmix, config.cutmix_alpha))
        if alpha > 0
    ]
    if not kinds or chance.random() >= config.mix_probability:
        return inputs, targets
    function, alpha = kinds[int(chance.integers(len(kinds)))]
    share = float(chance.beta(alpha, alpha))
    order = torch.from_numpy(chance.permutation(len(inputs))).to(inputs.device)
    if function is cutmix:
        return cutmix(inputs, targets, order, share, (float(chance.random()), float(chance.random())))
    return mixup(inputs, targets, order, share)
