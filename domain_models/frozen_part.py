"""The part of a champion that an incremental training leaves alone, and what it makes of images: computed once, kept.

Either the first stages, so that the last one still learns, or the whole backbone, so that only the classifier does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_contracts.progress import SILENT, Progress
from domain_models.activation_cache import cached_maps
from domain_models.backbones import Classifier
from domain_models.batches import AugmentedImages
from domain_models.inference import map_batches
from domain_models.preprocessing import Preprocessing
from domain_models.stage_split import freeze_stages, prefix_of, suffix_of
from domain_models.training_config import TrainingConfig
from domain_models.training_data import LabelledImages

FORMAT = 1
"""Rises when the same weights would make other maps, so that old ones are not taken for new ones."""

_BATCH = 64


def frozen_key(network: Classifier, stages: int, frozen: Sequence[str], spec: Preprocessing) -> str:
    """32 hex digits of everything that decides the maps: frozen weights, where they end, and preprocessing.

    Args:
        network: its weights as they are now.
        stages: how many are frozen; 0 is the whole backbone.
        frozen: their modules (:func:`~domain_models.stage_split.freeze_stages`).
        spec: how images are prepared.
    """
    layer = {id(parameter) for parameter in network.classifier.parameters()}
    classifier = {name for name, value in network.named_parameters() if id(value) in layer}
    own = {f"body.{path}." for path in frozen}
    digest = hashlib.sha256(json.dumps([FORMAT, stages, spec.model_dump(mode="json")]).encode())
    digest.update(network.architecture.model_dump_json(exclude={"classes"}).encode())
    for name, value in sorted(network.state_dict().items()):
        inside = any(name.startswith(path) for path in own) if stages else name not in classifier
        if inside:
            digest.update(f"{name}{list(value.shape)}".encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


class FrozenPart:
    """The frozen part of one network.

    Args:
        network: whose parameters in the frozen part stop learning.
        stages: how many stages are frozen; 0 is the whole backbone.
        spec: how images are prepared.
    """

    def __init__(self, network: Classifier, stages: int, spec: Preprocessing) -> None:
        self.network, self.stages = network, stages
        self.frozen = freeze_stages(network, stages)
        if stages == 0:
            learning = {id(parameter) for parameter in network.classifier.parameters()}
            for parameter in network.parameters():
                parameter.requires_grad_(id(parameter) in learning)
        self.key = frozen_key(network, stages, self.frozen, spec)

    def activations(
        self,
        images: LabelledImages,
        views: NDArray[np.int64],
        config: TrainingConfig,
        folder: Path,
        progress: Progress = SILENT,
    ) -> Activations:
        """What the frozen part makes of images, from the cache as far as it is there.

        Args:
            images: n images.
            views: int64 [n]; how many versions of each: the first is the image as it is, the others are augmented. An
                image with 0 is not asked for.
            config: for augmentation, seed and device.
            folder: of the cache; holds one folder for each frozen part.
            progress: told of each map computed.
        """
        source = AugmentedImages(images.images, images.image_ids, config)
        settings = json.dumps([config.augmentation.model_dump(mode="json"), config.augment, config.seed])
        mark = hashlib.sha256(settings.encode()).hexdigest()[:12]
        most = int(views.max(initial=1))
        pairs = [(i, view) for view in range(most) for i in np.flatnonzero(views > view)]
        names = [images.image_ids[i] + (f"~{mark}-{view}" if view else "") for i, view in pairs]
        places, numbers = (np.asarray([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
        self.network.to(device=config.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        with _maps_of(self.network, self.stages) as maps_of:

            def compute(positions: NDArray[np.int64]) -> NDArray[np.float16]:
                inputs = torch.cat(
                    [
                        source.inputs(places[positions[numbers[positions] == view]], int(view))
                        for view in np.unique(numbers[positions])
                    ]
                )
                with torch.inference_mode():
                    maps = maps_of(inputs.to(config.device)).clamp(-65504, 65504).half().cpu().numpy()
                # the parts above are in order of view, as the positions are
                return np.asarray(maps)

            shape = compute(np.zeros(1, dtype=np.int64)).shape[1:]
            found = cached_maps(folder / self.key, names, shape, compute, device=config.device, progress=progress)
        table = np.full((len(images), most), -1, dtype=np.int64)
        table[places, numbers] = found.rows
        return Activations(found.array, table, views, found.computed)

    def keep(self, image_ids: Sequence[str], maps: Callable[[NDArray[np.int64]], Tensor], folder: Path) -> None:
        """Put into the cache what this part made of images as they are, where it was computed for something else.

        Args:
            image_ids: n ids.
            maps: positions int64 [b] to maps [b, ...]; called from several threads.
            folder: of the cache.
        """
        shape = tuple(maps(np.zeros(1, dtype=np.int64)).shape[1:])
        cached_maps(folder / self.key, image_ids, shape, lambda positions: maps(positions).half().cpu().numpy())

    def features(
        self, activations: Activations, positions: NDArray[np.int64], device: str = "cpu"
    ) -> NDArray[np.float32]:
        """What the classifier sees of images as they are, by the network as it stands: float32 [n, d]."""
        if self.stages == 0:
            return activations.plain(positions).numpy()
        embed = suffix_of(self.network, self.frozen).eval().embed

        def numbers(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return embed(activations.plain(positions[rows]).to(device)).float().cpu().numpy()

        with SILENT.step("Stages behind the frozen part") as step:
            parts = map_batches(numbers, len(positions), batch_size=_BATCH, device=device, step=step)
            return np.concatenate(list(parts))


class Activations:
    """Kept activation maps of some images, each with one or more views; a source of batches for fine-tuning.

    Args:
        maps: float16 [rows, ...].
        rows: int64 [n, v]; row of each view of each image, -1 where it has fewer.
        views: int64 [n]; how many it has; an image goes through them in order, and begins again. Images without any
            cannot be asked for.
        computed: how many maps were computed for this, and not found in the cache.
    """

    def __init__(
        self,
        maps: NDArray[np.float16],
        rows: NDArray[np.int64],
        views: NDArray[np.int64],
        computed: int,
    ) -> None:
        self._maps, self._rows, self._views = maps, rows, views
        self.wanted, self.computed = int(views.sum()), computed

    def inputs(self, positions: NDArray[np.int64], epoch: int) -> Tensor:
        """See :class:`~domain_models.batches.Batches`. The first epoch sees images as they are."""
        chosen = (epoch - 1) % self._views[positions]
        return self._tensor(self._rows[positions, chosen])

    def plain(self, positions: NDArray[np.int64]) -> Tensor:
        """The images as they are: float32 [n, ...]."""
        return self._tensor(self._rows[positions, 0])

    def _tensor(self, rows: NDArray[np.int64]) -> Tensor:
        maps = torch.from_numpy(self._maps[rows].astype(np.float32))
        return maps.contiguous(memory_format=torch.channels_last) if maps.ndim == 4 else maps


class ViewsOnceNeeded:
    """Training images as they are in the first epoch; their augmented views are computed if there is a second."""

    def __init__(self, plain: Activations, views: Callable[[], Activations]) -> None:
        self._plain, self._views = plain, functools.cache(views)

    def inputs(self, positions: NDArray[np.int64], epoch: int) -> Tensor:
        """See :class:`~domain_models.batches.Batches`."""
        return (self._plain if epoch == 1 else self._views()).inputs(positions, epoch)


@contextlib.contextmanager
def _maps_of(network: Classifier, stages: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """The frozen part as a function of normalised images."""
    if stages == 0:
        yield network.embed
        return
    with prefix_of(network, stages) as prefix:
        yield prefix
