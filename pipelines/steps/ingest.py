"""``ingest``: images and what is said of them into the ledger; nothing good lost, nothing twice.

The order makes a kill at any moment harmless: files are read in chunks, each a transaction; groups, labels and
near-duplicates follow once all files are known, and each of these steps does again only what is missing.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.label_files import LabelColumns, LabelFile, header_of, read_label_file
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.near_duplicates import near_duplicates_frame
from data_contracts.object_storage import place_of
from data_contracts.profile import Profile
from data_contracts.progress import SILENT, Progress
from data_contracts.settings import read_settings
from data_contracts.vocabulary import ConflictKind
from data_contracts.workspace import Workspace
from pipelines.steps.group_hints import file_name_hints, group_column_hints
from pipelines.steps.ingest_bindings import bind, near_duplicate_conflicts
from pipelines.steps.ingest_discovery import Discovery, discover
from pipelines.steps.ingest_files import Taken, take_files
from pipelines.steps.ingest_labels import import_statements
from pipelines.steps.ingest_statements import Statements, statements_of_folders, statements_of_rows
from pipelines.steps.near_duplicates import find_near_duplicates, large_component_warnings


class IngestRequest(BaseModel):
    """What to take in. ``images`` is a folder, a glob, a file or an address; without ``labels`` class folders label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str | Path
    labels: Path | None = None
    image_column: str = "image"
    label_column: str = "label"
    group_column: str | None = None
    split_column: str | None = None
    id_columns: tuple[str, ...] = ()
    allow_new_classes: bool = False
    copy_files: bool = False
    who: str = Field(default="unknown", min_length=1)


class SetAside(BaseModel):
    """A file in quarantine, and why."""

    path: str
    reason: str


class RowError(BaseModel):
    """A row (or class folder, then without a number) whose label could not be used."""

    row: int | None
    value: str
    nearest: str | None
    reason: str


class IngestReport(BaseModel):
    """What became of everything that was offered.

    ``added`` and ``already_known`` count distinct images, ``duplicates`` the further files with the same bytes,
    ``near_duplicates`` confirmed pairs with an image of this delivery, ``conflicts`` and ``unlabelled`` images of it.
    """

    added: int
    already_known: int
    duplicates: int
    near_duplicates: int
    conflicts: int
    unlabelled: int
    quarantined: list[SetAside]
    label_errors: list[RowError]
    warnings: list[str]
    seconds: float


def ingest(workspace: Workspace, request: IngestRequest, progress: Progress = SILENT) -> IngestReport:
    """Take images and labels in; the same again adds nothing and reads no file that is unchanged.

    Raises:
        NotFound: there is no such folder, or the workspace is none.
        BadInput: the path is neither a folder, a file nor a glob.
        LabelFileError: the labels CSV as a whole cannot be used.
        Busy: another ingest is at work in this workspace.
    """
    started = time.monotonic()
    profile, settings = workspace.require().profile, read_settings()
    label_file = _labels(request, profile)
    with workspace.lock("ingest"), Ledger.open(workspace, settings) as ledger:
        found = _discover(workspace, request, progress)
        said = statements_of_folders(found) if label_file is None else statements_of_rows(label_file, found)
        batch = f"{datetime.now(UTC):%Y%m%dT%H%M%S} {found.root.name}"[:200]
        taken = take_files(
            workspace,
            ledger,
            found,
            said.by_path(),
            batch=batch,
            copy_files=request.copy_files,
            max_megapixels=profile.input.max_megapixels,
            processes=settings.processes,
            progress=progress,
        )
        progress.say("Recording groups and labels.")
        of_image = taken.statements_by_image(said)
        bindings = bind(ledger, of_image)
        labels = import_statements(
            ledger,
            profile,
            of_image,
            taken.other_places,
            who=request.who,
            origin=(label_file.path if label_file else found.root).name,
            allow_new_classes=request.allow_new_classes,
        )
        search = find_near_duplicates(workspace, ledger, max_megapixels=profile.input.max_megapixels, progress=progress)
        seen = taken.image_ids
        current = image_labels(ledger)
        pairs = near_duplicates_frame(ledger)
        pairs = pairs[pairs["image_a"].isin(seen) | pairs["image_b"].isin(seen)]
        label_of = dict(zip(current["image_id"], current["label"], strict=True))
        conflicts = [*bindings, *labels.conflicts, *near_duplicate_conflicts(ledger, pairs, label_of)]
        undecided = {c.subject_id for c in conflicts if c.kind is ConflictKind.DUPLICATE_LABELS}
        without = {image for image in seen if label_of[image] is None}
    return IngestReport(
        added=len(taken.new),
        already_known=len(seen) - len(taken.new),
        duplicates=taken.occurrences - len(seen),
        near_duplicates=len(pairs),
        conflicts=len({(c.kind, c.subject_id) for c in conflicts}),
        unlabelled=len(without - undecided),
        quarantined=[SetAside(path=f.path, reason=f.reason) for f in taken.set_aside],
        label_errors=[
            RowError(**error.model_dump())
            for error in sorted([*said.errors, *labels.errors], key=lambda error: error.row or 0)
        ],
        warnings=[
            *said.warnings,
            *labels.warnings,
            *_hints(label_file, said, found),
            *search.warnings,
            *_look_alikes(pairs, len(current)),
            *_remarks(found, taken),
        ],
        seconds=round(time.monotonic() - started, 2),
    )


def _labels(request: IngestRequest, profile: Profile) -> LabelFile | None:
    if request.labels is None:
        return None
    group = request.group_column
    if group is None and profile.group_column in header_of(request.labels, request.image_column):
        group = profile.group_column
    columns = LabelColumns(request.image_column, request.label_column, group, request.split_column, request.id_columns)
    return read_label_file(request.labels, columns)


def _discover(workspace: Workspace, request: IngestRequest, progress: Progress) -> Discovery:
    progress.say(f"Looking through {request.images}.")
    own = (
        workspace.custody,
        workspace.datasets,
        workspace.cache,
        workspace.runs,
        workspace.mlflow,
        workspace.dagster,
        workspace.scores,
        workspace.reports,
        workspace.locks,
    )
    return discover(place_of(request.images), ignore=[*own, *([request.labels] if request.labels else [])])


def _look_alikes(pairs: pd.DataFrame, n_images: int) -> list[str]:
    """What a person should know of the near-duplicates."""
    bound = pairs[pairs["binding"]]
    n = len(pairs) - len(bound)
    sentences = []
    if n:
        sentences.append(
            f"{n:,} near-duplicate {'pair is' if n == 1 else 'pairs are'} smaller than 64 px: reported, not bound, "
            "because so few pixels may look alike by chance."
        )
    return sentences + large_component_warnings(list(zip(bound["image_a"], bound["image_b"], strict=True)), n_images)


def _hints(label_file: LabelFile | None, said: Statements, found: Discovery) -> list[str]:
    """Sentences about groups that were probably forgotten."""
    if any(statement.group for statement in said.statements):
        return []
    hints = group_column_hints(label_file.other_values) if label_file else []
    return hints or file_name_hints(found.files, len({s.label for s in said.statements}))


def _remarks(found: Discovery, taken: Taken) -> list[str]:
    remarks = []
    if found.other_kinds:
        kinds = ", ".join(
            f"{kind} {n:,}" for kind, n in sorted(found.other_kinds.items(), key=lambda item: -item[1])[:6]
        )
        remarks.append(f"Files that are no images were passed over: {kinds}.")
    if not taken.image_ids:
        remarks.append("No image was taken in; check the path.")
    return remarks
