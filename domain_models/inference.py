"""Running a network over prepared images: logits and embeddings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_contracts.progress import SILENT, Progress, Step
from domain_models.preprocessing import Preprocessing, to_tensor


class ImageSource(Protocol):
    """Prepared images that can be read in slices: an array, a memory map or :class:`ImageRows`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> Any:
        """uint8 [b, H, W, C] for a slice or an int64 array of positions."""


class ImageRows:
    """Some rows of an array of images, in a chosen order, without copying them.

    Args:
        array: uint8 [rows, H, W, C], usually memory-mapped.
        rows: int64 [n]; image i is ``array[rows[i]]``.
    """

    def __init__(self, array: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        self.array = array
        self.rows = np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: slice | NDArray[np.int64]) -> NDArray[np.uint8]:
        wanted = self.rows[positions]
        # Rising order reads a memory map front to back.
        order = np.argsort(wanted, kind="stable")
        out = np.empty((len(wanted), *self.array.shape[1:]), dtype=np.uint8)
        out[order] = self.array[wanted[order]]
        return out

    def subset(self, positions: NDArray[np.int64]) -> ImageRows:
        """The images at these positions."""
        return ImageRows(self.array, self.rows[positions])


def predict_logits(
    network: nn.Module,
    images: ImageSource,
    spec: Preprocessing,
    *,
    batch_size: int = 32,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> NDArray[np.float32]:
    """Logits of images that are already prepared.

    Args:
        network: maps float32 [n, 3, H, W] to [n, k]; it is put in evaluation mode.
        images: uint8 [n, H, W, C].
        spec: how they were prepared; gives mean and std.
        batch_size: images at once.
        device: where to compute.
        progress: told of each image.

    Returns:
        float32 [n, k].
    """
    return _run(network, network, images, spec, batch_size, device, progress, "Predicting")


def embed(
    network: nn.Module,
    images: ImageSource,
    spec: Preprocessing,
    *,
    batch_size: int = 32,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> NDArray[np.float32]:
    """The features that the classifier sees, float32 [n, d]; arguments as in :func:`predict_logits`."""
    embedding: Callable[[Tensor], Tensor] = network.embed  # type: ignore[assignment]
    return _run(network, embedding, images, spec, batch_size, device, progress, "Extracting features")


def map_batches(
    function: Callable[[NDArray[np.int64]], NDArray[Any]],
    count: int,
    *,
    batch_size: int,
    device: str,
    step: Step,
) -> Iterator[NDArray[Any]]:
    """Apply a function to the positions 0 .. count in batches, in order, each core taking whole batches.

    On a processor, one thread per batch does the same work for a third of the time that threads inside every layer
    take when other programs are busy, because they never wait for one another; the numbers are the same.

    Args:
        function: positions int64 [b] to an array; must be safe to call from threads.
        count: how many positions.
        batch_size: positions at once.
        device: with anything but ``cpu``, batches run one after another.
        step: told of each batch.
    """
    batches = [np.arange(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    threads = torch.get_num_threads()
    if torch.device(device).type != "cpu" or threads == 1 or len(batches) == 1:
        for positions in batches:
            result = function(positions)
            step.advance(len(positions))
            yield result
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            under_way: deque[Future[NDArray[Any]]] = deque()
            for positions in batches:
                under_way.append(pool.submit(function, positions))
                if len(under_way) > 2 * threads:  # bounded, so that results do not pile up
                    yield under_way.popleft().result()
                    step.advance(batch_size)
            while under_way:
                yield under_way.popleft().result()
                step.advance(batch_size if under_way else count - (len(batches) - 1) * batch_size)
    finally:
        torch.set_num_threads(threads)


def _run(
    network: nn.Module,
    function: Callable[[Tensor], Tensor],
    images: ImageSource,
    spec: Preprocessing,
    batch_size: int,
    device: str,
    progress: Progress,
    what: str,
) -> NDArray[np.float32]:
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval()

    def numbers(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return function(to_tensor(batch, spec).to(device)).float().cpu().numpy()

    if len(images) == 0:
        return numbers(np.zeros((1, spec.height, spec.width, spec.channels), dtype=np.uint8))[:0]
    with progress.step(what, total=len(images)) as step:
        parts = map_batches(
            lambda positions: numbers(images[positions]), len(images), batch_size=batch_size, device=device, step=step
        )
        return np.concatenate(list(parts))
