"""What the classifier sees of images, kept: a classifier can then be fitted again on all old images in seconds.

A full training leaves the features of its training and validation images here, by the backbone that it ends with; so
does an incremental one, of the images that had none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain_models.activation_cache import cached_maps, kept_names
from domain_models.backbones import Classifier
from domain_models.frozen_part import frozen_key
from domain_models.preprocessing import Preprocessing


class KeptFeatures:
    """Features by the backbone of one network, as it is now, of images as they are.

    Args:
        network: whose backbone; may go on learning, what is kept stays that of the weights it has now.
        spec: how images are prepared.
        cache: folder of the activations; may be deleted at any time.
    """

    def __init__(self, network: Classifier, spec: Preprocessing, cache: Path) -> None:
        self._folder = cache / frozen_key(network, 0, (), spec)
        self._width = network.classifier.in_features

    def missing(self, image_ids: Sequence[str]) -> NDArray[np.int64]:
        """Positions of the images of which nothing is kept."""
        kept = kept_names(self._folder)
        return np.asarray([i for i, image_id in enumerate(image_ids) if image_id not in kept], dtype=np.int64)

    def keep(self, image_ids: Sequence[str], features: NDArray[np.float32]) -> None:
        """Keep float32 [n, d]; a number beyond float16 becomes its largest."""
        rounded = features.clip(-65504, 65504).astype(np.float16)
        cached_maps(self._folder, image_ids, (self._width,), lambda positions: rounded[positions])

    def of(
        self, image_ids: Sequence[str], compute: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """float32 [n, d], rounded to float16; what is not kept yet is computed now.

        Args:
            image_ids: n ids.
            compute: positions int64 [m] among them to features float32 [m, d].
        """
        missing = self.missing(image_ids)
        features = compute(missing) if len(missing) else np.zeros((0, self._width), dtype=np.float32)
        self.keep([image_ids[i] for i in missing], features)
        found = cached_maps(self._folder, image_ids, (self._width,), _nothing)
        return found.array[found.rows].astype(np.float32)


def _nothing(positions: NDArray[np.int64]) -> NDArray[np.float16]:
    raise RuntimeError(f"{len(positions)} kept features were deleted while they were read.")
