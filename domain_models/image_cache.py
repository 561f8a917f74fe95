"""Decode once: prepared images in one memory-mapped file, so that epochs never touch an image file again.

Layout of ``<cache folder>/<pixel key>/``:

``pixels.bin``  rows of uint8 [H, W, C], one per image
``rows.txt``    one line ``row image_id`` per *finished* row, appended after the row's pixels are on disk

A killed process leaves rows without a line; they are written again. The pixel key changes with everything that decides
the pixels, and an image id is the hash of the file's bytes, so a cached row can never be stale. The folder may be
deleted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from data_contracts.blobs import Blobs, frame_of
from data_contracts.disk_space import reserve
from data_contracts.progress import SILENT, Progress
from domain_models.preprocessing import Preprocessing, prepare_file

CHUNK = 256


@dataclass(frozen=True)
class CachedImages:
    """Prepared images.

    Attributes:
        array: uint8 [rows, H, W, C], memory-mapped, read only.
        index: row of each image id.
    """

    array: NDArray[np.uint8]
    index: dict[str, int]

    def rows(self, image_ids: Sequence[str]) -> NDArray[np.int64]:
        """int64 [n]: the row of each image, in the order given.

        Raises:
            KeyError: an image is not in the cache.
        """
        return np.fromiter((self.index[image_id] for image_id in image_ids), dtype=np.int64, count=len(image_ids))


def build_image_cache(
    folder: Path,
    items: Sequence[tuple[str, str]],
    blobs: Blobs,
    spec: Preprocessing,
    *,
    processes: int = 2,
    progress: Progress = SILENT,
) -> CachedImages:
    """Return the prepared images of ``items``, decoding only those that are not cached yet.

    Decoding and resizing release the interpreter lock, so threads use every core without copying pixels between
    processes.

    Args:
        folder: the workspace's cache folder.
        items: (image id, uri) of each image wanted.
        blobs: where the bytes come from; their hash is checked against the image id.
        spec: how images are prepared.
        processes: how many images are decoded at once; more are read where they lie on remote storage.
        progress: told of each image decoded.

    Raises:
        NotFound, IntegrityError: a file is gone or changed since it was ingested.
        UnreadableImage: a file cannot be decoded.
    """
    place = folder / spec.pixel_key
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "cache.lock"):
        index = _finished_rows(place / "rows.txt")
        wanted = dict(items)
        missing = [(image_id, uri) for image_id, uri in wanted.items() if image_id not in index]
        if missing:
            _decode_missing(place, missing, index, blobs, spec, processes, progress)
    capacity = max(index.values(), default=-1) + 1
    shape = (capacity, spec.height, spec.width, spec.channels)
    if capacity == 0:
        return CachedImages(np.zeros(shape, dtype=np.uint8), {})
    array = np.memmap(place / "pixels.bin", dtype=np.uint8, mode="r", shape=shape)
    return CachedImages(array, index)


def _finished_rows(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    index: dict[str, int] = {}
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:  # what follows the last newline was cut by a kill
        row, _, image_id = line.partition(" ")
        if row.isdigit() and image_id:
            index[image_id] = int(row)
    return index


def _free_rows(index: dict[str, int]) -> Iterator[int]:
    used = set(index.values())
    row = 0
    while True:
        if row not in used:
            yield row
        row += 1


def _decode_missing(
    place: Path,
    missing: list[tuple[str, str]],
    index: dict[str, int],
    blobs: Blobs,
    spec: Preprocessing,
    processes: int,
    progress: Progress,
) -> None:
    free = _free_rows(index)
    rows = [next(free) for _ in missing]
    capacity = max(max(rows), max(index.values(), default=-1)) + 1
    row_bytes = spec.height * spec.width * spec.channels
    pixels_path, rows_path = place / "pixels.bin", place / "rows.txt"
    with pixels_path.open("ab") as file:
        reserve(file, capacity * row_bytes)
    array = np.memmap(pixels_path, dtype=np.uint8, mode="r+", shape=(capacity, spec.height, spec.width, spec.channels))

    def decode_into(job: tuple[int, tuple[str, str]]) -> None:
        row, (image_id, uri) = job
        array[row] = prepare_file(blobs.read(uri, image_id), spec, frame=frame_of(image_id))

    _end_with_newline(rows_path)
    threads_before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # parallel over images, not inside one
    try:
        with (
            progress.step("Decoding images", total=len(missing)) as step,
            ThreadPoolExecutor(max_workers=blobs.reads_at_once(processes)) as pool,
            rows_path.open("a", encoding="utf-8") as journal,
        ):
            for start in range(0, len(missing), CHUNK):
                chunk = list(zip(rows[start : start + CHUNK], missing[start : start + CHUNK], strict=True))
                list(pool.map(decode_into, chunk))
                array.flush()
                journal.write("".join(f"{row} {image_id}\n" for row, (image_id, _) in chunk))
                journal.flush()
                os.fsync(journal.fileno())
                index.update({image_id: row for row, (image_id, _) in chunk})
                step.advance(len(chunk))
    finally:
        cv2.setNumThreads(threads_before)


def _end_with_newline(path: Path) -> None:
    """Cut a last line that a kill left unfinished, so that the next line does not grow out of it."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            with path.open("r+b") as file:
                file.truncate(whole)
