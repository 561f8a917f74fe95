"""Rows of a labels CSV as label events, or as errors with their reason."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from data_contracts.errors import LabelFileError
from data_contracts.label_files import LabelColumns, LabelFile, LabelRow, header_of, read_label_file
from data_contracts.label_rules import FORMULA_MARKS, Judgement, judge_labels, printable
from data_contracts.ledger.chain import canonical_json
from data_contracts.ledger.image_names import ImageNames
from data_contracts.records import LabelError, NewLabelEvent
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Action, Certainty, Source

QUOTE = "'"
"""What an export puts before a cell that a spreadsheet would run; an import takes it off again."""

RISKY = (*FORMULA_MARKS, "\t", "\r")

_OPTIONAL = ("note", "certainty", "source", "bad_image")
_YES = ("yes", "true", "1")
_SUGGESTIONS = 50


@dataclass(frozen=True)
class ReadRow:
    """A usable row: where it stands in the file, and the event it asks for."""

    row: int
    event: NewLabelEvent


@dataclass(frozen=True)
class ReadRows:
    """All rows of a file: usable ones, errors in row order, warnings, and what the label rules said."""

    rows: tuple[ReadRow, ...]
    errors: tuple[LabelError, ...]
    warnings: tuple[str, ...]
    judgement: Judgement
    total: int


def neutralised(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula: what begins like one gets a quotation mark in front.

    A cell that begins with quotation marks before a formula gets one more, so that :func:`restored` undoes it exactly.
    """
    return QUOTE + cell if cell.lstrip(QUOTE).startswith(RISKY) else cell


def restored(cell: str) -> str:
    """What :func:`neutralised` was given."""
    return cell[1:] if cell.startswith(QUOTE) and cell.lstrip(QUOTE).startswith(RISKY) else cell


def read_rows(csv: Path, names: ImageNames, taxonomy: Taxonomy) -> ReadRows:
    """Read a labels CSV: columns ``image`` or ``image_id``, ``label``, ``reviewer``[, ``note, certainty, source``].

    Every row that cannot be used is an error with its number, the value, the nearest valid one and the reason. A row
    whose source is not named is an ``import``.

    Raises:
        LabelFileError: the file cannot be read, or lacks a column.
    """
    header = header_of(csv)
    image_column = next((name for name in ("image_id", "image") if name in header), "image")
    file = read_label_file(csv, LabelColumns(image=image_column, label="label"))
    if "reviewer" not in file.columns:
        raise LabelFileError(
            f"{csv} has no column 'reviewer'; its columns are {', '.join(repr(name) for name in file.columns)}.",
            cause="Every label in the ledger says who gave it.",
            remedy="Add a column 'reviewer' with a name in each row, or use `tailsight ingest --labels`.",
        )
    judgement = judge_labels(Counter(restored(row.label) for row in file.rows if row.label), taxonomy)
    reader = _RowReader(csv.parent, names, judgement)
    rows: list[ReadRow] = []
    errors = list(file.errors)
    for index, row in enumerate(file.rows):
        others = {
            name: restored(file.other_values[name][index])
            for name in ("reviewer", *_OPTIONAL)
            if name in file.other_values
        }
        outcome = reader.read(row, others)
        if isinstance(outcome, LabelError):
            errors.append(outcome)
        else:
            rows.append(ReadRow(row.row, outcome))
    errors.sort(key=lambda error: error.row or 0)
    return ReadRows(tuple(rows), tuple(errors), (*file.warnings, *judgement.warnings), judgement, _total(file))


def _total(file: LabelFile) -> int:
    return len({row.row for row in file.rows} | {error.row for error in file.errors})


