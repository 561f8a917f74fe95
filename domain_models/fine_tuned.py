"""What the epoch loop is given besides images, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Validation = Callable[[], tuple[NDArray[np.float32], NDArray[np.int64]]]
"""Logits float32 [n, k] and labels int64 [n] of the validation images, by the network as it stands."""

Memory = Callable[[Tensor, NDArray[np.int64]], Tensor]
"""What is added to the loss of each image so that the network remembers: logits float32 [b, k] and the positions int64
[b] of the images to float32 [b]; see :mod:`domain_models.distillation`."""

AfterEpoch = Callable[[Mapping[str, float]], None]
"""Told of an epoch when it has ended: its row of the history."""


@dataclass(frozen=True)
class FineTuned:
    """What the loop did: one history row per epoch, the best epoch (the last without validation), its validation
    macro-F1, and seconds."""

    history: list[dict[str, float]]
    best_epoch: int
    best_score: float
    seconds: float
