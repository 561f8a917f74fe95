"""The bounded pipeline that decodes and computes the files of a batch on all cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from data_contracts.blobs import image_id_of
from data_contracts.errors import TailsightError
from data_contracts.object_storage import READS_AT_ONCE, ObjectAddress, Place
from domain_models.compute import Compute, TwoSteps
from domain_models.preprocessing import Preprocessing, decoded, prepare_decoded

BATCHES_AHEAD = 3
"""Batches under way for each thread: enough that none waits for the next, little enough to bound memory."""


@dataclass(frozen=True)
class BatchFile:
    """A file or an object to be scored; size and time of change stand for its content."""

    path: Place
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


@dataclass(frozen=True)
class ComputedBatch:
    """Files and what the model says of those that could be read.

    Attributes:
        files: without their pixels.
        logits: float32 [readable files, k], in the order of the files.
        early: bool [readable files], which of them the first of two steps alone answered; ``None`` where there is one.
    """

    files: list[PreparedFile]
    logits: NDArray[np.float32] | None
    early: NDArray[np.bool_] | None = None


def computed_batches(
    batches: Iterable[Sequence[BatchFile]], spec: Preprocessing, compute: Compute, *, threads: int
) -> Generator[ComputedBatch, None, None]:
    """Batches in order, each decoded, prepared and computed by one of ``threads`` threads.

    A thread that decodes and then computes never waits for another one, so all cores are busy to the end, whichever
    of the two takes longer; memory holds a few batches whatever their number. Objects are read by more threads,
    because each of them waits for the network most of its time.
    """
    ahead = iter(batches)
    first = next(ahead, ())
    workers = max(threads, READS_AT_ONCE) if any(isinstance(file.path, ObjectAddress) for file in first) else threads

    def work(batch: Sequence[BatchFile]) -> ComputedBatch:
        prepared = [prepare_one(file, spec) for file in batch]
        readable = [item.pixels for item in prepared if item.pixels is not None]  # those without an error
        logits, early = None, None
        if readable and isinstance(compute, TwoSteps):
            logits, early = compute.answers(np.stack(readable))
        elif readable:
            logits = compute(np.stack(readable))
        return ComputedBatch([replace(item, pixels=None) for item in prepared], logits, early)

    waiting: deque[Future[ComputedBatch]] = deque()
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="score") as pool:
        try:
            for batch in chain([first] if first else [], ahead):
                waiting.append(pool.submit(work, batch))
                if len(waiting) > workers * BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
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
    image = decoded(data, spec)
    first = image.facts.frame_numbers[0] if image.facts.frames > 1 else None
    return image_id_of(data, first), prepare_decoded(image, spec)
