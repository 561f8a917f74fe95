"""Scores on disk: parts written whole, found again after a kill, merged into one file at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.errors import BadInput
from data_contracts.frames import SCORES, checked

PROBABILITY = "prob_"

ANSWERED_EARLY = "answered_early"
"""Column of scores by a cascade: whether the small model answered alone; null where a file cannot be read."""


def arrow_schema(classes: Sequence[str], *, cascade: bool = False) -> pa.Schema:
    """Columns of a score file, in order; ``prob_<class>`` in class-index order. Scores by a cascade have one more."""
    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            ("path", text),
            ("image_id", text),
            ("predicted", text),
            ("confidence", number),
            ("margin", number),
            ("entropy", number),
            *((f"{PROBABILITY}{name}", number) for name in classes),
            ("conformal_set", pa.list_(text)),
            ("decision", text),
            ("reason", text),
            ("model_version", text),
            ("error", text),
            *([(ANSWERED_EARLY, pa.bool_())] if cascade else []),
        ]
    )


class Parts:
    """The parts of one batch in a folder. Part i holds rows ``i * size`` to ``(i + 1) * size`` of the batch.

    Args:
        folder: made if needed; belongs to one batch and one model.
        rows: files in the batch.
        size: rows per part.
        classes: class names in index order.
        cascade: whether a cascade scores.
    """

    def __init__(self, folder: Path, *, rows: int, size: int, classes: Sequence[str], cascade: bool = False) -> None:
        self.folder = folder
        self.rows = rows
        self.size = size
        self.schema = arrow_schema(classes, cascade=cascade)
        folder.mkdir(parents=True, exist_ok=True)

    def spans(self) -> list[range]:
        """Row numbers of each part."""
        return [range(start, min(start + self.size, self.rows)) for start in range(0, self.rows, self.size)]

    def path(self, part: int) -> Path:
        """File of one part."""
        return self.folder / f"part-{part:06d}.parquet"

    def missing(self) -> list[int]:
        """Numbers of the parts that are not written yet."""
        return [part for part in range(len(self.spans())) if not self.path(part).is_file()]

    def write(self, part: int, frame: pd.DataFrame) -> None:
        """Validate and write one part, whole or not at all."""
        table = pa.Table.from_pandas(checked(frame, SCORES), schema=self.schema, preserve_index=False)
        temporary = self.folder / f".part-{part:06d}.{os.getpid()}"
        pq.write_table(table, temporary)
        temporary.replace(self.path(part))

    def tables(self) -> Iterator[pa.Table]:
        """Every part in order, one at a time."""
        for part in range(len(self.spans())):
            yield pq.read_table(self.path(part))

    def merge(self, target: Path) -> None:
        """Write all parts to one file, whole or not at all; memory holds one part."""
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        with pq.ParquetWriter(temporary, self.schema) as writer:
            for table in self.tables():
                writer.write_table(table)
        temporary.replace(target)

    def remove(self) -> None:
        """Delete the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)


def require_writable(target: Path) -> None:
    """Make the target's folder and see that it can be written, before any work is done.

    Raises:
        BadInput: it cannot.
    """
    probe = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _not_writable(target, error, "Name another --out.") from None


def copy_whole(source: Path, target: Path) -> None:
    """Copy a finished file to where the user wants it, whole or not at all.

    Raises:
        BadInput: the target cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, temporary)
        temporary.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        remedy = f"They are kept at {source}; name another --out and run the command again."
        raise _not_writable(target, error, remedy) from None


def _not_writable(target: Path, error: OSError, remedy: str) -> BadInput:
    return BadInput(f"The scores cannot be written to {target} ({error.strerror}).", remedy=remedy)
