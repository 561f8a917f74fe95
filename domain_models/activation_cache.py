"""What the frozen part of a network makes of images, kept between retrainings: only new images are computed.

Layout of ``<cache folder>/<key>/``:

``maps.bin``  rows of float16, one activation map each
``rows.txt``  one line ``row name`` per *finished* row, appended after the row is on disk

The key changes with every weight of the frozen part, where it ends and how images are prepared; a name is an image id
(the hash of the file's bytes), with ``~`` and what was done to it where it is an augmented view. So a row can never be
stale. The folder may be deleted at any time.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress, Step
from domain_models.inference import map_batches

CHUNK = 512

Compute = Callable[[NDArray[np.int64]], NDArray[np.float16]]
"""Positions int64 [b] in the list of names to activation maps float16 [b, ...]; called from several threads."""


@dataclass(frozen=True)
class CachedMaps:
    """Activation maps of named rows.

    Attributes:
        array: float16 [rows, ...], memory-mapped, read only.
        rows: int64 [n]; the row of each name that was asked for, in that order.
        computed: how many of them were not there before.
    """

    array: NDArray[np.float16]
    rows: NDArray[np.int64]
    computed: int


def cached_maps(
    folder: Path,
    names: Sequence[str],
    shape: tuple[int, ...],
    compute: Compute,
    *,
    device: str = "cpu",
    progress: Progress = SILENT,
    what: str = "Activations of the frozen stages",
) -> CachedMaps:
    """The activation maps of ``names``; those that are not in the folder yet are computed and kept.

    Killed at any moment and called again, it goes on behind the last finished chunk.

    Args:
        folder: of this frozen part and this preprocessing.
        names: distinct names.
        shape: of one map.
        compute: makes the maps.
        device: where it computes; see :func:`~domain_models.inference.map_batches`.
        progress: told of each map computed.
        what: name of the step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    maps_path, rows_path = folder / "maps.bin", folder / "rows.txt"
    with FileLock(folder / "cache.lock"):
        index = _finished_rows(rows_path)
        missing = np.asarray([i for i, name in enumerate(names) if name not in index], dtype=np.int64)
        if len(missing):
            with progress.step(what, total=len(missing)) as step:
                _compute_missing(maps_path, rows_path, names, missing, index, shape, compute, device, step)
    return _mapped(maps_path, names, index, shape, len(missing))


def kept_maps(folder: Path, names: Sequence[str], shape: tuple[int, ...]) -> CachedMaps:
    """Like :func:`cached_maps`, but nothing is computed: the row of a name that is not there is -1."""
    index: dict[str, int] = {}
    if folder.is_dir():
        with FileLock(folder / "cache.lock"):
            index = _finished_rows(folder / "rows.txt")
    return _mapped(folder / "maps.bin", names, index, shape, 0)


def _mapped(
    path: Path, names: Sequence[str], index: dict[str, int], shape: tuple[int, ...], computed: int
) -> CachedMaps:
    rows = np.fromiter((index.get(name, -1) for name in names), dtype=np.int64, count=len(names))
    if not index:
        return CachedMaps(np.zeros((0, *shape), dtype=np.float16), rows, computed)
    whole = (max(index.values()) + 1, *shape)
    return CachedMaps(np.memmap(path, dtype=np.float16, mode="r", shape=whole), rows, computed)


def kept_names(folder: Path) -> frozenset[str]:
    """Names of the rows that are in a folder of the cache."""
    if not folder.is_dir():
        return frozenset()
    with FileLock(folder / "cache.lock"):
        return frozenset(_finished_rows(folder / "rows.txt"))


def _finished_rows(path: Path) -> dict[str, int]:
    """Row of each finished name; what follows the last newline was cut by a kill, and is cut off the file."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    index: dict[str, int] = {}
    for line in io.BytesIO(content[:whole]):  # one line at a time: a million of them are a lot of objects
        row, _, name = line.decode("utf-8").rstrip("\n").partition(" ")
        if row.isdigit() and name:
            index[name] = int(row)
    return index


def _compute_missing(
    maps_path: Path,
    rows_path: Path,
    names: Sequence[str],
    missing: NDArray[np.int64],
    index: dict[str, int],
    shape: tuple[int, ...],
    compute: Compute,
    device: str,
    step: Step,
) -> None:
    row = max(index.values(), default=-1) + 1
    row_bytes = int(np.prod(shape)) * np.dtype(np.float16).itemsize
    with (
        maps_path.open("r+b" if maps_path.exists() else "w+b") as maps,
        rows_path.open("a", encoding="utf-8") as journal,
    ):
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            maps.seek(row * row_bytes)
            batches = map_batches(
                lambda positions, part=part: compute(part[positions]),  # type: ignore[misc]
                len(part),
                batch_size=32,
                device=device,
                step=step,
            )
            for batch in batches:
                maps.write(np.ascontiguousarray(batch, dtype=np.float16).tobytes())
            maps.flush()
            os.fsync(maps.fileno())
            rows = range(row, row + len(part))
            journal.write("".join(f"{at} {names[position]}\n" for at, position in zip(rows, part, strict=True)))
            journal.flush()
            os.fsync(journal.fileno())
            index.update({names[position]: at for at, position in zip(rows, part, strict=True)})
            row += len(part)
