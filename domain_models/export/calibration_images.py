"""Which images show a quantizer the range of every activation: all classes alike, so that rare defects are in range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def calibration_images(labels: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Positions of training images, as many of each class as there are and the count allows.

    Drawn in proportion to the classes, a rare defect's activations would lie outside of the ranges that are measured,
    and be cut off: the artefact would lose first what was hardest to learn.

    Args:
        labels: int64 [n].
        count: how many to choose; all, where there are fewer.
        seed: of the draw.

    Returns:
        int64 [min(count, n)], in rising order.
    """
    chance = np.random.default_rng(seed)
    waiting = [list(chance.permutation(np.flatnonzero(labels == index))) for index in np.unique(labels)]
    chosen: list[int] = []
    while len(chosen) < count and any(waiting):
        for images in waiting:
            if images and len(chosen) < count:
                chosen.append(int(images.pop()))
    return np.asarray(sorted(chosen), dtype=np.int64)
