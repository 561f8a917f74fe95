"""Where the fine-tuning loop gets its inputs: augmented images, or cached views of frozen stages."""

from __future__ import annotations

import functools
import math
import os
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_contracts.disk_space import reserve
from data_contracts.progress import Progress
from domain_models.augmentation import augmented, build_policy, image_seed
from domain_models.backbones import Classifier
from domain_models.inference import ImageRows, map_batches
from domain_models.preprocessing import to_tensor
from domain_models.stage_split import prefix_of
from domain_models.training_config import TrainingConfig
from domain_models.training_data import LabelledImages


class Batches(Protocol):
    """Inputs for training positions in an epoch."""

    def inputs(self, positions: NDArray[np.int64], epoch: int) -> Tensor:
        """Float32 [b, c, h, w] for the images at these positions, as they look in this epoch."""


class AugmentedImages:
    """Images augmented as they are needed, normalised."""

    def __init__(self, images: ImageRows, image_ids: tuple[str, ...], config: TrainingConfig) -> None:
        self.images, self.image_ids, self._config = images, image_ids, config
        self._thread = threading.local()  # a policy holds its random state, so each thread has its own

    def inputs(self, positions: NDArray[np.int64], epoch: int) -> Tensor:
        """See :class:`Batches`. Epoch 0 is the image as it is."""
        batch = self.images[positions]
        if self._config.augment and epoch > 0:
            batch = augmented(self._policy(), batch, [self.image_ids[i] for i in positions], self._config.seed, epoch)
        return to_tensor(batch, self._config.preprocessing)

    def _policy(self) -> Any:
        if not hasattr(self._thread, "policy"):
            settings, channels = self._config.augmentation, self._config.preprocessing.channels
            self._thread.policy = build_policy(settings, channels)
        return self._thread.policy


class CachedViews:
    """What the frozen stages make of several augmented views of each image, computed once.

    Args:
        views: float16 [v, n, c, h, w]; view 0 is the image as it is.
        image_ids: n ids; an image goes through its views in its own order.
        seed: of the training.
    """

    def __init__(self, views: NDArray[np.float16], image_ids: tuple[str, ...], seed: int) -> None:
        self.views, self.image_ids = views, image_ids
        starts = [image_seed(image_id, seed, 0) % max(1, len(views)) for image_id in image_ids]
        self._starts = np.asarray(starts, dtype=np.int64)

    def inputs(self, positions: NDArray[np.int64], epoch: int) -> Tensor:
        """See :class:`Batches`."""
        chosen = (self._starts[positions] + epoch) % len(self.views)
        maps = self.views[chosen, positions].astype(np.float32)
        return torch.from_numpy(maps).contiguous(memory_format=torch.channels_last)

    def plain(self, positions: NDArray[np.int64]) -> Tensor:
        """The images as they are, for evaluation."""
        maps = self.views[0][positions].astype(np.float32)
        return torch.from_numpy(maps).contiguous(memory_format=torch.channels_last)


class JoinedBatches:
    """Two sources one after another: positions below ``first_count`` are of the first."""

    def __init__(self, first: Batches, first_count: int, second: Batches) -> None:
        self.first, self.first_count, self.second = first, first_count, second

    def inputs(self, positions: NDArray[np.int64], epoch: int) -> Tensor:
        """See :class:`Batches`."""
        early = positions < self.first_count
        if early.all():
            return self.first.inputs(positions, epoch)
        if not early.any():
            return self.second.inputs(positions - self.first_count, epoch)
        first = self.first.inputs(positions[early], epoch)
        second = self.second.inputs(positions[~early] - self.first_count, epoch)
        out = torch.empty((len(positions), *first.shape[1:])).contiguous(memory_format=torch.channels_last)
        out[torch.from_numpy(early)], out[torch.from_numpy(~early)] = first, second
        return out


def compute_views(
    path: Path, network: Classifier, data: LabelledImages, config: TrainingConfig, views: int, progress: Progress
) -> CachedViews:
    """Run the frozen stages over ``views`` versions of each image, or map what an earlier run finished.

    The file has its final name only once it is whole.
    """
    source = AugmentedImages(data.images, data.image_ids, config)
    network.to(device=config.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    with prefix_of(network, config.frozen_stages) as prefix:

        def maps_of(positions: NDArray[np.int64], view: int) -> NDArray[np.float16]:
            with torch.inference_mode():
                maps = prefix(source.inputs(positions, view).to(config.device))
                return maps.clamp(-65504, 65504).half().cpu().numpy()

        shape = (views, len(data), *maps_of(np.arange(1), 0).shape[1:])
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                with temporary.open("wb") as file:
                    reserve(file, np.dtype(np.float16).itemsize * math.prod(shape))
                out = np.memmap(temporary, dtype=np.float16, mode="r+", shape=shape)
                with progress.step("Views through the frozen stages", total=views * len(data)) as step:
                    for view in range(views):
                        start = 0
                        for part in map_batches(
                            functools.partial(maps_of, view=view),
                            len(data),
                            batch_size=32,
                            device=config.device,
                            step=step,
                        ):
                            out[view, start : start + len(part)] = part
                            start += len(part)
                out.flush()
                del out
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    return CachedViews(np.memmap(path, dtype=np.float16, mode="r", shape=shape), data.image_ids, config.seed)
