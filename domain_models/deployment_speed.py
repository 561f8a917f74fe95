"""How fast a model computes where many images wait: the best way of sharing the cores, then several measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
from numpy.typing import NDArray

from domain_models.compute import Compute, Threads

BATCHES = (4, 8, 16, 32)
REPETITIONS = 3
_TRYING = 0.2
_MEASURING = 0.6


def images_per_second(
    opened: Callable[[Threads], Compute],
    images: NDArray[np.uint8],
    cores: int,
    *,
    batches: Sequence[int] = BATCHES,
    repetitions: int = REPETITIONS,
    seconds: float = _MEASURING,
) -> list[float]:
    """Rates of computing alone, at the batch size and sharing of cores that is fastest.

    Args:
        opened: the model, opened for a way of sharing the cores.
        images: uint8 [n, H, W, C], prepared, n at least 1; real ones, because a model may look twice at what is close.
        cores: threads that may compute.
        batches: sizes that are tried.
        repetitions: how often the fastest setting is measured.
        seconds: how long each time.

    Returns:
        One rate for each repetition.
    """
    pixels = images[np.arange(max(len(images), 2 * max(batches))) % len(images)]
    found: list[tuple[float, int, int]] = []
    for at_once in sorted({cores, max(1, cores // 2)}, reverse=True):
        compute = opened(Threads(cores, at_once))
        found += [(_rate(compute, pixels, size, at_once, _TRYING), size, at_once) for size in batches]
    _, size, at_once = max(found)
    compute = opened(Threads(cores, at_once))
    return [_rate(compute, pixels, size, at_once, seconds) for _ in range(repetitions)]


def milliseconds_an_image(rates: Sequence[float]) -> float:
    """The median rate, as milliseconds for one image."""
    return 1000 / median(rates)


def _rate(compute: Compute, pixels: NDArray[np.uint8], size: int, at_once: int, seconds: float) -> float:
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
