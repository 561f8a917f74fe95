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
