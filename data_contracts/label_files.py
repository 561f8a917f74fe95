"""Reading a labels CSV: whatever encoding and delimiter a spreadsheet wrote, every row with its number.

A file that cannot be used as a whole raises; a single bad row is a :class:`~data_contracts.records.LabelError`.
"""

from __future__ import annotations

import csv
import difflib
import io
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_contracts.errors import LabelFileError
from data_contracts.records import LabelError
from data_contracts.vocabulary import Split

_DELIMITERS = (",", ";", "\t", "|")

SPLIT_NAMES: dict[str, Split] = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "val": Split.VAL,
    "valid": Split.VAL,
    "validation": Split.VAL,
    "dev": Split.VAL,
    "test": Split.TEST,
    "testing": Split.TEST,
    "holdout": Split.TEST,
}
"""Spellings of splits in columns and folder names, in lower case."""


@dataclass(frozen=True)
class LabelColumns:
    """Which columns of a labels CSV say what; ``None`` where there is no such column."""

    image: str = "image"
    label: str = "label"
    group: str | None = None
    split: str | None = None
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelRow:
    """One row. ``row`` counts as a spreadsheet does (1 is the header); ``image`` and ``label`` are trimmed."""

    row: int
    image: str
    label: str
    group: str | None = None
    split: Split | None = None
    ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelFile:
    """A labels CSV as read: usable rows, rows in trouble, the header, and sentences a person should read.

    ``other_values`` holds, for each column that no option named, its values in row order (to find groups that were
    not given).
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[LabelRow, ...]
    errors: tuple[LabelError, ...]
    warnings: tuple[str, ...]
    other_values: dict[str, list[str]]


def read_label_file(path: Path, columns: LabelColumns) -> LabelFile:
    """Read a labels CSV whole.

    Understands UTF-8 with or without a byte-order mark, UTF-16 with one, and Windows-1252 as a last resort; commas,
    semicolons, tabs or bars. Labels and groups are trimmed and brought to Unicode NFC.

    Raises:
        LabelFileError: the file is missing, no text, has no rows, or lacks a column (the nearest name is suggested).
    """
    text, warnings = _text(path)
    header, records = _records(path, text, columns.image)
    named = [columns.image, columns.label, columns.group, columns.split, *columns.ids]
    _require_columns(path, header, [name for name in named if name is not None])
    place = {name: header.index(name) for name in header}
    others = [name for name in header if name not in named and name]

    rows: list[LabelRow] = []
    errors: list[LabelError] = []
    values: dict[str, list[str]] = {name: [] for name in others}
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header):
            reason = f"The row has {len(cells)} cells, the header {len(header)}: quote a value that has a delimiter."
            errors.append(LabelError(row=number, value=" ".join(cells)[:200], nearest=None, reason=reason))
            continue
        cells = cells + [""] * (len(header) - len(cells))
        split, error = _split(number, cells[place[columns.split]]) if columns.split else (None, None)
        if error is not None:
            errors.append(error)
        rows.append(
            LabelRow(
                number,
                cells[place[columns.image]].strip(),
                _normal(cells[place[columns.label]]),
                (_normal(cells[place[columns.group]]) or None) if columns.group else None,
                split,
                {name: cells[place[name]].strip()[:255] for name in columns.ids if cells[place[name]].strip()},
            )
        )
        for name in others:
            values[name].append(cells[place[name]].strip())
    if not rows and not errors:
        raise LabelFileError(f"{path} has a header but no rows.")
    return LabelFile(path, tuple(header), tuple(rows), tuple(errors), tuple(warnings), values)


def header_of(path: Path, image_column: str = "image") -> tuple[str, ...]:
    """The column names of a labels CSV.

    Raises:
        LabelFileError: see :func:`read_label_file`.
    """
    return tuple(_records(path, _text(path)[0], image_column)[0])


def _text(path: Path) -> tuple[str, list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelFileError(
            f"The labels file {path} cannot be read ({error.strerror}).", remedy="Check the path after --labels."
        ) from None
    if data.startswith(b"PK\x03\x04") or data.startswith(b"\xd0\xcf\x11\xe0"):
        raise LabelFileError(f"{path} is an Excel workbook, not a CSV.", remedy="Save it as 'CSV UTF-8' and try again.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16"), []
        except UnicodeDecodeError:
            raise LabelFileError(f"{path} begins like UTF-16 but is damaged.") from None
    if b"\0" in data:
        raise LabelFileError(f"{path} is not a text file: it holds zero bytes.", remedy="Save it as 'CSV UTF-8'.")
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        sentence = f"{path.name} is not UTF-8; it was read as Windows-1252. Check labels with accents."
        return data.decode("cp1252", errors="replace"), [sentence]


def _records(path: Path, text: str, image_column: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header, and each further record with its number as a spreadsheet counts."""
    if not text.strip():
        raise LabelFileError(f"{path} is empty.", remedy="It needs a header row such as: image,label")
    if "\n" not in text:
        text = text.replace("\r", "\n")  # an old Macintosh's line ends
    headers = {mark: _parse(path, io.StringIO(text), mark) for mark in _DELIMITERS}
    found = {mark: [cell.strip() for cell in next(records)[1]] for mark, records in headers.items()}
    delimiter = max(_DELIMITERS, key=lambda mark: (image_column in found[mark], len(found[mark])))
    return found[delimiter], headers[delimiter]


def _parse(path: Path, stream: io.StringIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(stream, delimiter=delimiter)
    try:
        yield from enumerate(reader, start=1)
    except csv.Error as error:
        raise LabelFileError(
            f"{path} cannot be read as CSV near line {reader.line_num} ({error}).",
            cause="A quotation mark is probably never closed.",
        ) from None


def _require_columns(path: Path, header: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name in header:
            if Counter(header)[name] > 1:
                raise LabelFileError(f"{path} has more than one column {name!r}.", remedy="Rename or remove one.")
            continue
        folded = {column.casefold(): column for column in header}
        near = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.5)
        raise LabelFileError(
            f"{path} has no column {name!r}; its columns are {', '.join(repr(column) for column in header)}.",
            remedy=f"Did you mean {folded[near[0]]!r}?" if near else "Name the right column with the matching option.",
        )


def _split(row: int, cell: str) -> tuple[Split | None, LabelError | None]:
    value = cell.strip()
    if not value:
        return None, None
    split = SPLIT_NAMES.get(value.casefold())
    if split is not None:
        return split, None
    near = difflib.get_close_matches(value.casefold(), list(SPLIT_NAMES), n=1)
    reason = f"{value!r} is no split; train, val and test are. The row is used without it."
    return None, LabelError(row=row, value=value, nearest=near[0] if near else None, reason=reason)


def _normal(cell: str) -> str:
    return unicodedata.normalize("NFC", cell).strip()
