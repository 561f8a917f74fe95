"""How many images are computed at once, and by how many threads: measured once per machine and model, and kept."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from domain_models.compute import Compute, Threads, TwoSteps
from domain_models.device import compute_device
from domain_models.kept_measurements import kept_or_measured
from domain_models.model_card import ModelCard
from domain_models.processor import processor_name
from domain_models.runtimes import Runtime

BATCHES = (8, 4, 16)
"""Batch sizes that are tried on a processor, the usual one first. Larger ones take more memory and are hardly ever
faster: what a batch costs beside its images is little."""

SECONDS_EACH = 0.15
"""How long each setting is measured in each round."""

ROUNDS = 2
"""Every setting is measured in each of them and keeps its better rate: what else ran for a moment decides nothing."""

CLEARLY = 1.1
"""So many times as fast as the usual setting another one has to be. Computing alone, which is what is measured,
flatters small batches: threads that decode meanwhile keep the interpreter's lock, once for every batch."""


class Throughput(BaseModel):
    """A setting and the rate that it had when it was chosen, in images per second of computing alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(ge=1)
    at_once: int = Field(ge=1)
    images_per_second: float | None = None


def usual(runtime: Runtime, cores: int) -> Throughput:
    """The setting where measuring would take longer than it saves."""
    if runtime is Runtime.TORCH and compute_device() != "cpu":
        return Throughput(batch=64, at_once=1)
    return Throughput(batch=8, at_once=cores)


def measured(
    opened: Callable[[Threads], Compute], images: NDArray[np.uint8], cores: int, batches: Sequence[int] = BATCHES
) -> Throughput:
    """The fastest setting for images like these; the usual one, unless another is clearly faster.

    Each core takes whole batches, or pairs of cores share one; all cores on one batch only pays where one is all there
    is.

    Args:
        opened: the model, opened for a way of sharing the cores.
        images: uint8 [n, H, W, C], n at least 1, prepared and such as are to be computed: where a model looks twice at
            what is in doubt, noise would all be in doubt.
        cores: threads that may compute.
        batches: sizes that are tried, the usual one first.
    """
    pixels = images[np.arange(max(len(images), max(batches))) % len(images)]
    rates: dict[tuple[int, int], float] = {}
    for at_once in sorted({cores, max(1, cores // 2)}, reverse=True):
        compute = opened(Threads(cores, at_once))
        with ThreadPoolExecutor(at_once) as pool:
            for size in [*batches] * ROUNDS:
                rate = _rate(compute, pixels, size, pool, at_once)
                rates[at_once, size] = max(rate, rates.get((at_once, size), 0.0))
    if not rates:
        raise ValueError("no batch size to try")
    usual_one, fastest = next(iter(rates)), max(rates, key=lambda setting: rates[setting])
    at_once, size = fastest if rates[fastest] >= CLEARLY * rates[usual_one] else usual_one
    return Throughput(batch=size, at_once=at_once, images_per_second=rates[at_once, size])


def _rate(compute: Compute, pixels: NDArray[np.uint8], size: int, pool: ThreadPoolExecutor, at_once: int) -> float:
    batches = [pixels[start : start + size] for start in range(0, len(pixels) - size + 1, size)]
    # Where images differ in what they cost, all of them are computed, so that the share in doubt is the images' own.
    fewest = -(-len(batches) // at_once) if isinstance(compute, TwoSteps) else 1

    def work(number: int) -> int:
        done = 0
        until = time.perf_counter() + SECONDS_EACH
        while done < fewest or time.perf_counter() < until:
            compute(batches[(number + done * at_once) % len(batches)])
            done += 1
        return done * size

    list(pool.map(compute, batches[:1] * at_once))  # the first call of each size prepares memory
    began = time.perf_counter()
    return sum(pool.map(work, range(at_once))) / (time.perf_counter() - began)


def kept(
    folder: Path,
    name: str,
    card: ModelCard,
    cores: int,
    opened: Callable[[Threads], Compute],
    images: Callable[[], NDArray[np.uint8]],
) -> Throughput:
    """The setting for this model on this machine: from ``folder``, or measured now and kept there.

    Args:
        folder: of such settings; a damaged one is measured again.
        name: the runtime and precision.
        card: its architecture, image size and cascade are what matters, not its weights.
        cores: threads that may compute.
        opened: see :func:`measured`.
        images: see :func:`measured`; asked for only where it is measured.
    """
    spec = card.preprocessing
    content = [name, card.architecture.model_dump(mode="json"), spec.height, spec.width, spec.channels, cores]
    content += ["usual first", None if card.cascade is None else card.cascade.model_dump(mode="json")]
    content += [platform.processor() or platform.machine(), processor_name()]
    return kept_or_measured(folder, content, Throughput, lambda: measured(opened, images(), cores))
