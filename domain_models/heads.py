"""What the last layer of a network compares: features as they are, or only their direction."""

from __future__ import annotations

import torch
from torch import Tensor

COSINE_SCALE = 30.0
"""Length of every feature vector before a cosine classifier (Wang et al., CosFace, CVPR 2018, use 30 to 64): logits are
this many times a cosine."""


def of_one_length(features: Tensor) -> Tensor:
    """float [n, d] to vectors of length ``COSINE_SCALE``."""
    return COSINE_SCALE * torch.nn.functional.normalize(features, dim=1)


def to_unit_rows(layer: torch.nn.Linear) -> None:
    """Give each class's weights length 1 and no bias, in place; rows of zeros stay."""
    with torch.no_grad():
        layer.weight.copy_(torch.nn.functional.normalize(layer.weight, dim=1))
        if layer.bias is not None:
            layer.bias.zero_()
