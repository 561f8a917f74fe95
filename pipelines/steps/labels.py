"""The ledger's labels from and to files: import, export, history, verify."""

from __future__ import annotations

import csv as csv_format
import io
import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from data_contracts.errors import BadInput, NotFound
from data_contracts.ledger.conflicts import record_conflicts
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame, head, history
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.image_names import ImageNames
from data_contracts.ledger.images import find_images, images_frame, occurrences_frame
from data_contracts.ledger.taxonomies import follow_profile, save_taxonomy
from data_contracts.ledger.verify import verify_chain
from data_contracts.progress import SILENT, Progress
from data_contracts.records import Conflict, LabelEvent
from data_contracts.vocabulary import ConflictKind, Source, SubjectKind
from data_contracts.workspace import Workspace
from pipelines.steps.labels_rows import ReadRow, ReadRows, neutralised, read_rows
from pipelines.steps.ledger import open_ledger

EXPORT_COLUMNS = (
    "image", "image_id", "label", "reviewer", "note", "certainty", "source", "at", "group", "bad_image",
)  # fmt: skip
"""Columns of an export; an import reads them back."""

_CHUNK = 5_000
_NAMED = 20


def import_labels(workspace: Workspace, csv: Path, progress: Progress = SILENT) -> dict[str, Any]:
    """Append the labels of a CSV; importing the same file again appends nothing.

    An imported label never overrides what a person answered; it is listed under ``conflicts``. ``superseded`` are rows
    that were imported before and have been replaced by a later import since.

    Args:
        workspace: whose ledger.
        csv: columns ``image`` or ``image_id``, ``label``, ``reviewer``[, ``note, certainty, source``]; paths are
            relative to the CSV's folder, else to where the images were ingested.
        progress: hears of rows.

    Returns:
        Integers ``rows, imported, already_known``, lists ``conflicts: [{row, image_id, imported, current, source}]``,
        ``superseded`` (alike), ``label_errors: [{row, value, nearest, reason}]``, ``warnings, new_classes``, the
        ledger's ``head`` and ``seconds``.

    Raises:
        LabelFileError: the file as a whole cannot be used.
    """
    began = time.monotonic()
    with open_ledger(workspace) as ledger:
        taxonomy, remarks = follow_profile(ledger, workspace.profile.taxonomy, "profile")
        read = read_rows(csv, ImageNames(ledger), taxonomy)
        if read.judgement.new_classes and read.rows:
            taxonomy = save_taxonomy(
                ledger, taxonomy.extended(list(read.judgement.new_classes)), "import", f"first labels, from {csv.name}"
            )
        before = head(ledger).sequence
        new = _restating_nothing(ledger, read.rows)
        with progress.step("Importing labels", len(new)) as step:
            for start in range(0, len(new), _CHUNK):
                part = new[start : start + _CHUNK]
                append_events(ledger, [row.event for row in part])
                step.advance(len(part))
        record_conflicts(ledger, _disagreements(read.rows))
        end = head(ledger)
        conflicts, superseded = _overruled(ledger, read)
    return {
        "file": str(csv),
        "rows": read.total,
        "imported": end.sequence - before,
        "already_known": len(read.rows) - (end.sequence - before),
        "conflicts": conflicts,
        "superseded": superseded,
        "label_errors": [error.model_dump(mode="json") for error in read.errors],
        "warnings": [*remarks, *read.warnings],
        "new_classes": list(read.judgement.new_classes),
        "head": end.model_dump(mode="json"),
        "seconds": round(time.monotonic() - began, 3),
    }


def export_labels(workspace: Workspace, file: Path) -> dict[str, Any]:
    """Write the current label of every labelled image to a CSV, whole or not at all.

    Cells that a spreadsheet would run as a formula get a quotation mark in front; an import takes it off again.

    Returns:
        ``file, labels`` (rows written), ``bad_images`` (of them), ``unlabelled`` (images not in the file), ``head``.

    Raises:
        BadInput: the file cannot be written.
    """
    with open_ledger(workspace) as ledger:
        answers = image_answers(ledger)
        notes = events_frame(ledger).set_index("event_id")["note"]
        places = occurrences_frame(ledger).drop_duplicates("image_id").set_index("image_id")["path"]
        groups = images_frame(ledger).set_index("image_id")["group"]
        end = head(ledger)
    known = answers[answers["label"].notna() | answers["bad_image"]]
    table = pd.DataFrame(
        {
            "image": known["image_id"].map(places),
            "image_id": known["image_id"],
            "label": known["label"],
            "reviewer": known["who"],
            "note": known["event_id"].map(notes),
            "certainty": known["certainty"],
            "source": known["source"],
            "at": known["at"].map(lambda instant: instant.isoformat() if pd.notna(instant) else None),
            "group": known["image_id"].map(groups),
            "bad_image": known["bad_image"].map({True: "yes", False: "no"}),
        },
        columns=list(EXPORT_COLUMNS),
    )
    _write_csv(table, file)
    return {
        "file": str(file),
        "labels": int(known["label"].notna().sum()),
        "bad_images": int(known["bad_image"].sum()),
        "unlabelled": len(answers) - len(known),
        "head": end.model_dump(mode="json"),
    }


