"""Scoring a batch of files with a registered model: streaming, resumable, one row per file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput
from data_contracts.progress import SILENT, Progress
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Alias, Decision
from data_contracts.workspace import Workspace, write_atomically
from domain_models.compute import Threads
from pipelines.steps.score_files import BatchFile, ComputedBatch, batch_files, batch_name, computed_batches
from pipelines.steps.score_model import AUTO, ScoringModel, scoring_model
from pipelines.steps.score_names import ModelWords, counts_of, keep_words, tables_of, write_told
from pipelines.steps.score_parts import PROBABILITY, Parts, copy_whole, require_writable

ROWS_PER_PART = 512
"""A killed run repeats at most this many rows."""


class ScoreRequest(BaseModel):
    """Which files, which model, where to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str
    out: Path
    model: str = Alias.CHAMPION.value
    runtime: str = AUTO
    precision: str = AUTO
    batch_size: int | None = Field(default=None, ge=1, le=4096)


class ScoreReport(BaseModel):
    """What was scored. ``expected_error`` and its interval are of the automatic decisions, from calibration images.

    ``computed_by`` says what computed, with which numbers; ``remarks`` say where the classes have changed since the
    model was trained.
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


def check_engine(engine: str) -> None:
    """Accept the engines that exist.

    Raises:
        BadInput: it is another one.
    """
    if engine != "local":
        raise BadInput(f"There is no engine {engine!r}.", remedy="Engines: local.")


def score(workspace: Workspace, request: ScoreRequest, progress: Progress = SILENT) -> ScoreReport:
    """Score every file of a batch; killed at any moment, the same call goes on where it stopped.

    Files are decoded by threads while the model computes; memory holds a few batches whatever their number. A file that
    cannot be read has a row that says why. The same files scored again by the same model are not computed twice. Where
    classes were renamed or merged since the model was trained, ``out`` tells them, and decides, by the names of today.

    Raises:
        NotFound: no such files, or no such model.
        BadInput: the runtime is unknown or the output cannot be written.
        Busy: another process scores this batch.
    """
    began = time.monotonic()
    if request.out.suffix != ".parquet":
        raise BadInput(f"--out {request.out} is not a .parquet file.", remedy="Name it scores.parquet, for example.")
    require_writable(request.out)
    files = batch_files(request.images, ignore=[workspace.folder])
    batch = batch_name(request.images, files)
    model = scoring_model(workspace, request.model, request.runtime, request.precision)
    folder = workspace.scores / batch / model.key
    finished, counts_file = folder / "scores.parquet", folder / "counts.json"
    with workspace.lock(f"score-{batch}"):
        reused = finished.is_file() and counts_file.is_file()
        resumed = 0
        if not reused:
            parts = Parts(folder / "parts", rows=len(files), size=ROWS_PER_PART, classes=model.card.classes)
            missing = parts.missing()
            resumed = len(files) - sum(len(parts.spans()[part]) for part in missing)
            _compute_parts(workspace, files, parts, missing, model, request.batch_size, progress)
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
        remarks=model.today.sentences(model.version),
        reused=reused,
        resumed_rows=resumed,
        seconds=seconds,
        images_per_second=computed / seconds if computed else None,
    )


def _compute_parts(
    workspace: Workspace,
    files: Sequence[BatchFile],
    parts: Parts,
    missing: Sequence[int],
    model: ScoringModel,
    batch_size: int | None,
    progress: Progress,
) -> None:
    if not missing:
        return
    cores = read_settings().processes
    spans = parts.spans()
    with progress.step("Loading the model"):
        setting = model.throughput(workspace, sum(len(spans[part]) for part in missing), cores)
        compute = model.open(Threads(cores, setting.at_once))
    size = batch_size or setting.batch
    batches = [
        (part, files[start : min(start + size, span.stop)])
        for part in missing
        for span in [spans[part]]
        for start in range(span.start, span.stop, size)
    ]
    computed = computed_batches((batch for _, batch in batches), model.card.preprocessing, compute, threads=cores)
    with progress.step("Scoring", total=len(files)) as step, closing(computed):
        step.advance(len(files) - sum(len(spans[part]) for part in missing))
        waiting: list[ComputedBatch] = []
        for (part, _), batch in zip(batches, computed, strict=True):
            waiting.append(batch)
            step.advance(len(batch.files))
            if sum(len(one.files) for one in waiting) == len(spans[part]):
                parts.write(part, score_frame(waiting, model, parts.schema.names))
                waiting = []


def score_frame(batches: Sequence[ComputedBatch], model: ScoringModel, columns: Sequence[str]) -> pd.DataFrame:
    """Rows of a score table, one for each file, in order; a file without pixels has its error instead of a prediction.

    Args:
        batches: what was computed.
        model: whose calibration, costs and triage rule decide.
        columns: of the table.
    """
    logits = [batch.logits for batch in batches if batch.logits is not None]
    decided = iter(model.decider.decide(np.concatenate(logits)) if logits else [])
    rows = []
    for item in (item for batch in batches for item in batch.files):
        row: dict[str, Any] = {
            "path": str(item.file.path),
            "image_id": item.image_id,
            "decision": Decision.REVIEW.value,
            "model_version": model.version,
            "error": item.error,
        }
        if item.error is None:
            one = next(decided)
            row |= {name: getattr(one, name) for name in ("predicted", "confidence", "margin", "entropy")}
            row |= {"conformal_set": one.conformal_set, "decision": one.decision, "reason": one.reason}
            row |= _columns(one.probabilities, model.card.classes)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(columns))


def _columns(probabilities: NDArray[np.float64], classes: Sequence[str]) -> Mapping[str, float]:
    return {f"{PROBABILITY}{name}": float(value) for name, value in zip(classes, probabilities, strict=True)}
