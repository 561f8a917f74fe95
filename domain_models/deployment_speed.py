"""How fast a model computes where many images wait: the best way of sharing the cores, and the rate with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from domain_models.compute import Compute, Threads

BATCHES = (4, 8, 16, 32)
_TRYING = 0.2
_MEASURING = 0.6


@dataclass(frozen=True)
class Setting:
    """How many images are computed at once, and in how many batches side by side."""

    batch: int
    at_once: int


Opened = Callable[[Threads], Compute]
"""A model, opened for a way of sharing the cores."""


def best_setting(opened: Opened, images: NDArray[np.uint8], cores: int, *, batches: Sequence[int] = BATCHES) -> Setting:
    """The batch size and sharing of cores that is fastest.

    Args:
        opened: the model.
        images: uint8 [n, H, W, C], prepared, n at least 1; real ones, because a model may look twice at what is close.
        cores: threads that may compute.
        batches: sizes that are tried.
    """
    pixels = _enough(images, max(batches))
    found: list[tuple[float, int, int]] = []
    for at_once in sorted({cores, max(1, cores // 2)}, reverse=True):
        compute = opened(Threads(cores, at_once))
        found += [(_rate(compute, pixels, Setting(size, at_once), _TRYING), size, at_once) for size in batches]
    _, size, at_once = max(found)
    return Setting(size, at_once)


def images_per_second(
    opened: Opened, images: NDArray[np.uint8], cores: int, setting: Setting, *, seconds: float = _MEASURING
) -> float:
    """Rate of computing alone, from prepared pixels to logits; arguments as in :func:`best_setting`.

    Args:
        opened: the model.
        images: as there.
        cores: as there.
        setting: how cores are shared.
        seconds: how long is measured.
    """
    return _rate(opened(Threads(cores, setting.at_once)), _enough(images, setting.batch), setting, seconds)


def milliseconds_an_image(rates: Sequence[float]) -> float:
    """The median rate, as milliseconds for one image."""
    return 1000 / median(rates)


def _enough(images: NDArray[np.uint8], batch: int) -> NDArray[np.uint8]:
    """The images, repeated until there are two batches."""
    return images[np.arange(max(len(images), 2 * batch)) % len(images)]


def _rate(compute: Compute, pixels: NDArray[np.uint8], setting: Setting, seconds: float) -> float:
    size, at_once = setting.batch, setting.at_once
    batches = [pixels[start : start + size] for start in range(0, len(pixels) - size + 1, size)]

    def work(number: int) -> int:
        done, until = 0, time.perf_counter() + seconds
        # every batch at least once, so that the share of images that cost more is that of the images
        while done * at_once < len(batches) or time.perf_counter() < until:
            compute(batches[(number + done * at_once) % len(batches)])
            done += 1
        return done * size

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(compute, batches[:1] * at_once))  # the first call of each size prepares memory
        began = time.perf_counter()
        return sum(pool.map(work, range(at_once))) / (time.perf_counter() - began)
