"""Embeddings of a million images: float16 in a memory-mapped file, of which only the rows that are asked for are read.

A million rows of 1,280 numbers are 2.6 GB as float16 and 5.1 GB as float32, so no strategy ever has all of them in
memory: it reads blocks, or the few rows that it has come down to.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096
"""Rows that are read at once: 21 MB as float32 at 1,280 numbers each."""

_SCATTERED = 128

LARGE = 50_000
"""Pools of so many images are looked at as they are; of larger ones, what is quadratic sees a part or a sketch."""

Indices = NDArray[np.int64]


class MappedEmbeddings:
    """Rows of a memory-mapped file as the embeddings of a pool; indexing copies rows out, as float32.

    Args:
        array: float16 [rows, d], memory-mapped, read only. A plain array will do.
        rows: int64 [n]; the embedding of image i is ``array[rows[i]]``; -1 where there is none.
    """

    ndim = 2

    def __init__(self, array: NDArray[np.float16], rows: Indices) -> None:
        self._array = array
        self._rows = np.asarray(rows, dtype=np.int64)
        source: Any = array
        while isinstance(source, np.ndarray):  # a view of a memory map
            source = source.base
        self._file = source if isinstance(source, mmap.mmap) else None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self._rows), self._array.shape[1]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        """float32 [m, d] for a slice, positions int64 [m] or a mask bool [n]; float32 [d] for one position.

        A row of NaN where there is no embedding.
        """
        wanted = self._rows[which]
        if wanted.ndim == 0:
            one: NDArray[np.float32] = self[np.asarray([which], dtype=np.int64)][0]
            return one
        out = np.full((len(wanted), self.shape[1]), np.nan, dtype=np.float32)
        order = np.argsort(wanted, kind="stable")  # rising order reads the file front to back
        order = order[np.searchsorted(wanted[order], 0) :]
        for start in range(0, len(order), BLOCK):
            part = order[start : start + BLOCK]
            out[part] = self._read(wanted[part])
        return out

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """bool [n]: rows that are there and have no NaN in them."""
        out = self._rows >= 0
        order = np.argsort(self._rows, kind="stable")
        for part in blocks_of(order[np.searchsorted(self._rows[order], 0) :]):
            out[part] = np.isfinite(self._read(self._rows[part])).all(axis=1)
        return out

    def _read(self, rows: Indices) -> NDArray[np.float16]:
        """float16 [m, d], copied; the pages they came from no longer count as this process's memory."""
        out = np.empty((len(rows), self.shape[1]), dtype=self._array.dtype)
        # A single row brings its neighbourhood into memory, up to two megabytes of it: so few at a time, if scattered.
        step = BLOCK if len(rows) and rows[-1] - rows[0] < 2 * len(rows) else _SCATTERED
        for start in range(0, len(rows), step):
            out[start : start + step] = self._array[rows[start : start + step]]
            if self._file is not None:
                self._file.madvise(mmap.MADV_DONTNEED)
        return out


Embeddings = NDArray[np.float32] | MappedEmbeddings
"""float32 [n, d] in memory, or the same out of a file."""


def known_rows(embeddings: Embeddings) -> NDArray[np.bool_]:
    """bool [n]: rows without NaN; none where embeddings have no dimensions."""
    if not embeddings.shape[1]:
        return np.zeros(len(embeddings), dtype=bool)
    if isinstance(embeddings, MappedEmbeddings):
        return embeddings.known
    return np.asarray(np.isfinite(embeddings).all(axis=1))


def blocks_of(rows: Indices) -> Iterator[Indices]:
    """The same rows, a block at a time."""
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]
