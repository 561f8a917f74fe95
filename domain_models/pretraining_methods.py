"""Self-supervised objectives: what a network can learn from images that nobody has labelled.

Each is a module with the parameters that it needs beside the network's, and one line in `METHODS`. Momentum contrast
would keep its slow network and its queue as buffers and move them in :meth:`Objective.after_step`; masked autoencoding
would ask for one view and hide parts of it in :meth:`Objective.forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from domain_models.backbones import Classifier
from domain_models.pretraining_config import PretrainingConfig, PretrainingKind


class Objective(nn.Module):
    """What is made small. Parameters and buffers are part of the checkpoints, and thrown away in the end.

    Attributes:
        views: how many versions of each image it wants.
    """

    views: int

    def forward(self, network: Classifier, views: Sequence[Tensor]) -> Tensor:
        """The loss of a batch.

        Args:
            network: learns.
            views: for each version float32 [b, 3, h, w], in the same order of images.
        """
        raise NotImplementedError

    def after_step(self, network: Classifier) -> None:
        """Called after each step of the optimiser."""


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding an image's other view among all other views of the batch (SimCLR, eq. 1).

    Chen et al.: A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020.

    Args:
        first: float [b, d], of one version of each image; any length.
        second: float [b, d], of another version of the same images.
        temperature: divides the cosines.

    Returns:
        The mean over all ``2 b`` views, in nats.
    """
    count = len(first)
    both = nn.functional.normalize(torch.cat([first, second]), dim=1)
    likeness = both @ both.T / temperature  # [2b, 2b]
    itself = torch.eye(2 * count, dtype=torch.bool, device=both.device)
    partner = torch.arange(2 * count, device=both.device).roll(count)
    return nn.functional.cross_entropy(likeness.masked_fill(itself, -torch.inf), partner)


class SimClr(Objective):
    """Two views of an image are to lie close to each other and far from all others, behind a small network of its own.

    Args:
        width: of the features.
        projection: numbers in which views are compared.
        temperature: see :func:`nt_xent`.
    """

    views = 2

    def __init__(self, width: int, projection: int, temperature: float) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection))
        self.temperature = temperature

    def forward(self, network: Classifier, views: Sequence[Tensor]) -> Tensor:
        """See :class:`Objective`."""
        first, second = self.head(network.embed(torch.cat(list(views)))).float().chunk(2)
        with torch.autocast(first.device.type, enabled=False):  # 8 bits are too few to tell likenesses apart
            return nt_xent(first, second, self.temperature)


def _simclr(config: PretrainingConfig, network: Classifier) -> Objective:
    return SimClr(network.classifier.in_features, config.projection, config.temperature)


METHODS: dict[PretrainingKind, Callable[[PretrainingConfig, Classifier], Objective]] = {
    PretrainingKind.SIMCLR: _simclr,
}
"""How each objective is made for a network."""
