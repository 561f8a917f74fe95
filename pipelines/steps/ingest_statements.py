"""What the user says of each file: the rows of a labels CSV, or the folders that files lie in."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from data_contracts.image_formats import EXTENSIONS
from data_contracts.label_files import SPLIT_NAMES, LabelFile, LabelRow
from data_contracts.label_rules import printable
from data_contracts.object_storage import ObjectAddress
from data_contracts.records import LabelError, QuarantinedFile
from data_contracts.vocabulary import QuarantineKind, Split
from pipelines.steps.ingest_discovery import Discovery, take_named

_SUGGESTIONS = 25  # looking for the nearest of many names is slow; the first few are what a person reads


@dataclass(frozen=True)
class Statement:
    """What is said of one file. ``row`` of the CSV, None for a class folder; ``label`` may be empty."""

    path: str
    row: int | None
    label: str
    group: str | None = None
    split: Split | None = None
    ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Statements:
    """All that is said, what could not be used, and sentences a person should read."""

    statements: tuple[Statement, ...]
    errors: tuple[LabelError, ...] = ()
    warnings: tuple[str, ...] = ()

    def by_path(self) -> dict[str, list[Statement]]:
        """Statements of each file."""
        grouped: dict[str, list[Statement]] = defaultdict(list)
        for statement in self.statements:
            grouped[statement.path].append(statement)
        return grouped


def statements_of_folders(found: Discovery) -> Statements:
    """The first folder below the root is the class; folders named train, val and test above classes are a split.

    Files that lie in the root itself have no label.
    """
    tops = {path.split("/", 1)[0] for path in found.files if "/" in path}
    as_splits = bool(tops) and all(top.casefold() in SPLIT_NAMES for top in tops)
    statements = []
    for path in found.files:
        *folders, _ = path.split("/")
        split = SPLIT_NAMES[folders.pop(0).casefold()] if as_splits and folders else None
        label = unicodedata.normalize("NFC", folders[0]).strip() if folders else ""
        if label or split is not None:
            statements.append(Statement(path, None, label, split=split))
    warnings = []
    if as_splits:
        names = ", ".join(sorted(tops))
        warnings.append(f"The top folders ({names}) were taken as a given split, the folders below them as classes.")
    classes = {statement.label for statement in statements}
    if len(classes) == 1 and len(statements) > 1:
        warnings.append(
            f"All images lie in one class folder, {next(iter(classes))!r}; "
            "give the folder that holds the class folders, or a labels CSV."
        )
    return Statements(tuple(statements), (), tuple(warnings))


def statements_of_rows(label_file: LabelFile, found: Discovery) -> Statements:
    """Find the file of each row: relative to the CSV's folder, else to the images' folder.

    A name without extension fits the one image file of that name. Rows without a file and rows that lead outside are
    added to ``found.set_aside``; files that only the CSV shows to be images are added to ``found.files``.
    """
    places = _Places(found, label_file.path.resolve().parent)
    statements, errors = [], list(label_file.errors)
    for row in label_file.rows:
        if not row.image:
            reason = "The row names no image file."
            errors.append(LabelError(row=row.row, value=row.label, nearest=None, reason=reason))
            continue
        path = places.find(row.image)
        if path is None:
            _set_row_aside(row, label_file, places, found)
        elif path in found.files:
            statements.append(Statement(path, row.row, row.label, row.group, row.split, row.ids))
    errors.sort(key=lambda error: error.row or 0)
    return Statements(tuple(statements), tuple(errors), label_file.warnings)


class _Places:
    """Where the rows' file names may lead."""

    def __init__(self, found: Discovery, csv_folder: Path) -> None:
        self._found = found
        self._remote = isinstance(found.root, ObjectAddress)
        self._folders = (str(csv_folder),) if self._remote else (str(csv_folder), str(found.root))
        self._below = f"{found.root}/" if self._remote else os.path.join(str(found.root), "")  # noqa: PTH118
        self._normal = {unicodedata.normalize("NFC", path): path for path in found.files}
        stems: dict[str, list[str]] = defaultdict(list)
        for normal, path in self._normal.items():
            stems[os.path.splitext(normal)[0]].append(path)  # noqa: PTH122
        self._stems = {stem: paths[0] for stem, paths in stems.items() if len(paths) == 1}
        self._suggested = 0
        self._real_folders: dict[str, str] = {}

    def candidates(self, name: str) -> Iterable[str]:
        """Relative paths within the root that a row's name may mean, best first."""
        text = unicodedata.normalize("NFC", name)
        spellings = (text, text.replace("\\", "/")) if "\\" in text else (text,)
        if self._remote:  # rows of a CSV on disk name objects by their key below the prefix, or by their address
            for relative in (spelling.removeprefix(self._below).removeprefix("./") for spelling in spellings):
                if not relative.startswith(("s3://", "/")) and ".." not in relative.split("/"):
                    yield relative
            return
        for spelling in spellings:
            for folder in self._folders:
                full = os.path.join(folder, spelling)  # noqa: PTH118 - for every row, pathlib would take seconds
                if "/." in full or "//" in full or os.sep != "/":
                    full = os.path.normpath(full)
                if not full.startswith(self._below) and os.path.isabs(spelling):  # noqa: PTH117
                    full = self._by_its_real_folder(full)
                if full.startswith(self._below):
                    yield full[len(self._below) :].replace(os.sep, "/")

    def _by_its_real_folder(self, full: str) -> str:
        """A path whose folder was named through a link, as the images' folder itself may have been."""
        folder, name = os.path.split(full)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return os.path.join(self._real_folders[folder], name)  # noqa: PTH118

    def find(self, name: str) -> str | None:
        """Path of a row's file within the root, or None where there is none."""
        if "\0" in name:
            return None
        inside = list(self.candidates(name))
        for relative in inside:
            if relative in self._normal:
                return self._normal[relative]
        for relative in inside:
            if os.path.splitext(relative)[1].lower() not in EXTENSIONS and relative in self._stems:  # noqa: PTH122
                return self._stems[relative]
        for relative in inside:
            if take_named(self._found, relative):
                return relative
        return None

    def leads_outside(self, name: str) -> bool:
        """Whether a row's name leads out of the root wherever it starts, or to a file that lies outside."""
        return not any(True for _ in self.candidates(name)) or (
            "\0" not in name and any(Path(folder, name).exists() for folder in self._folders)
        )

    def nearest(self, name: str) -> str | None:
        """The most similar file name, for the first few that are asked for."""
        self._suggested += 1
        if self._suggested > _SUGGESTIONS:
            return None
        base = name.replace("\\", "/").rpartition("/")[2]
        names = {path.rpartition("/")[2]: path for path in self._found.files}
        near = difflib.get_close_matches(base, names, n=1, cutoff=0.75)
        return names[near[0]] if near else None


def _set_row_aside(row: LabelRow, label_file: LabelFile, places: _Places, found: Discovery) -> None:
    where = f"Row {row.row} of {label_file.path.name} names "
    shown = printable(row.image)
    if places.leads_outside(row.image):
        kind = QuarantineKind.OUTSIDE_FOLDER
        reason = f"{where}a file outside the folder of images {found.root}; it is not read."
    else:
        kind = QuarantineKind.MISSING_FILE
        near = places.nearest(row.image)
        reason = f"{where}this file, but there is no such file."
        if near is not None:
            reason += f" Did you mean {printable(near)!r}?"
    found.set_aside.setdefault(shown, QuarantinedFile(path=shown, kind=kind, reason=reason))
