"""What the frozen stages make of the images, kept: training, features and logits then only run the stages behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_contracts.progress import SILENT, Progress
from domain_models.backbones import Classifier
from domain_models.batches import AugmentedImages, CachedViews, JoinedBatches, compute_views
from domain_models.frozen_part import FrozenPart
from domain_models.inference import map_batches
from domain_models.stage_split import freeze_stages, splits_exactly, suffix_of
from domain_models.training_config import TrainingConfig
from domain_models.training_data import TrainingData

_BATCH = 64


@dataclass(frozen=True)
class Views:
    """Cached outputs of the frozen stages: several views of the training images, the validation images as they are.

    Positions count the training images first and then the validation images.

    Attributes:
        train: views of the training images.
        val: view 0 of the validation images.
        train_count: how many training images there are.
        frozen: paths of the frozen modules; see :func:`~domain_models.stage_split.freeze_stages`.
    """

    train: CachedViews
    val: CachedViews
    train_count: int
    frozen: Sequence[str]

    @property
    def joined(self) -> JoinedBatches:
        """Training and validation images as one source of batches."""
        return JoinedBatches(self.train, self.train_count, self.val)

    def logits(
        self, network: Classifier, positions: NDArray[np.int64], device: str, progress: Progress = SILENT
    ) -> NDArray[np.float32]:
        """Logits float32 [n, k] of images as they are, by the network as it stands."""
        suffix = self._suffix(network)
        return self._apply(suffix, positions, device, progress, "Predicting")

    def features(
        self, network: Classifier, positions: NDArray[np.int64], device: str, progress: Progress = SILENT
    ) -> NDArray[np.float32]:
        """What the classifier sees of images as they are, float32 [n, d]."""
        suffix = self._suffix(network)
        return self._apply(suffix.embed, positions, device, progress, "Extracting features")

    def _suffix(self, network: Classifier) -> Classifier:
        # A fresh network comes in the default memory format, and the maps do not.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return suffix_of(network, list(self.frozen)).eval()

    def _apply(
        self,
        function: Callable[[Tensor], Tensor],
        positions: NDArray[np.int64],
        device: str,
        progress: Progress,
        what: str,
    ) -> NDArray[np.float32]:
        def numbers(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return function(self._plain(positions[rows]).to(device)).float().cpu().numpy()

        with progress.step(what, total=len(positions)) as step:
            return np.concatenate(
                list(map_batches(numbers, len(positions), batch_size=_BATCH, device=device, step=step))
            )

    def _plain(self, positions: NDArray[np.int64]) -> Tensor:
        early = positions < self.train_count
        if early.all():
            return self.train.plain(positions)
        if not early.any():
            return self.val.plain(positions - self.train_count)
        first, second = self.train.plain(positions[early]), self.val.plain(positions[~early] - self.train_count)
        out = torch.empty((len(positions), *first.shape[1:])).contiguous(memory_format=torch.channels_last)
        out[torch.from_numpy(early)], out[torch.from_numpy(~early)] = first, second
        return out


def views_of(
    network: Classifier,
    data: TrainingData,
    config: TrainingConfig,
    folder: Path,
    activations: Path | None,
    progress: Progress,
) -> Views | None:
    """What the frozen stages make of all images, or ``None`` where the network cannot be cut behind them.

    Args:
        network: whose frozen stages.
        data: training and validation images.
        config: which stages, how many views.
        folder: of the run; views that are there already are used.
        activations: cache that maps of images as they are go into as well, for incremental trainings; ``None``: none.
        progress: told of each image.
    """
    frozen = freeze_stages(network, config.frozen_stages)
    network.to(device=config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    source = AugmentedImages(data.val.images, data.val.image_ids, config)
    example = source.inputs(np.arange(min(2, len(data.val))), 0).to(config.device)
    if not splits_exactly(network, frozen, example, config.frozen_stages):
        return None
    views = Views(
        compute_views(folder / "train.views", network, data.train, config, config.cached_views, progress),
        compute_views(folder / "val.views", network, data.val, config, 1, progress),
        len(data.train),
        frozen,
    )
    if activations is not None:
        part = FrozenPart(network, config.frozen_stages, config.preprocessing)
        for images, computed in ((data.train, views.train), (data.val, views.val)):
            part.keep(images.image_ids, computed.plain, activations)
    return views
