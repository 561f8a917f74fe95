"""Running a network over prepared images: logits and embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_contracts.progress import SILENT, Progress
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
    batch_size: int = 64,
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
    batch_size: int = 64,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> NDArray[np.float32]:
    """The features that the classifier sees, float32 [n, d]; arguments as in :func:`predict_logits`."""
    embedding: Callable[[Tensor], Tensor] = network.embed  # type: ignore[assignment]
    return _run(network, embedding, images, spec, batch_size, device, progress, "Extracting features")


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
    parts: list[NDArray[np.float32]] = []
    with torch.inference_mode(), progress.step(what, total=len(images)) as step:
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            parts.append(function(to_tensor(batch, spec).to(device)).float().cpu().numpy())
            step.advance(len(batch))
    if not parts:
        with torch.inference_mode():
            empty = to_tensor(np.zeros((1, spec.height, spec.width, spec.channels), dtype=np.uint8), spec).to(device)
            return function(empty).float().cpu().numpy()[:0]
    return np.concatenate(parts)
