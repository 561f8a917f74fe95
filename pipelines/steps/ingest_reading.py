"""Reading files in worker processes: bytes, decode, hash. Imports little, so that workers start at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path

from data_contracts.blobs import image_id_of
from data_contracts.errors import TailsightError, UnreadableImage
from data_contracts.image_formats import EXTENSIONS, sniff, with_article
from data_contracts.imaging import decode
from data_contracts.object_storage import READS_AT_ONCE, place_of
from data_contracts.perceptual import hash_and_brightness
from data_contracts.vocabulary import QuarantineKind

MAX_BYTES = 1 << 30
"""Larger files are set aside unread: two of them in two workers would already strain a small machine."""

_CHUNK = 32
_SERIAL_BELOW = 64


@dataclass(frozen=True)
class ReadOrder:
    """What a worker is to read: ``path`` relative to ``root``; with ``custody``, a copy is kept there.

    Of an object, ``size_bytes`` and ``modified_ns`` are what its listing said; of a file they are looked up.
    """

    root: str
    path: str
    max_megapixels: float
    custody: str | None = None
    size_bytes: int = 0
    modified_ns: int = 0


@dataclass(frozen=True)
class ReadImage:
    """One image of a file, as :class:`~data_contracts.records.ImageRecord` wants it."""

    image_id: str
    frame: int | None
    width: int
    height: int
    mode: str
    bit_depth: int
    format: str
    perceptual_hash: int
    brightness: float


@dataclass(frozen=True)
class ReadFile:
    """What became of one file: its images, or why it is set aside. ``kept_as`` is its path within custody."""

    path: str
    size_bytes: int = 0
    modified_ns: int = 0
    images: tuple[ReadImage, ...] = ()
    kind: QuarantineKind | None = None
    reason: str = ""
    kept_as: str | None = None


def read_files(orders: Sequence[ReadOrder], processes: int) -> Iterator[ReadFile]:
    """Read files, with several processes where that pays; results come in order, a few chunks ahead.

    A file that kills its worker (a defect of a decoder) is set aside, and the others are read again.

    Raises:
        TailsightError: no worker can be started here, so nothing can be said about the files.
    """
    if processes <= 1 or len(orders) < _SERIAL_BELOW:
        for start in range(0, len(orders), _CHUNK):
            yield from _read_together(orders[start : start + _CHUNK])
        return
    waiting = deque(list(orders[i : i + _CHUNK]) for i in range(0, len(orders), _CHUNK))
    while waiting:
        suspects = yield from _read_chunks(waiting, processes, ahead=3 * processes)
        alone = deque([order] for order in suspects)  # one of them kills its worker; alone, it takes no other with it
        while alone:
            for order in (yield from _read_chunks(alone, 1, ahead=1)):
                _require_workers()
                reason = "The decoder crashed on this file; it is damaged or made to do harm."
                yield ReadFile(order.path, kind=QuarantineKind.UNREADABLE, reason=reason)


def read_file(order: ReadOrder) -> ReadFile:
    """Read, decode completely and hash one file; never raises for what is wrong with the file."""
    size, modified = 0, 0
    try:
        data, size, modified = _read(order)
        images = _images_of(data, order)
        kept = _keep(data, order) if order.custody is not None else None
        return ReadFile(order.path, size, modified, images, kept_as=kept)
    except UnreadableImage as error:
        return ReadFile(order.path, size, modified, kind=error.kind, reason=str(error))
    except MemoryError:
        reason = "The image does not fit into memory."
        return ReadFile(order.path, size, modified, kind=QuarantineKind.TOO_LARGE, reason=reason)


def _read(order: ReadOrder) -> tuple[bytes, int, int]:
    root = place_of(order.root)
    if isinstance(root, Path):
        return read_regular_file(Path(order.root) / order.path)
    _require_size(order.size_bytes)
    try:
        return (root / order.path).read_bytes(), order.size_bytes, order.modified_ns
    except OSError as error:
        raise UnreadableImage(f"The object cannot be read ({error.strerror}).", QuarantineKind.UNREADABLE) from None


def _require_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnreadableImage(
            f"The file has {size / 2**30:.1f} GB; at most {MAX_BYTES / 2**30:.0f} GB are read.",
            QuarantineKind.TOO_LARGE,
        )


def read_regular_file(path: Path) -> tuple[bytes, int, int]:
    """Bytes, size and modification time (ns) of a regular file; a pipe in its place does not block.

    Raises:
        UnreadableImage: it cannot be opened, is no regular file, or is larger than :data:`MAX_BYTES`.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise UnreadableImage(f"The file cannot be opened ({error.strerror}).", QuarantineKind.UNREADABLE) from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImage("It is not a regular file.", QuarantineKind.NOT_A_FILE)
        _require_size(status.st_size)
        try:
            return file.read(), status.st_size, status.st_mtime_ns
        except OSError as error:
            raise UnreadableImage(
                f"The file cannot be read ({error.strerror}).",
                QuarantineKind.UNREADABLE,
                cause="The disk may be failing.",
            ) from None


