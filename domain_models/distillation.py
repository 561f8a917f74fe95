"""Remembering: on images whose label did not change, the new network is held to what the champion says of them.

Li and Hoiem: Learning without Forgetting, ECCV 2016.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domain_models.fine_tuning import Memory

TEMPERATURE = 2.0
"""Softens both distributions, so that what the champion says of the less probable classes counts too."""

SHARE = 1.0
"""Weight of the memory against the loss on the label."""


def remember(
    champion_logits: NDArray[np.float32],
    known: NDArray[np.bool_],
    columns: NDArray[np.int64],
    *,
    temperature: float = TEMPERATURE,
    share: float = SHARE,
) -> Memory:
    """A loss that grows as the network leaves what the champion says of images that it has learned rightly.

    The Kullback-Leibler divergence between the two softened distributions over the champion's classes; a class that
    the champion does not know is left out of it and free to take its place.

    Args:
        champion_logits: float32 [n, old k] of the training images.
        known: bool [n]; only these images remember (a corrected label must be able to change the network's mind).
        columns: int64 [old k]; where the champion's classes are among the network's.
        temperature: divides the logits of both.
        share: factor of the loss.
    """
    soft = torch.log_softmax(torch.from_numpy(champion_logits) / temperature, dim=1)
    factors = torch.from_numpy(known.astype(np.float32)) * (share * temperature**2)
    places = torch.from_numpy(columns)

    def memory(logits: Tensor, positions: NDArray[np.int64]) -> Tensor:
        rows = torch.from_numpy(positions)
        target = soft[rows].to(logits.device)
        own = torch.log_softmax(logits[:, places.to(logits.device)] / temperature, dim=1)
        return factors[rows].to(logits.device) * (target.exp() * (target - own)).sum(dim=1)

    return memory
