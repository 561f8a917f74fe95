"""``queue``: a review round from scored batches, or from nothing but images, with all that the app will show."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.blobs import Blobs
from data_contracts.errors import BadInput
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import head
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.progress import SILENT, Progress
from data_contracts.review.records import RoundReport
from data_contracts.review.tasks import add_round, rounds_frame, tasks_frame
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import SubjectKind, TaskState
from data_contracts.workspace import Workspace
from domain_models.selection.strategies import StrategyName, parse_strategy
from domain_models.selection.uncertainty import named_pairs
from pipelines.steps.automatic_decisions import know_the_scored, publish_automatic
from pipelines.steps.display_copies import Copied, make_display_copies
from pipelines.steps.ledger import open_ledger
from pipelines.steps.queue_choice import RoundChoice, choose_tasks
from pipelines.steps.queue_model import RoundModel, load_round_model
from pipelines.steps.queue_pictures import overlays_of_tasks, shown_images
from pipelines.steps.queue_pool import RoundPool, build_pool
from pipelines.steps.queue_scores import NO_SCORES, ScoredBatches, finished_scores, read_scores
from pipelines.steps.queue_tasks import new_task, prepare_tasks

DUE_HOURS = 24.0
_PATIENCE = 600.0
_UNDER_WAY = (TaskState.OPEN, TaskState.LEASED, TaskState.ANSWERED)


class QueueRequest(BaseModel):
    """What to build a round from. Without ``scores``: every batch that the model has scored in this workspace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: int | None = Field(default=None, ge=0, description="learn tasks; the profile's budget_per_round if null")
    strategy: str = StrategyName.MIX.value
    scores: tuple[Path, ...] = ()
    model: str | None = None
    hold: bool = Field(default=True, description="whether flagged images of a batch wait")
    due_hours: float = Field(default=DUE_HOURS, gt=0, description="until a part that waits must be decided")
    copy_files: bool = Field(default=False, description="take custody of scored files")
    seed: int = 0


class QueueReport(BaseModel):
    """The round. ``tasks`` were queued now: ``hold`` wait, ``learn`` are within the budget (``audits`` among them).

    ``dropped_by_budget`` counts what has no label and found no room in the budget or the readers' week.
    """

    model_config = ConfigDict(frozen=True)

    round: str
    tasks: int
    hold: int
    learn: int
    audits: int
    by_reason: dict[str, int]
    dropped_by_budget: int
    already_open: int
    strategy: str
    budget: int
    capacity: int
    model_version: str | None
    batches: list[str]
    images_added: int
    unreadable: int
    files_gone: int
    display_copies: int
    display_failures: dict[str, str]
    confused_pairs: list[dict[str, Any]]
    set_aside: int
    waiting: int
    repeated: bool
    seconds: float


def build_queue(workspace: Workspace, request: QueueRequest, progress: Progress = SILENT) -> QueueReport:
    """Build one review round; the same again, with nothing new said or scored, adds nothing.

    Display copies come before tasks, and the tasks of a round come all at once: the app never meets a task whose
    picture is not there. Killed at any moment, the same command goes on where it stopped.

    Raises:
        BadInput: the strategy is unknown, score files do not go together, or there is no image at all.
        NotFound: a score file or the model does not exist.
        Busy: another process has been building a round here for ten minutes.
    """
    began = time.monotonic()
    strategy = parse_strategy(request.strategy)
    profile = workspace.require().profile
    budget = profile.review.budget_per_round if request.budget is None else request.budget
    with workspace.lock("queue", wait_seconds=_PATIENCE), open_ledger(workspace) as ledger:
        model, scored = _model_and_scores(workspace, current_taxonomy(ledger), request)
        added, gone = know_the_scored(workspace, ledger, scored, copy_files=request.copy_files, progress=progress)
        publish_automatic(workspace, ledger, scored)  # what is decided leaves, also if it is asked about to learn
        round_id = _round_id(ledger, scored, model, request, budget)
        blobs = Blobs(registered_roots(ledger))
        pool = build_pool(
            workspace,
            ledger,
            blobs,
            scored,
            model,
            by_group=profile.review.by_group,
            seed=request.seed,
            progress=progress,
        )
        if not len(pool.images):
            raise BadInput(
                "There is no image to ask about.",
                remedy="Ingest images with `tailsight ingest IMAGES`, or score a batch with `tailsight score`.",
            )
        choice = choose_tasks(
            pool,
            strategy,
            budget=budget,
            review=profile.review,
            waiting_images=_waiting_images(ledger),
            hold=request.hold,
            seed=request.seed,
        )
        if round_id in set(rounds_frame(ledger)["round_id"]):  # only what is missing of its pictures
            choice = RoundChoice((), budget, choice.capacity, choice.left_out)
        prepared = prepare_tasks(pool, choice.chosen)
        shown = shown_images(ledger, pool, prepared, round_id)
        copied = make_display_copies(workspace, blobs, shown, profile.input.max_megapixels, progress)
        overlays = overlays_of_tasks(workspace, ledger, blobs, pool, model, prepared, round_id, progress)
        due_at = datetime.now(UTC) + timedelta(hours=request.due_hours)
        tasks = [
            new_task(
                pool,
                one,
                review=profile.review,
                strategy=strategy.value,
                model_version=None if model is None else model.version,
                due_at=due_at,
                overlays=overlays,
                failed=copied.failed,
            )
            for one in prepared
        ]
        report = add_round(
            ledger,
            tasks,
            round_id=round_id,
            model_version=None if model is None else model.version,
            strategy=strategy.value,
            budget=None,  # kept already, together with the readers' capacity
            seed=request.seed,
        )
        waiting = len(tasks_frame(ledger, _UNDER_WAY))
    return _report(
        report,
        request,
        choice,
        pool,
        scored,
        model,
        copied,
        added=added,
        gone=gone,
        waiting=waiting,
        seconds=time.monotonic() - began,
    )


