"""How many images are computed at once, and by how many threads: measured once per machine and model, and kept."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_contracts.workspace import write_atomically
from domain_models.compute import Compute, Threads
from domain_models.model_package import ModelCard
from domain_models.runtimes import Runtime

BATCHES = (2, 4, 8, 16, 32, 64)
"""Batch sizes that are tried on a processor. Small ones stay in its caches; large ones save overhead."""

SECONDS_EACH = 0.15
"""How long each setting is measured: enough to tell halves from wholes, which is all that matters."""


class Throughput(BaseModel):
    """A setting and the rate that it had when it was chosen, in images per second of computing alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(ge=1)
    at_once: int = Field(ge=1)
    images_per_second: float | None = None


def usual(runtime: Runtime, cores: int) -> Throughput:
    """The setting where measuring would take longer than it saves."""
    import torch

    if runtime is Runtime.TORCH and torch.cuda.is_available():
        return Throughput(batch=64, at_once=1)
    return Throughput(batch=8, at_once=cores)


def measured(
    opened: Callable[[Threads], Compute], shape: tuple[int, int, int], cores: int, batches: Sequence[int] = BATCHES
) -> Throughput:
    """The fastest setting for images of this shape.

    Each core takes whole batches, or pairs of cores share one; all cores on one batch only pays where one is all there
    is.

    Args:
        opened: the model, opened for a way of sharing the cores.
        shape: (H, W, C) of prepared images.
        cores: threads that may compute.
        batches: sizes that are tried.
    """
    chance = np.random.default_rng(0)
    pixels: NDArray[np.uint8] = chance.integers(0, 256, (max(batches), *shape), dtype=np.uint8)
    best: Throughput | None = None
    for at_once in sorted({cores, max(1, cores // 2)}, reverse=True):
        compute = opened(Threads(cores, at_once))
        with ThreadPoolExecutor(at_once) as pool:
            for size in batches:
                rate = _rate(compute, pixels[:size], pool, at_once)
                if best is None or rate > (best.images_per_second or 0.0):
                    best = Throughput(batch=size, at_once=at_once, images_per_second=rate)
    if best is None:
        raise ValueError("no batch size to try")
    return best


def _rate(compute: Compute, pixels: NDArray[np.uint8], pool: ThreadPoolExecutor, at_once: int) -> float:
    def work(_: int) -> int:
        done = 0
        until = time.perf_counter() + SECONDS_EACH
        while done == 0 or time.perf_counter() < until:
            compute(pixels)
            done += len(pixels)
        return done

    list(pool.map(compute, [pixels] * at_once))  # the first call of each size prepares memory
    began = time.perf_counter()
    return sum(pool.map(work, range(at_once))) / (time.perf_counter() - began)


def kept(
    folder: Path,
    name: str,
    card: ModelCard,
    cores: int,
    opened: Callable[[Threads], Compute],
) -> Throughput:
    """The setting for this model on this machine: from ``folder``, or measured now and kept there.

    Args:
        folder: of such settings; a damaged one is measured again.
        name: the runtime and precision.
        card: its architecture and image size are what matters, not its weights.
        cores: threads that may compute.
        opened: see :func:`measured`.
    """
    spec = card.preprocessing
    content = [name, card.architecture.model_dump(mode="json"), spec.height, spec.width, spec.channels, cores]
    content += [platform.processor() or platform.machine(), processor_name()]
    path = folder / f"{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}.json"
    if path.is_file():
        try:
            return Throughput.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError):
            path.unlink()
    found = measured(opened, (spec.height, spec.width, spec.channels), cores)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, found.model_dump_json(indent=2) + "\n")
    return found


def processor_name() -> str:
    """The processor's model, as the system calls it; empty where it does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    lines = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(("model name", "flags")))
    return " ".join(sorted(set(lines)))