def label_history(workspace: Workspace, name: str) -> dict[str, Any]:
    """Everything that was said of one image and of its group.

    Args:
        workspace: whose ledger.
        name: image id or its start, file name, path or external id.

    Returns:
        ``image_id, paths, group, label, source, bad_image`` as they stand, and ``events`` from the oldest on.

    Raises:
        NotFound: no image goes by this name.
        BadInput: several do.
    """
    with open_ledger(workspace) as ledger:
        found = find_images(ledger, name)
        if not found:
            near = ImageNames(ledger).nearest(name)
            raise NotFound(
                f"No ingested image goes by the name {name!r}.",
                remedy=f"Did you mean {near!r}?"
                if near
                else "Give an image id, a path, a file name or an external id.",
            )
        if len(found) > 1:
            shown = ", ".join(image_id[:12] for image_id in found[:_NAMED])
            raise BadInput(
                f"{len(found)} images go by the name {name!r}: {shown}{' …' if len(found) > _NAMED else ''}.",
                remedy="Give the path, or the beginning of the image id.",
            )
        image_id = found[0]
        answer = image_answers(ledger).set_index("image_id").loc[image_id]
        image = images_frame(ledger).set_index("image_id").loc[image_id]
        occurrences = occurrences_frame(ledger)
        events = history(ledger, image_id)
    return {
        "image_id": image_id,
        "paths": list(occurrences.loc[occurrences["image_id"] == image_id, "path"]),
        "group": image["group"] if pd.notna(image["group"]) else None,
        "label": answer["label"],
        "source": answer["source"],
        "bad_image": bool(answer["bad_image"]),
        "events": [_event_json(event) for event in events],
    }


def verify_labels(workspace: Workspace, progress: Progress = SILENT) -> dict[str, Any]:
    """Check every chain and anchor of the ledger: ``ok, events, promotions, problems, head``."""
    with open_ledger(workspace) as ledger:
        found = verify_chain(ledger, progress)
        end = head(ledger)
    return {
        "ok": found.ok,
        "events": found.events,
        "promotions": found.promotions,
        "problems": list(found.problems),
        "head": end.model_dump(mode="json"),
    }


def _restating_nothing(ledger: Ledger, rows: tuple[ReadRow, ...]) -> list[ReadRow]:
    """Rows without those that say word for word what holds already, as a whole export does that is imported again."""
    answers = image_answers(ledger)
    notes = answers["event_id"].map(events_frame(ledger).set_index("event_id")["note"]).astype(object)
    notes = notes.where(notes.notna(), None)
    held = dict(
        zip(
            answers["image_id"],
            zip(answers["label"], answers["source"], answers["who"], answers["certainty"], notes, strict=True),
            strict=True,
        )
    )
    times = Counter(row.event.subject_id for row in rows)
    return [
        row
        for row in rows
        if times[row.event.subject_id] > 1
        or held[row.event.subject_id]
        != (row.event.label, row.event.source, row.event.who, row.event.certainty, row.event.note)
    ]


def _disagreements(rows: tuple[ReadRow, ...]) -> list[Conflict]:
    """Images that one file gives two labels of equal weight."""
    said: defaultdict[tuple[str, Source], dict[str, int]] = defaultdict(dict)
    for item in rows:
        if item.event.label is not None:
            said[item.event.subject_id, item.event.source].setdefault(item.event.label, item.row)
    return [
        Conflict(
            kind=ConflictKind.DUPLICATE_LABELS,
            subject_kind=SubjectKind.IMAGE,
            subject_id=image_id,
            labels=tuple(labels),
            detail="One file gives the image several labels: "
            + ", ".join(f"{label!r} in row {row}" for label, row in labels.items())
            + ". The last of them stands.",
        )
        for (image_id, _), labels in said.items()
        if len(labels) > 1
    ]


def _overruled(ledger: Ledger, read: ReadRows) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows whose label does not hold: because a stronger answer does, or because a later import does."""
    answers = image_answers(ledger).set_index("image_id")
    actions = events_frame(ledger).set_index("event_id")["action"]
    current, sources = answers["label"].to_dict(), answers["source"].to_dict()
    events = answers["event_id"].to_dict()
    conflicts: list[dict[str, Any]] = []
    superseded: list[dict[str, Any]] = []
    for item in read.rows:
        image_id = item.event.subject_id
        if current[image_id] == item.event.label or current[image_id] is None:
            continue
        entry = {
            "row": item.row,
            "image_id": image_id,
            "imported": item.event.label,
            "current": current[image_id],
            "source": sources[image_id],
        }
        replaced = sources[image_id] == item.event.source and actions[events[image_id]] == "import"
        (superseded if replaced else conflicts).append(entry)
    return conflicts, superseded


def _event_json(event: LabelEvent) -> dict[str, Any]:
    return event.model_dump(mode="json")


def _write_csv(table: pd.DataFrame, file: Path) -> None:
    text = io.StringIO()
    writer = csv_format.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.astype(object).where(table.notna(), "").itertuples(index=False, name=None):
        writer.writerow([neutralised(str(cell)) for cell in row])
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadInput(
            f"{file} cannot be written ({error.strerror}).", remedy="Check the folder and its rights."
        ) from None
