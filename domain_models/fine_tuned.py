"""What the epoch loop is given besides images, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from domain_models.linear_probe import validation_score

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

    def sentence(self, planned: int) -> str:
        """Which epoch was best, and whether ``planned`` ones were needed."""
        done = len(self.history)
        best = f"Epoch {self.best_epoch} of {done} was best on validation (macro-F1 {self.best_score:.3f})"
        return best + ("." if done == planned else f"; stopped early ({planned} were planned).")


def validation_row(phase: str, epoch: int, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, object]:
    """A row of a training's history from logits float32 [n, k] and labels int64 [n] of the validation images."""
    score, minus_loss = validation_score(logits, labels)
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    return {
        "phase": phase,
        "epoch": epoch,
        "val_loss": -minus_loss,
        "val_macro_f1": score,
        "val_accuracy": accuracy,
    }
