"""Processes that train one network together, as the training loop sees them. One process alone is a team as well.

Every process draws the same order of images from (seed, epoch) and takes its share of each batch, so together they see
what one process would see.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from domain_models.backbones import Classifier


class Team:
    """One process alone; the others are in :mod:`~domain_models.team_processes`."""

    rank = 0
    size = 1

    @property
    def sentence(self) -> str:
        """How a network was trained, where that is worth a word."""
        return ""

    def share(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of the positions int64 [b] of a batch; the parts of all are the batch, each once."""
        return np.array_split(positions, self.size)[self.rank]

    def total(self, value: Tensor) -> Tensor:
        """The sum over all processes; every process must ask for it at the same time."""
        return value

    def prepared(self, part: Classifier) -> Classifier:
        """What learns, as this team can train it; shares all parameters and statistics with ``part``."""
        return part

    def joined(self, part: nn.Module) -> nn.Module:
        """``part`` with gradients averaged over all processes; the followers' weights become the lead's."""
        return part

    @contextlib.contextmanager
    def leading(self, describe: Callable[[Path], Path]) -> Iterator[None]:  # noqa: ARG002
        """One fine-tuning; see :meth:`~domain_models.team_processes.Lead.leading`."""
        yield

    @contextlib.contextmanager
    def epoch(self) -> Iterator[None]:
        """One epoch; see :meth:`~domain_models.team_processes.Lead.epoch`."""
        yield


ALONE = Team()