def _images_of(data: bytes, order: ReadOrder) -> tuple[ReadImage, ...]:
    extension = os.path.splitext(order.path)[1].lower()  # noqa: PTH122
    actual, named = sniff(data[:16]), EXTENSIONS.get(extension)
    if actual is not None and named is not None and actual is not named:
        raise UnreadableImage(
            f"It is {with_article(actual)} image that is named {extension}.",
            QuarantineKind.WRONG_EXTENSION,
            remedy="Give it the right extension, or convert it.",
        )
    first = decode(data, max_megapixels=order.max_megapixels)
    frames = first.facts.frame_numbers
    images = []
    for frame in frames:
        image = first if frame == 0 else decode(data, max_megapixels=order.max_megapixels, frame=frame)
        number = frame if len(frames) > 1 else None
        facts, height, width = image.facts, *image.array.shape[:2]
        images.append(
            ReadImage(
                image_id_of(data, number),
                number,
                width,
                height,
                facts.mode,
                facts.bit_depth,
                facts.format.value,
                *hash_and_brightness(image.array),
            )
        )
    return tuple(images)


def _keep(data: bytes, order: ReadOrder) -> str:
    """Keep a verified copy in custody, named by its content; a copy that is there and whole is left alone."""
    from data_contracts.workspace import write_atomically  # brings pydantic, which reading alone does not need

    digest = image_id_of(data)
    relative = f"{digest[:2]}/{digest}{os.path.splitext(order.path)[1].lower()}"  # noqa: PTH122
    target = Path(order.custody or "") / relative
    if not (target.is_file() and image_id_of(target.read_bytes()) == digest):
        write_atomically(target, data)
        if image_id_of(target.read_bytes()) != digest:
            target.unlink(missing_ok=True)
            raise UnreadableImage(
                "The copy in custody differs from the original.",
                QuarantineKind.UNREADABLE,
                cause="The disk may be failing.",
            )
    return relative


def _read_chunks(
    waiting: deque[list[ReadOrder]], processes: int, *, ahead: int
) -> Generator[ReadFile, None, list[ReadOrder]]:
    """Take chunks from ``waiting`` and yield results in their order, at most ``ahead`` chunks under way.

    Returns the orders that were under way when a worker died (then the rest stays in ``waiting``), else none.
    """
    running: deque[tuple[list[ReadOrder], Future[list[ReadFile]]]] = deque()
    with ProcessPoolExecutor(processes, mp_context=_context(), initializer=_start_worker) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < ahead:
                    running.append((waiting[0], pool.submit(_read_chunk, waiting[0])))
                    waiting.popleft()
                results = running[0][1].result()
                running.popleft()
                yield from results
        except BrokenProcessPool:
            return [order for chunk, _ in running for order in chunk]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return []


def _require_workers() -> None:
    """Make sure that it was the file that killed its worker: one that has no file to read must live.

    Raises:
        TailsightError: that one died, too.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=_context(), initializer=_start_worker) as pool:
            pool.submit(os.getpid).result()
    except BrokenProcessPool:
        raise TailsightError(
            "Processes that read images die as soon as they are started.",
            cause="Memory is short, a limit forbids them, or a script called Tailsight outside of "
            "`if __name__ == '__main__':`.",
            remedy="Put that right, or set TAILSIGHT_PROCESSES=1 to read in one process.",
        ) from None


def _context() -> BaseContext:
    context = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])
    return context


def _read_chunk(orders: list[ReadOrder]) -> list[ReadFile]:
    return list(_read_together(orders))


def _read_together(orders: Sequence[ReadOrder]) -> Iterator[ReadFile]:
    """One file after another from disk; several objects at once, because each waits for the network."""
    if isinstance(place_of(orders[0].root), Path):
        yield from map(read_file, orders)
        return
    with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="read") as pool:
        yield from pool.map(read_file, orders)


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join,), daemon=True).start()


def _end_with(join: Callable[[], object]) -> None:
    join()
    os._exit(1)
