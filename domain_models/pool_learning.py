"""Learning from images without a label: FixMatch (Sohn et al., NeurIPS 2020) with distribution alignment.

A network says what it sees in a weakly changed image (flipped, shifted). Where it is sure, a strongly changed version
of the same image is learned under that label.

On a long tail, what a network says of unlabelled images names the rare classes even more rarely than they occur, and
learning from it would make them rarer still. So what it says is divided by what it says on average and multiplied by
how often the classes occur among the labels (distribution alignment, Berthelot et al., ReMixMatch, ICLR 2020), before
anything is asked about how sure it is. Where the rare classes are rarer among the labels than in the pool, a power
below 1 of these shares leans towards them (Wei et al., CReST, CVPR 2021).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from domain_models.augmentation import strong_settings, weak_settings
from domain_models.backbones import Classifier
from domain_models.batches import AugmentedImages
from domain_models.losses import cross_entropy
from domain_models.number_formats import autocast
from domain_models.stage_split import prefix_of
from domain_models.training_config import TrainingConfig
from domain_models.training_data import UnlabelledImages
from domain_models.training_phases import loss_prior

WINDOW = 128
"""Batches over which is averaged what the network says (as in ReMixMatch)."""

_LEAST = 1e-6


def target_shares(labels: NDArray[np.int64], weights: NDArray[np.float64], classes: int, power: float) -> Tensor:
    """How often each class is believed to occur in the pool, float32 [k], summing to 1.

    Args:
        labels: int64 [n] of the training images.
        weights: float64 [n]; images with 0 do not count.
        classes: k; one that no label names is believed to occur never, whatever the power.
        power: of the shares among the labels.
    """
    counts = np.bincount(labels[weights > 0], minlength=classes).astype(np.float64)
    shares = np.where(counts > 0, (counts / counts.sum()) ** power, 0.0)
    return torch.from_numpy(shares / shares.sum()).float()


def aligned(probabilities: Tensor, average: Tensor, target: Tensor) -> Tensor:
    """``p * target / average``, made to sum to 1 again (ReMixMatch, section 3.1).

    Args:
        probabilities: float [b, k].
        average: float [k], what the network says on average.
        target: float [k].
    """
    moved = probabilities * (target / average.clamp_min(_LEAST))
    return moved / moved.sum(dim=1, keepdim=True).clamp_min(_LEAST)


class PoolLearner:
    """What the pool adds to the loss of each batch. Its state is part of the training's checkpoints.

    Which images an epoch sees, and how each looks, follows from (seed, epoch, image). An image comes at most once in an
    epoch, so a small pool counts as many images as it has, and no more.

    Args:
        pool: images without a label.
        labels: int64 [n] of the training images.
        weights: float64 [n].
        classes: k.
        config: of the training.
        inputs_are_maps: the network that learns begins behind the frozen stages.
    """

    def __init__(
        self,
        pool: UnlabelledImages,
        labels: NDArray[np.int64],
        weights: NDArray[np.float64],
        classes: int,
        config: TrainingConfig,
        *,
        inputs_are_maps: bool,
    ) -> None:
        settings = config.pool
        self._config, self._settings, self._count = config, settings, len(pool)
        self._stages = config.frozen_stages if inputs_are_maps else 0
        self._weak, self._strong = (
            AugmentedImages(pool.images, pool.image_ids, config.model_copy(update={"augmentation": changes}))
            for changes in (weak_settings(config.augmentation), strong_settings(config.augmentation, settings.strength))
        )
        self._target = target_shares(labels, weights, classes, settings.prior_power)
        prior = loss_prior(config, labels, weights, classes)
        self._prior = torch.zeros(classes) if prior is None else torch.from_numpy(prior).float()
        self._recent = torch.zeros((0, classes))
        self._parts: list[NDArray[np.int64]] = []
        self._epoch = 0
        self._sure = self._seen = 0
        self._losses: list[float] = []
        self._wanted: tuple[Tensor, Tensor] | None = None

    def begin(self, epoch: int, images: int, batches: int) -> None:
        """Deal the pool's images to the batches of an epoch.

        Args:
            epoch: the first is 1.
            images: labelled images in the epoch.
            batches: how many there are.
        """
        chance = np.random.default_rng([self._config.seed, epoch, 1])  # the labelled images have [seed, epoch]
        order = chance.permutation(self._count)[: self._settings.ratio * images]
        self._parts, self._epoch = np.array_split(order, batches), epoch
        self._sure = self._seen = 0
        self._losses = []

    def inputs(self, network: Classifier, learning: nn.Module, number: int) -> Tensor:
        """The strongly changed images of a batch; what they are to be learned as is noted for :meth:`loss`.

        Args:
            network: the whole network, in training mode.
            learning: the part of it that learns.
            number: of the batch in the epoch.

        Returns:
            float32 [u, c, h, w]: images, or what the frozen stages make of them; u may be 0.
        """
        positions, device = self._parts[number], self._config.device
        weak = self._seen_by(network, self._weak.inputs(positions, 2 * self._epoch).to(device))
        strong = self._seen_by(network, self._strong.inputs(positions, 2 * self._epoch + 1).to(device))
        with _evaluating(learning), torch.no_grad(), autocast(self._config):
            logits = learning(weak) if len(weak) else weak.new_zeros((0, len(self._target)))
        self._wanted = self.pseudo_labels(torch.softmax(logits.float() + self._prior.to(device), dim=1))
        return strong

    def pseudo_labels(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """What is said of weak views, float [b, k], to labels int64 [b] and whether each is sure enough, bool [b]."""
        settings = self._settings
        if settings.alignment and len(probabilities):
            mean = probabilities.mean(dim=0, keepdim=True).cpu()
            self._recent = torch.cat([self._recent, mean])[-WINDOW:]
            average, target = (shares.to(probabilities.device) for shares in (self._recent.mean(dim=0), self._target))
            probabilities = aligned(probabilities, average, target)
        sure, labels = probabilities.max(dim=1)
        return labels, sure >= settings.threshold

    def loss(self, logits: Tensor, labelled: int) -> Tensor:
        """What is added to the batch's loss: cross-entropy of the sure images over all that could have been.

        Args:
            logits: float32 [u, k] of the strongly changed images.
            labelled: images with a label in the batch; ``ratio`` times as many is what the sum is divided by.
        """
        assert self._wanted is not None
        labels, sure = self._wanted
        targets = nn.functional.one_hot(labels, len(self._target)).to(logits.dtype)
        total = (cross_entropy(logits + self._prior.to(logits.device), targets) * sure).sum()
        loss = self._settings.weight * total / (self._settings.ratio * max(1, labelled))
        self._sure, self._seen = self._sure + int(sure.sum()), self._seen + len(sure)
        self._losses.append(float(loss.detach()))
        return loss

    def row(self) -> dict[str, float]:
        """The epoch in its row of the history: images seen, the share that was sure enough, the mean loss added."""
        return {
            "pool_images": float(self._seen),
            "pool_share_sure": self._sure / max(1, self._seen),
            "pool_loss": float(np.mean(self._losses)) if self._losses else 0.0,
        }

    def state(self) -> Tensor:
        """What a checkpoint keeps: the recent averages, float32 [w, k]."""
        return self._recent.clone()

    def restore(self, state: Tensor) -> None:
        """Go on from a checkpoint."""
        self._recent = state

    def _seen_by(self, network: Classifier, images: Tensor) -> Tensor:
        """What the learning part is given of images: themselves, or what the frozen stages make of them."""
        if not self._stages or not len(images):
            return images
        with prefix_of(network, self._stages) as prefix, torch.no_grad():
            return prefix(images)


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """The network without dropout and with its running statistics, so that what it says depends on no chance."""
    modes: dict[Any, bool] = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
