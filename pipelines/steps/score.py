"""Scoring a batch of files with a registered model: streaming, resumable, one row per file."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput
from data_contracts.progress import SILENT, Progress
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace, write_atomically
from domain_models.compute import Threads
from pipelines.steps.score_files import BatchFile, ComputedBatch, computed_batches
from pipelines.steps.score_listing import batch_files, batch_name
from pipelines.steps.score_model import AUTO, ScoringModel, scoring_model
from pipelines.steps.score_names import ModelWords, counts_of, keep_words, tables_of, write_told
from pipelines.steps.score_parts import Parts, copy_whole, require_writable

BATCH_ELSEWHERE = 8
"""Images computed at once on machines that nobody has measured."""

ROWS_PER_PART = 512
"""A killed run repeats at most this many rows."""


class Engine(StrEnum):
    """Where the parts of a batch are computed: in this process, or by actors on a Ray cluster. The rows are alike."""

    LOCAL = "local"
    RAY = "ray"


class ScoreRequest(BaseModel):
    """Which files, which model, where to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str
    out: Path
    model: str = Alias.CHAMPION.value
    runtime: str = AUTO
    precision: str = AUTO
    batch_size: int | None = Field(default=None, ge=1, le=4096)
    engine: Engine = Engine.LOCAL
    ray_address: str | None = None


class ScoreReport(BaseModel):
    """What was scored. ``expected_error`` and its interval are of the automatic decisions, from calibration images.

    ``answered_early``: images that the small model of a cascade answered alone. ``computed_by`` says what computed,
    with which numbers; ``remarks`` say where the classes have changed since the model was trained, and why an
    artefact was passed over.
    """

    model_config = ConfigDict(frozen=True)

    out: str
    batch: str
    model_version: str
    runtime: str
    computed_by: str
    rows: int
    errors: int
    automatic: int
    review: int
    share_automatic: float
    expected_error: float | None
    expected_error_ci: tuple[float, float] | None
    error_limit: float
    reader_hours: float
    predicted: dict[str, int]
    reasons: dict[str, int]
    answered_early: int | None = None
    remarks: list[str]
    reused: bool
    resumed_rows: int
    seconds: float
    images_per_second: float | None


def batch_key(workspace: Workspace, images: str) -> str:
    """The name of the batch that ``images`` holds now: the key of its Dagster partition.

    Raises:
        NotFound: there is no such folder or no file matches.
    """
    return batch_name(images, batch_files(images, ignore=[workspace.folder]))


def check_engine(engine: str, ray_address: str | None = None) -> None:
    """Accept the engines that exist, before anything else is done.

    Raises:
        BadInput: it is another one, Ray is not installed, or its cluster does not answer.
    """
    if engine not in set(Engine):
        raise BadInput(f"There is no engine {engine!r}.", remedy=f"Engines: {', '.join(Engine)}.")
    if engine == Engine.RAY:
        from pipelines.steps.ray_session import require_ray

        require_ray(ray_address)
    elif ray_address is not None:
        raise BadInput("--ray-address is of --engine ray alone.", remedy="Add --engine ray, or leave the address out.")


def score(workspace: Workspace, request: ScoreRequest, progress: Progress = SILENT) -> ScoreReport:
    """Score every file of a batch; killed at any moment, the same call goes on where it stopped.

    Files are decoded by threads while the model computes; memory holds a few batches whatever their number. A file that
    cannot be read has a row that says why. The same files scored again by the same model are not computed twice. Where
    classes were renamed or merged since the model was trained, ``out`` tells them, and decides, by the names of today.

    Raises:
        NotFound: no such files, or no such model.
        BadInput: the runtime is unknown, the output cannot be written, or the engine cannot work here.
        Busy: another process scores this batch.
    """
    began = time.monotonic()
    if request.out.suffix != ".parquet":
        raise BadInput(f"--out {request.out} is not a .parquet file.", remedy="Name it scores.parquet, for example.")
    require_writable(request.out)
    files = batch_files(request.images, ignore=[workspace.folder])
    batch = batch_name(request.images, files)
    model = scoring_model(workspace, request.model, request.runtime, request.precision, progress)
    folder = workspace.scores / batch / model.key
    finished, counts_file = folder / "scores.parquet", folder / "counts.json"
    with workspace.lock(f"score-{batch}"):
        reused = finished.is_file() and counts_file.is_file()
        resumed = 0
        if not reused:
            parts = Parts(
                folder / "parts",
                rows=len(files),
                size=ROWS_PER_PART,
                classes=model.card.classes,
                cascade=model.card.cascade is not None,
            )
            missing = parts.missing()
            resumed = len(files) - sum(len(parts.spans()[part]) for part in missing)
            if request.engine is Engine.RAY:
                _compute_with_ray(files, parts, missing, model, request, progress)
            else:
                _compute_here(workspace, files, parts, missing, model, request, progress)
            write_atomically(counts_file, json.dumps(counts_of(parts.tables())))
            parts.merge(finished)
            parts.remove()
        keep_words(folder, model.card)
        if model.today.unchanged:
            copy_whole(finished, request.out)
            counts = json.loads(counts_file.read_text(encoding="utf-8"))
        else:
            write_told(finished, request.out, ModelWords.of(model.card), model.today)
            counts = counts_of(tables_of(request.out))
    seconds = time.monotonic() - began
    computed = 0 if reused else len(files) - resumed
    rule = model.decider.rule
    return ScoreReport(
        out=str(request.out),
        batch=batch,
        model_version=model.version,
        runtime=model.runtime,
        computed_by=model.described(),
        **counts,
        share_automatic=counts["automatic"] / counts["rows"],
        expected_error=rule.expected_error,
        expected_error_ci=rule.expected_error_ci,
        error_limit=rule.limit,
        reader_hours=counts["review"] * rule.seconds_per_image / 3600,
        remarks=model.remarks(),
        reused=reused,
        resumed_rows=resumed,
        seconds=seconds,
        images_per_second=computed / seconds if computed else None,
    )


def _compute_here(
    workspace: Workspace,
    files: Sequence[BatchFile],
    parts: Parts,
    missing: Sequence[int],
    model: ScoringModel,
    request: ScoreRequest,
    progress: Progress,
) -> None:
    if not missing:
        return
    cores = read_settings().processes
    spans = parts.spans()
    with progress.step("Loading the model"):
        setting = model.throughput(workspace, files, cores)
        opened = model.recipe.open(Threads(cores, setting.at_once))
    size = request.batch_size or setting.batch
    batches = (
        files[start : min(start + size, span.stop)]
        for span in map(spans.__getitem__, missing)
        for start in range(span.start, span.stop, size)
    )
    computed = computed_batches(batches, model.card.preprocessing, opened.compute, threads=cores)
    with progress.step("Scoring", total=len(files)) as step, closing(computed):
        step.advance(len(files) - sum(len(spans[part]) for part in missing))
        for part in missing:
            whole: list[ComputedBatch] = []
            while sum(len(one.files) for one in whole) < len(spans[part]):
                whole.append(next(computed))
                step.advance(len(whole[-1].files))
            parts.write(part, pd.DataFrame(opened.rows(whole), columns=parts.schema.names))


def _compute_with_ray(
    files: Sequence[BatchFile],
    parts: Parts,
    missing: Sequence[int],
    model: ScoringModel,
    request: ScoreRequest,
    progress: Progress,
) -> None:
    from pipelines.steps.score_ray import compute_parts_with_ray

    size, address = request.batch_size or BATCH_ELSEWHERE, request.ray_address
    compute_parts_with_ray(files, parts, missing, model.recipe, batch_size=size, address=address, progress=progress)
