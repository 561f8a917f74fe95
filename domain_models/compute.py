"""What every runtime is reduced to: a function from prepared pixels to logits, and how it shares the cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Compute = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 [n, H, W, C] prepared pixels to float32 [n, k] logits (before the temperature), which are the caller's own;
threads may call it at once."""


@dataclass(frozen=True)
class Threads:
    """How cores are shared: ``at_once`` batches are computed side by side, by ``cores`` threads in all.

    One batch at a time on all cores answers soonest; as many as there are cores is most in a second.
    """

    cores: int
    at_once: int = 1

    @property
    def of_each(self) -> int:
        """Threads that one batch has."""
        return max(1, self.cores // self.at_once)


class TwoSteps:
    """Computes all images in one way, and those in doubt again in another; a :data:`Compute` itself.

    Args:
        first: quick.
        second: what is asked about images in doubt; its logits mean the same as those of ``first``.
        doubtful: from logits float32 [n, k] of ``first`` to bool [n].
    """

    def __init__(self, first: Compute, second: Compute, doubtful: Callable[[NDArray[np.float32]], NDArray[np.bool_]]):
        self._first = first
        self._second = second
        self._doubtful = doubtful

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits float32 [n, k] of uint8 [n, H, W, C]."""
        return self.answers(batch)[0]

    def answers(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Logits float32 [n, k] of uint8 [n, H, W, C], and which of them the first step alone gave, bool [n]."""
        logits = self._first(batch)
        doubtful = self._doubtful(logits)
        asked = np.flatnonzero(doubtful)
        if len(asked):
            logits[asked] = self._second(np.ascontiguousarray(batch[asked]))
        return logits, ~doubtful
