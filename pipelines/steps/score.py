"""Scoring a batch of files with a registered model: streaming, resumable, one row per file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.progress import SILENT, Progress
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace, write_atomically
from domain_models.model_package import ModelCard, read_card
from domain_models.runtimes import Compute, open_runtime, resolve_runtime
from pipelines.steps.decisions import Decider
from pipelines.steps.ledger import open_ledger
from pipelines.steps.model_classes import ClassesToday, classes_today
from pipelines.steps.registry import open_registry, resolve_model
from pipelines.steps.score_files import BatchFile, batch_files, batch_name, prepared_batches
from pipelines.steps.score_names import ModelWords, counts_of, keep_words, tables_of, write_told
from pipelines.steps.score_parts import Parts, copy_whole, require_writable
from pipelines.steps.score_recipe import ModelRecipe
from pipelines.steps.score_rows import rows_of

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
    runtime: str = "auto"
    batch_size: int = Field(default=64, ge=1, le=4096)
    engine: Engine = Engine.LOCAL
    ray_address: str | None = None


class ScoreReport(BaseModel):
    """What was scored. ``expected_error`` and its interval are of the automatic decisions, from calibration images.

    ``remarks`` say where the classes have changed since the model was trained.
    """

    model_config = ConfigDict(frozen=True)

    out: str
    batch: str
    model_version: str
    runtime: str
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


@dataclass(frozen=True)
class _Model:
    version: str
    runtime: str
    card: ModelCard
    decider: Decider
    today: ClassesToday
    load: Callable[[], Compute]
    recipe: ModelRecipe


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
    model = _model(workspace, request)
    folder = workspace.scores / batch / f"{model.version}-{model.runtime}"
    finished, counts_file = folder / "scores.parquet", folder / "counts.json"
    with workspace.lock(f"score-{batch}"):
        reused = finished.is_file() and counts_file.is_file()
        resumed = 0
        if not reused:
            parts = Parts(folder / "parts", rows=len(files), size=ROWS_PER_PART, classes=model.card.classes)
            missing = parts.missing()
            resumed = len(files) - sum(len(parts.spans()[part]) for part in missing)
            if request.engine is Engine.RAY:
                _compute_parts_with_ray(files, parts, missing, model, request, progress)
            else:
                _compute_parts(files, parts, missing, model, request.batch_size, progress)
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


def _model(workspace: Workspace, request: ScoreRequest) -> _Model:
    with open_registry(workspace) as registry:
        version = resolve_model(registry, request.model)
        package = registry.package(version)
    card = read_card(package)
    runtime = resolve_runtime(request.runtime, package)
    with open_ledger(workspace) as ledger:
        today = classes_today(card.classes, card.taxonomy_version, current_taxonomy(ledger))
    return _Model(
        version=version,
        runtime=runtime.value,
        card=card,
        decider=Decider.from_card(card),
        today=today,
        load=lambda: open_runtime(runtime, package, card),
        recipe=ModelRecipe(version, runtime, package),
    )


def _compute_parts(
    files: Sequence[BatchFile],
    parts: Parts,
    missing: Sequence[int],
    model: _Model,
    batch_size: int,
    progress: Progress,
) -> None:
    if not missing:
        return
    with progress.step("Loading the model"):
        compute = model.load()
    spans = parts.spans()
    batches = [
        (part, files[start : min(start + batch_size, span.stop)])
        for part in missing
        for span in [spans[part]]
        for start in range(span.start, span.stop, batch_size)
    ]
    prepared = prepared_batches(
        (batch for _, batch in batches), model.card.preprocessing, threads=read_settings().processes
    )
    with progress.step("Scoring", total=len(files)) as step, closing(prepared):
        step.advance(len(files) - sum(len(spans[part]) for part in missing))
        rows: list[dict[str, Any]] = []
        for (part, _), batch in zip(batches, prepared, strict=True):
            rows += rows_of(batch, compute, model.decider, model.card.classes, model.version)
            step.advance(len(batch))
            if len(rows) == len(spans[part]):
                parts.write(part, pd.DataFrame(rows, columns=parts.schema.names))
                rows = []


def _compute_parts_with_ray(
    files: Sequence[BatchFile],
    parts: Parts,
    missing: Sequence[int],
    model: _Model,
    request: ScoreRequest,
    progress: Progress,
) -> None:
    from pipelines.steps.score_ray import compute_parts_with_ray

    compute_parts_with_ray(
        files,
        parts,
        missing,
        model.recipe,
        batch_size=request.batch_size,
        address=request.ray_address,
        progress=progress,
    )
