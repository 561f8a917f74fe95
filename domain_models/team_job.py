"""What a follower needs to know to go through a fine-tuning with the lead: a JSON file, and arrays by their path.

Images and maps are never sent: they lie in memory-mapped files, which every process opens at the same path.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.errors import BadInput
from domain_models.architecture import Architecture
from domain_models.batches import AugmentedImages, Batches, CachedViews, JoinedBatches
from domain_models.inference import ImageRows
from domain_models.training_config import TrainingConfig


class MappedArray(BaseModel):
    """An array in a file."""

    model_config = ConfigDict(frozen=True)

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0

    def opened(self) -> NDArray[Any]:
        """The array, read only.

        Raises:
            BadInput: the file is not there, or is shorter.
        """
        try:
            return np.memmap(self.path, dtype=self.dtype, mode="r", shape=self.shape, offset=self.offset)
        except (OSError, ValueError) as error:
            raise _not_shared(self.path, error) from None


class Source(BaseModel):
    """Batches: augmented images, cached views, or two of these one after another.

    Attributes:
        kind: which.
        pixels: uint8 [rows, H, W, C], or float16 [v, n, c, h, w].
        rows: int64 [n], of augmented images.
        image_ids: n ids.
        parts: of joined batches.
        first_count: how many positions the first part has.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["augmented", "views", "joined"]
    pixels: MappedArray | None = None
    rows: MappedArray | None = None
    image_ids: tuple[str, ...] = ()
    parts: tuple[Source, ...] = ()
    first_count: int = 0

    def batches(self, config: TrainingConfig) -> Batches:
        """What is described."""
        if self.kind == "joined":
            first, second = (part.batches(config) for part in self.parts)
            return JoinedBatches(first, self.first_count, second)
        assert self.pixels is not None
        if self.kind == "views":
            return CachedViews(self.pixels.opened(), self.image_ids, config.seed)
        assert self.rows is not None
        return AugmentedImages(ImageRows(self.pixels.opened(), self.rows.opened()), self.image_ids, config)


class Job(BaseModel):
    """One fine-tuning. ``checkpoint``: where it goes on, ``None`` for a new one; the rest is as in ``fine_tune``."""

    model_config = ConfigDict(frozen=True)

    architecture: Architecture
    config: TrainingConfig
    source: Source
    labels: MappedArray
    weights: MappedArray
    inputs_are_maps: bool
    epochs: int
    checkpoint: Path | None
    owner: str


def write_job(
    folder: Path,
    architecture: Architecture,
    config: TrainingConfig,
    batches: Batches,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    inputs_are_maps: bool,
    epochs: int,
    checkpoint: Path | None,
    owner: str,
) -> Path:
    """Describe a fine-tuning in a folder; returns the file to read. Arguments as in ``fine_tune``."""
    job = Job(
        architecture=architecture,
        config=config,
        source=_described(folder, batches, "source"),
        labels=_kept(folder, labels, "labels"),
        weights=_kept(folder, weights, "weights"),
        inputs_are_maps=inputs_are_maps,
        epochs=epochs,
        checkpoint=checkpoint.absolute() if checkpoint is not None else None,
        owner=owner,
    )
    path = folder / "job.json"
    path.write_text(job.model_dump_json(), encoding="utf-8")
    return path.absolute()


def read_job(path: Path) -> Job:
    """What :func:`write_job` wrote.

    Raises:
        BadInput: the file cannot be read on this machine.
    """
    try:
        return Job.model_validate_json(path.read_bytes())
    except OSError as error:
        raise _not_shared(path, error) from None


def _described(folder: Path, batches: Batches, name: str) -> Source:
    match batches:
        case AugmentedImages(images=ImageRows() as images, image_ids=ids):
            pixels = _in_file(folder, images.array, f"{name}-pixels")
            return Source(
                kind="augmented", pixels=pixels, rows=_kept(folder, images.rows, f"{name}-rows"), image_ids=ids
            )
        case CachedViews(views=views, image_ids=ids):
            return Source(kind="views", pixels=_in_file(folder, views, f"{name}-views"), image_ids=ids)
        case JoinedBatches(first=first, second=second, first_count=count):
            parts = (_described(folder, first, f"{name}-1"), _described(folder, second, f"{name}-2"))
            return Source(kind="joined", parts=parts, first_count=count)
    raise BadInput(
        f"Several processes cannot share inputs of this kind ({type(batches).__name__}).",
        remedy="Train with --processes 1.",
    )


def _in_file(folder: Path, array: NDArray[Any], name: str) -> MappedArray:
    """Where a memory-mapped array lies; any other is written."""
    base: Any = array.base
    if isinstance(array, np.memmap) and isinstance(base, mmap.mmap):  # the whole map, no part of one
        path = Path(str(array.filename)).absolute()
        return MappedArray(path=path, dtype=array.dtype.str, shape=array.shape, offset=array.offset)
    return _kept(folder, array, name)


def _kept(folder: Path, array: NDArray[Any], name: str) -> MappedArray:
    path = (folder / f"{name}.bin").absolute()
    np.ascontiguousarray(array).tofile(path)
    return MappedArray(path=path, dtype=array.dtype.str, shape=array.shape)


def _not_shared(path: Path, error: Exception) -> BadInput:
    import socket

    return BadInput(
        f"A training process on {socket.gethostname()} cannot read {path} ({error}).",
        cause="The workspace is not at the same path on all machines.",
        remedy="Mount the workspace's folder at one path everywhere.",
    )
