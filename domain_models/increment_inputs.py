"""What an incremental training computes of its images: features of all, maps of those that fine-tuning sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.progress import Progress
from domain_models.backbones import Classifier
from domain_models.frozen_part import Activations, FrozenPart
from domain_models.kept_features import KeptFeatures
from domain_models.training_config import TrainingConfig
from domain_models.training_data import TrainingData


class IncrementInputs:
    """Features and maps of the training images and then the validation images, from the cache as far as it has them.

    Args:
        network: with the champion's weights behind its frozen part.
        data: the images.
        tuned_on: bool [n_train]; the images that fine-tuning sees.
        config: where the frozen part ends, augmentation, device.
        cache: folder of the activations.
        progress: told of each map computed.

    Attributes:
        train_features, val_features: float32 [n, d], what the champion's classifier sees.
        maps: of the images that fine-tuning sees and of the validation images, as they are.
        wanted, computed: how many maps were used, and how many of them were not in the cache.
    """

    def __init__(
        self,
        network: Classifier,
        data: TrainingData,
        tuned_on: NDArray[np.bool_],
        config: TrainingConfig,
        cache: Path,
        progress: Progress,
    ) -> None:
        self._images, self._config, self._cache, self._progress = data.train.joined(data.val), config, cache, progress
        self.part = FrozenPart(network, config.frozen_stages, config.preprocessing)
        self.wanted = self.computed = 0
        everybody = np.arange(len(self._images), dtype=np.int64)
        self._val = everybody[len(data.train) :]
        self._views = np.ones(len(everybody), dtype=np.int64)
        if config.frozen_stages == 0:
            self.maps = self._activations(self._views)
            features = self.features(everybody)
        else:
            kept = KeptFeatures(network, config.preprocessing, cache)
            self._views[: len(data.train)] = tuned_on
            self._views[kept.missing(self._images.image_ids)] = 1
            self.maps = self._activations(self._views)
            features = kept.of(self._images.image_ids, self.features)
        self.train_features, self.val_features = features[: len(data.train)], features[len(data.train) :]

    def views_of(self, changed: NDArray[np.bool_]) -> Activations:
        """The maps again, of the changed images (bool [n_train]) with their augmented views too."""
        views = self._views.copy()
        views[: len(changed)][changed] = max(1, self._config.cached_views)
        return self._activations(views)

    def features(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the classifier sees of these images (they have maps), by the network as it stands: float32 [n, d]."""
        return self.part.features(self.maps, positions, self._config.device)

    def learned_val_features(self) -> NDArray[np.float32]:
        """Features float32 [n_val, d] of the validation images by the network as it stands."""
        return self.features(self._val)

    def _activations(self, views: NDArray[np.int64]) -> Activations:
        found = self.part.activations(self._images, views, self._config, self._cache, self._progress)
        self.wanted, self.computed = max(self.wanted, found.wanted), self.computed + found.computed
        return found
