"""What a folder already says of its images: class folders, or a labels CSV beside them. Reads no image."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_contracts.errors import LabelFileError
from data_contracts.label_files import SPLIT_NAMES, LabelColumns, LabelFile, header_of, read_label_file
from data_contracts.label_rules import printable
from pipelines.steps.group_hints import file_name_hints, group_columns
from pipelines.steps.ingest_discovery import Discovery
from pipelines.steps.ingest_statements import statements_of_folders

LARGEST_CSV = 200 * 2**20
MOST_CSVS = 10
_LEAST_MATCHED = 0.5
_LABEL_NAMES = (
    *("label", "class", "category", "target", "diagnosis", "dx", "finding", "defect", "grade", "anomaly_class"),
    *("classification", "type", "y", "verdict", "result"),
)
_MOST_CLASSES = 200


@dataclass(frozen=True)
class FolderLabels:
    """What is said of the images, and by what.

    ``counts`` is how many images bear each label as it is written. ``group`` is (column, rows, distinct values) of the
    column that looks most like a group; ``remarks`` are sentences that a person should read.
    """

    counts: Mapping[str, int]
    csv: Path | None = None
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group: tuple[str, int, int] | None = None
    matched: int = 0
    remarks: tuple[str, ...] = field(default=())


def labels_of_folder(found: Discovery) -> FolderLabels:
    """The labels CSV in the folder or beside it that names most of its images, else the class folders."""
    remarks: list[str] = []
    best: FolderLabels | None = None
    for path in _csvs(found.folder):
        read = _read(path, found, remarks)
        if read is not None and (best is None or read.matched > best.matched):
            best = read
    if best is None:
        said = statements_of_folders(found)
        counts = Counter(statement.label for statement in said.statements if statement.label)
        if len(counts) == 1 and len(found.files) > 1 and not any(s.split for s in said.statements):
            remarks.append(said.warnings[0] if said.warnings else "All images lie in one folder.")
            counts.clear()
        best = FolderLabels(counts, matched=counts.total())
    if best.group is None:
        remarks += file_name_hints(found.files, len(best.counts))
    return FolderLabels(**{**vars(best), "remarks": (*best.remarks, *remarks)})


def _csvs(root: Path) -> list[Path]:
    found = []
    for folder in (root, root.parent):
        try:
            with os.scandir(folder) as listing:
                names = sorted(
                    entry.name
                    for entry in listing
                    if entry.name.lower().endswith((".csv", ".tsv"))
                    and entry.is_file(follow_symlinks=False)
                    and entry.stat(follow_symlinks=False).st_size <= LARGEST_CSV
                )
        except OSError:
            continue
        found += [folder / name for name in names[:MOST_CSVS]]
    return found


def _read(path: Path, found: Discovery, remarks: list[str]) -> FolderLabels | None:
    """What a CSV says of the folder's images; ``None`` where it does not name most of what it lists."""
    shown = printable(path.name)
    try:
        header = header_of(path)
        if len(header) < 2 or len(set(header)) != len(header):
            return None
        first = next((name for name in header if name), header[0])
        table = read_label_file(path, LabelColumns(image=first, label=first))
    except LabelFileError as error:
        remarks.append(f"{shown} was passed over: {error.what}")
        return None
    values = {first: [row.image for row in table.rows], **table.other_values}
    names = _Names(found, path.parent)
    matches = {name: names.matched(column) for name, column in values.items()}
    image = max(matches, key=lambda name: matches[name])
    if matches[image] < _LEAST_MATCHED * len(table.rows) or not matches[image]:
        return None
    others = {name: column for name, column in values.items() if name != image}
    label = _label_column(others)
    if label is None:
        remarks.append(f"{shown} names the images but has no column that looks like a label.")
        return None
    chosen: LabelFile = read_label_file(path, LabelColumns(image=image, label=label))
    counts = Counter(row.label for row in chosen.rows if row.label and names.knows(row.image))
    groups = sorted(group_columns({k: v for k, v in others.items() if k != label}), key=lambda item: -item[1])
    split = next((name for name, column in others.items() if name != label and _is_split(column)), None)
    return FolderLabels(
        counts, path, image, label, split, groups[0] if groups else None, matches[image], tuple(chosen.warnings)
    )


class _Names:
    """Every way in which a CSV may name a file of the folder: relative to itself, to the folder, by name, by stem."""

    def __init__(self, found: Discovery, csv_folder: Path) -> None:
        self._known: set[str] = set()
        inside = found.folder.is_relative_to(csv_folder)
        prefix = found.folder.relative_to(csv_folder).as_posix() if inside else ""
        for path in found.files:
            normal = unicodedata.normalize("NFC", path)
            for spelling in (normal, f"{prefix}/{normal}" if prefix not in ("", ".") else normal):
                self._known |= {spelling, os.path.splitext(spelling)[0]}  # noqa: PTH122 - for every file

    def knows(self, name: str) -> bool:
        return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./") in self._known

    def matched(self, names: Iterable[str]) -> int:
        return sum(1 for name in names if name and self.knows(name))


def _label_column(columns: Mapping[str, list[str]]) -> str | None:
    """By its name, else the only column of words that repeat."""
    folded = {name.strip().casefold().replace(" ", "_"): name for name in columns}
    for wanted in _LABEL_NAMES:
        if wanted in folded and _few(columns[folded[wanted]]):
            return folded[wanted]
    words = [
        name
        for name, column in columns.items()
        if _few(column) and not _is_split(column) and not all(_is_number(value) for value in column if value)
    ]
    return words[0] if len(words) == 1 else None


def _few(column: list[str]) -> bool:
    distinct = len({value for value in column if value})
    return 2 <= distinct <= min(_MOST_CLASSES, max(2, len(column) // 2))


def _is_split(column: list[str]) -> bool:
    values = {value.strip().casefold() for value in column if value}
    return len(values) > 1 and values <= SPLIT_NAMES.keys()


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