@dataclass
class _RowReader:
    """Reads one row after another; suggests names for the first bad ones only, because that is slow."""

    folder: Path
    names: ImageNames
    judgement: Judgement
    suggestions: int = 0

    def read(self, row: LabelRow, others: Mapping[str, str]) -> NewLabelEvent | LabelError:
        """The event that a row asks for, or what is wrong with it."""
        image = self._image(row)
        if isinstance(image, LabelError):
            return image
        if others.get("bad_image", "").casefold() in _YES:
            reason = "The image is marked as unusable (bad_image); its label is not imported."
            return LabelError(row=row.row, value=row.image, nearest=None, reason=reason)
        label = restored(row.label)
        if not label:
            return LabelError(row=row.row, value=row.image, nearest=None, reason="The row has no label.")
        verdict = self.judgement.verdicts[label]
        if verdict.class_name is None:
            return LabelError(row=row.row, value=printable(label), nearest=verdict.nearest, reason=verdict.reason)
        certainty = _member(Certainty, others.get("certainty", ""), row.row, "certainty")
        source = _member(Source, others.get("source", ""), row.row, "source")
        problem = _reviewer_problem(row.row, others["reviewer"]) or _note_problem(row.row, others.get("note", ""))
        for outcome in (problem, certainty, source):
            if isinstance(outcome, LabelError):
                return outcome
        event = NewLabelEvent(
            who=others["reviewer"],
            subject_id=image,
            action=Action.IMPORT,
            label=verdict.class_name,
            note=others.get("note") or None,
            certainty=certainty if isinstance(certainty, Certainty) else None,
            source=source if isinstance(source, Source) else Source.IMPORT,
        )
        return event.model_copy(update={"request_id": _request_id(event)})

    def _image(self, row: LabelRow) -> str | LabelError:
        text = restored(row.image)
        found = self.names.find(text, relative_to=self.folder)
        if len(found) == 1:
            return found.pop()
        nearest = None
        if not text:
            reason = "The row names no image."
        elif found:
            reason = f"{len(found)} images go by this name; give the path or the image_id."
        else:
            reason = "No ingested image goes by this name (image_id, path, file name or external id)."
            self.suggestions += 1
            nearest = self.names.nearest(text) if self.suggestions <= _SUGGESTIONS else None
        return LabelError(row=row.row, value=printable(text), nearest=nearest, reason=reason)


def _member(vocabulary: type[StrEnum], value: str, row: int, column: str) -> StrEnum | LabelError | None:
    if not value:
        return None
    words = [item.value for item in vocabulary]
    if value.casefold() in words:
        return vocabulary(value.casefold())
    near = difflib.get_close_matches(value.casefold(), words, n=1)
    reason = f"The {column} is none of {', '.join(words)}."
    return LabelError(row=row, value=printable(value), nearest=near[0] if near else None, reason=reason)


def _reviewer_problem(row: int, reviewer: str) -> LabelError | None:
    if not reviewer:
        reason = "The row names no reviewer; every label in the ledger says who gave it."
    elif reviewer.startswith(RISKY):
        reason = f"The reviewer begins with {reviewer[0]!r}, which a spreadsheet runs as a formula."
    elif len(reviewer) > 255 or not reviewer.isprintable():
        reason = "The reviewer has control characters or more than 255 characters."
    else:
        return None
    return LabelError(row=row, value=printable(reviewer)[:200], nearest=None, reason=reason)


def _note_problem(row: int, note: str) -> LabelError | None:
    if any(ord(letter) < 32 and letter not in "\n\r\t" for letter in note):
        reason = "The note has control characters, which are never accepted."
    elif note.startswith(("=", "@")):
        reason = f"The note begins with {note[0]!r}, which a spreadsheet runs as a formula."
    else:
        return None
    return LabelError(row=row, value=printable(note)[:200], nearest=None, reason=reason)


def _request_id(event: NewLabelEvent) -> str:
    """The same statement by the same reviewer about the same image is one event, however often it is imported."""
    parts = [event.subject_id, event.label, event.who, event.note, event.certainty, event.source]
    return "import:" + hashlib.sha256(canonical_json(parts).encode("utf-8")).hexdigest()
