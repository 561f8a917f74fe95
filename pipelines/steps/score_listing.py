"""The files of a batch as compact columns: a million names in some tens of megabytes, read a few at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import pyarrow as pa

from data_contracts.errors import BadInput
from data_contracts.object_storage import Place, place_of
from data_contracts.vocabulary import QuarantineKind
from pipelines.steps.ingest_discovery import Discovery, FoundFile, discover_into
from pipelines.steps.score_files import BatchFile

_COLUMNS = pa.schema(
    [("path", pa.string()), ("size_bytes", pa.int64()), ("modified_ns", pa.int64()), ("set_aside", pa.string())]
)
_CHUNK = 8192
"""Files that are held as Python objects at once."""


class BatchListing(Sequence[BatchFile]):
    """The files of a batch, by path. Holds columns; files are made as they are asked for.

    Args:
        root: under which the paths lie.
        table: columns ``path`` (below the root), ``size_bytes``, ``modified_ns``, ``set_aside``, sorted by path.
    """

    def __init__(self, root: Place, table: pa.Table) -> None:
        self._root, self._table = root, table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> BatchFile: ...

    @overload
    def __getitem__(self, index: slice) -> list[BatchFile]: ...

    def __getitem__(self, index: int | slice) -> BatchFile | list[BatchFile]:
        if isinstance(index, slice):
            rows = range(len(self))[index]
            if rows.step == 1:
                return self._files(rows.start, len(rows))
            return [self[row] for row in rows]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._files(index % len(self), 1)[0]

    def __iter__(self) -> Iterator[BatchFile]:
        for start in range(0, len(self), _CHUNK):
            yield from self._files(start, min(_CHUNK, len(self) - start))

    @property
    def bytes_held(self) -> int:
        """Memory of all names, sizes and times together."""
        return int(self._table.nbytes)

    def _files(self, start: int, count: int) -> list[BatchFile]:
        columns = self._table.slice(start, count).to_pydict().values()
        return [BatchFile(self._root / path, *facts) for path, *facts in zip(*columns, strict=True)]


def batch_files(images: str, *, ignore: Sequence[Path] = ()) -> BatchListing:
    """Every file of a folder or glob that claims to be an image, by path; also those that must not be read.

    Args:
        images: a folder, a glob, one file or ``s3://bucket/prefix``.
        ignore: folders that are not looked at (the workspace's own).

    Raises:
        NotFound: there is no such folder.
        BadInput: there is no image in it.
    """
    found = discover_into(_Columns, place_of(images), ignore=ignore, in_order=False)
    listing = found.listing()
    if not listing:
        others = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.other_kinds.items()))
        raise BadInput(
            f"There are no images in {images}.",
            cause=f"It holds other files: {others}." if others else "It is empty, or no file matches.",
            remedy="Name a folder or a glob with PNG, JPEG, TIFF, BMP or WebP files.",
        )
    return listing


def batch_name(images: str, files: Sequence[BatchFile]) -> str:
    """A name for exactly these files as they are now: readable start, then a hash of paths, sizes and times."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.size_bytes}\0{file.modified_ns}\n".encode("utf-8", "surrogateescape"))
    place = next((part for part in reversed(Path(images).parts) if not set(part) & set("*?[]")), "batch")
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", place).strip("-")[:40] or "batch"
    return f"{readable}-{digest.hexdigest()[:12]}"


class _Columns(Discovery):
    """What a folder offers, as columns that grow a chunk at a time."""

    def __init__(self, root: Place) -> None:
        super().__init__(root)
        self._rows: list[tuple[str, int, int, str | None]] = []
        self._chunks: list[pa.RecordBatch] = []

    def add(self, file: FoundFile) -> None:
        self._append((file.path, file.size_bytes, file.modified_ns, None))

    def add_aside(self, relative: str, kind: QuarantineKind, reason: str) -> None:  # noqa: ARG002 - scores say the reason
        self._append((relative.encode("utf-8", "backslashreplace").decode("utf-8"), 0, 0, reason))

    def pass_over(self, file: FoundFile) -> None:
        """Nobody names single objects of a batch."""

    @property
    def nothing(self) -> bool:
        return not (self._rows or self._chunks or self.other_kinds)

    def _append(self, row: tuple[str, int, int, str | None]) -> None:
        self._rows.append(row)
        if len(self._rows) == _CHUNK:
            self._flush()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(_COLUMNS)
        self._chunks.append(
            pa.record_batch([pa.array(c, t.type) for c, t in zip(columns, _COLUMNS, strict=True)], schema=_COLUMNS)
        )
        self._rows = []

    def listing(self) -> BatchListing:
        """All of it, sorted by path."""
        self._flush()
        table = pa.Table.from_batches(self._chunks, schema=_COLUMNS)
        self._chunks = []
        return BatchListing(self.root, table.sort_by("path").combine_chunks())