def _model_and_scores(
    workspace: Workspace, taxonomy: Taxonomy, request: QueueRequest
) -> tuple[RoundModel | None, ScoredBatches]:
    if request.scores:
        named = None if request.model is None else load_round_model(workspace, request.model)
        version = None if named is None else named.version
        scored = read_scores(request.scores, workspace=workspace, taxonomy=taxonomy, model_version=version)
        return named or load_round_model(workspace, scored.model_version), scored
    model = load_round_model(workspace, request.model)
    if model is None:
        return None, NO_SCORES
    files = finished_scores(workspace, model.version)
    return model, read_scores(files, workspace=workspace, taxonomy=taxonomy, model_version=model.version)


def _round_id(
    ledger: Ledger, scored: ScoredBatches, model: RoundModel | None, request: QueueRequest, budget: int
) -> str:
    content = [
        None if model is None else model.version,
        scored.content,
        parse_strategy(request.strategy).value,
        budget,
        request.hold,
        request.seed,
        head(ledger).hash,
        len(images_frame(ledger)),
    ]
    return f"r-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]}"


def _waiting_images(ledger: Ledger) -> int:
    """Images of the tasks under way."""
    tasks = tasks_frame(ledger, _UNDER_WAY)
    grouped = tasks.loc[tasks["subject_kind"] == SubjectKind.GROUP.value, "subject_id"]
    in_groups = images_frame(ledger)["group"].isin(set(grouped)).sum() if len(grouped) else 0
    return int(len(tasks) - len(grouped) + in_groups)


def _report(
    report: RoundReport,
    request: QueueRequest,
    choice: RoundChoice,
    pool: RoundPool,
    scored: ScoredBatches,
    model: RoundModel | None,
    copied: Copied,
    *,
    added: int,
    gone: int,
    waiting: int,
    seconds: float,
) -> QueueReport:
    pairs = () if model is None else named_pairs(pool.pool.confusion, pool.taxonomy.names, 5)
    return QueueReport(
        round=report.round_id,
        tasks=report.queued,
        hold=report.hold,
        learn=report.learn,
        audits=sum(1 for one in choice.chosen if one.audit),
        by_reason=report.by_reason,
        dropped_by_budget=choice.left_out,
        already_open=report.already_open,
        strategy=parse_strategy(request.strategy).value,
        budget=choice.budget,
        capacity=choice.capacity,
        model_version=None if model is None else model.version,
        batches=sorted(scored.frame["batch"].unique()),
        images_added=added,
        unreadable=scored.unreadable,
        files_gone=gone,
        display_copies=copied.made,
        display_failures=copied.failed,
        confused_pairs=[{"first": one.first, "second": one.second, "share": one.share} for one in pairs],
        set_aside=int(pool.images["set_aside"].sum()) if len(pool.images) else 0,
        waiting=waiting,
        repeated=report.repeated,
        seconds=round(seconds, 2),
    )
