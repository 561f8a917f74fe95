"""The files of a batch, and the bounded pipeline that decodes them while the model computes."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.blobs import image_id_of
from data_contracts.errors import BadInput, TailsightError
from domain_models.preprocessing import Preprocessing, prepare

BATCHES_AHEAD = 3
"""Batches decoded ahead of the one being computed: enough to hide decoding, little enough to bound memory."""


@dataclass(frozen=True)
class BatchFile:
    """A file to be scored; size and time of change stand for its content."""

    path: Path
    size_bytes: int
    modified_ns: int
    set_aside: str | None = None
    """Why it must not be read (a pipe, a link out of the folder, an unsupported format), in words."""


@dataclass(frozen=True)
class PreparedFile:
    """A file as the model sees it: ``pixels`` uint8 [H, W, C], or ``error`` in words."""

    file: BatchFile
    image_id: str | None
    pixels: NDArray[np.uint8] | None
    error: str | None


def batch_name(images: str, files: Sequence[BatchFile]) -> str:
    """A name for exactly these files as they are now: readable start, then a hash of paths, sizes and times."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.size_bytes}\0{file.modified_ns}\n".encode("utf-8", "surrogateescape"))
    place = next((part for part in reversed(Path(images).parts) if not set(part) & set("*?[]")), "batch")
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", place).strip("-")[:40] or "batch"
    return f"{readable}-{digest.hexdigest()[:12]}"


def batch_files(images: str, *, ignore: Sequence[Path] = ()) -> list[BatchFile]:
    """Every file of a folder or glob that claims to be an image, by path; also those that must not be read.

    Args:
        images: a folder, a glob or one file.
        ignore: folders that are not looked at (the workspace's own).

    Raises:
        NotFound: there is no such folder.
        BadInput: there is no image in it.
    """
    from pipelines.steps.ingest_discovery import discover

    found = discover(Path(images), ignore=ignore)
    files = [BatchFile(found.root / f.path, f.size_bytes, f.modified_ns) for f in found.files.values()]
    files += [BatchFile(found.root / aside.path, 0, 0, aside.reason) for aside in found.set_aside.values()]
    if not files:
        others = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.other_kinds.items()))
        raise BadInput(
            f"There are no images in {images}.",
            cause=f"It holds other files: {others}." if others else "It is empty, or no file matches.",
            remedy="Name a folder or a glob with PNG, JPEG, TIFF, BMP or WebP files.",
        )
    return sorted(files, key=lambda file: str(file.path))


def prepared_batches(
    batches: Iterable[Sequence[BatchFile]], spec: Preprocessing, *, threads: int
) -> Generator[list[PreparedFile], None, None]:
    """Batches in order, decoded by ``threads`` threads while the caller computes; a few lie in memory at most."""
    waiting: deque[list[Future[PreparedFile]]] = deque()
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="decode") as pool:
        try:
            for batch in batches:
                waiting.append([pool.submit(prepare_one, file, spec) for file in batch])
                if len(waiting) > BATCHES_AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            for futures in waiting:
                for future in futures:
                    future.cancel()


def prepare_one(file: BatchFile, spec: Preprocessing) -> PreparedFile:
    """Read, decode and prepare one file; what cannot be read becomes an error in words, never an exception."""
    if file.set_aside is not None:
        return PreparedFile(file, None, None, file.set_aside)
    try:
        data = file.path.read_bytes()
    except OSError as error:
        return PreparedFile(file, None, None, f"The file cannot be read ({error.strerror}).")
    try:
        image_id, pixels = prepare_bytes(data, spec)
    except TailsightError as error:
        return PreparedFile(file, image_id_of(data), None, error.what)
    return PreparedFile(file, image_id, pixels, None)


def prepare_bytes(data: bytes, spec: Preprocessing) -> tuple[str, NDArray[np.uint8]]:
    """The image id of a whole file's bytes and its pixels as the model sees them, uint8 [H, W, C].

    Batch scoring and the server both call it, so that an image has one id and one prediction wherever it is asked
    about. Of a file with several images the first is taken, and the id says so.

    Raises:
        UnreadableImage: the bytes are no image, or too large a one.
    """
    from data_contracts.imaging import decode, to_8bit

    decoded = decode(data, max_megapixels=spec.max_megapixels)
    pixels = prepare(to_8bit(decoded.array, spec.window_centre, spec.window_width), spec)
    first = decoded.facts.frame_numbers[0] if decoded.facts.frames > 1 else None
    return image_id_of(data, first), pixels
