"""The whole loop on real images, one command: each stage is idempotent by content, so a killed demo just goes on."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict

from data_contracts.progress import Progress
from data_contracts.vocabulary import Decision, Split
from data_contracts.workspace import Workspace
from pipelines.definitions.names import AssetName, Job
from pipelines.definitions.runner import run_job
from pipelines.demo_images import DemoImages, lay_out
from pipelines.steps.initialise import initialise

PROFILE = "solar-el"
WHO = "tailsight demo"
WHY = "first model of the demo"
Interval = tuple[float, float]
T = TypeVar("T")


class DemoReport(BaseModel):
    """Every figure of the demo; intervals are 95%.

    ``macro_f1_before`` is the champion's on the test images, before any review round. ``automatic_error`` compares the
    automatic decisions on the production batch with what the experts said of it, which no factory would know.
    """

    model_config = ConfigDict(frozen=True)

    workspace: str
    images: int
    labelled: int
    production: int
    dataset_version: str
    champion: str
    preset: str
    test_images: int
    macro_f1_before: float
    macro_f1_before_ci: Interval | None
    balanced_accuracy: float
    balanced_accuracy_ci: Interval | None
    accuracy: float
    accuracy_ci: Interval | None
    ece: float
    ece_ci: Interval | None
    ece_of_a_calibrated_model: float
    escape_rate: float | None
    overkill_rate: float | None
    gate_passed: bool
    gate_overridden: bool
    gate_reasons: list[str]
    batch: str
    batch_rows: int
    automatic: int
    review: int
    share_automatic: float
    error_limit: float
    expected_error: float | None
    expected_error_ci: Interval | None
    automatic_wrong: int
    automatic_error: float | None
    automatic_error_ci: Interval | None
    reader_hours: float
    scores: str
    report: str
    next_batch: str
    stage_seconds: dict[str, float]
    seconds: float
    peak_memory_mb: int


def run_demo(workspace: Workspace, *, quick: bool, seed: int, progress: Progress) -> DemoReport:
    """Run the loop: lay out, ingest, curate, train, evaluate, promote, score a batch, report.

    Raises:
        BadInput: the demo's images are not installed, or the folder holds another workspace.
        TailsightError: a stage failed or the gate refused.
    """
    began = time.monotonic()
    preset = "quick" if quick else "standard"
    stages = Stages(workspace, progress)
    images = stages.timed("lay out", lambda: _begin(workspace, progress))
    production = sum(1 for batch in images.batches for _ in batch.glob("*.png"))
    stages.run(
        "ingest",
        Job.INGEST,
        {AssetName.IMAGES: {"images": str(images.labelled), "labels": str(images.labels), "who": WHO}},
    )
    dataset = stages.run("curate", Job.CURATE, {AssetName.DATASET: {"seed": seed}})
    trained = stages.run("train", Job.TRAIN, {AssetName.CANDIDATE: {"preset": preset, "seed": seed}})
    candidate = str(trained["model_version"])
    model = {"model": candidate, "split": Split.TEST.value, "seed": seed}
    test = stages.run("evaluate", Job.EVALUATE, {AssetName.EVALUATION: model})
    gate = stages.promote(candidate, seed)
    scores = workspace.scores / "demo-batch-01.parquet"
    scored = stages.score(images.batches[0], scores)
    page = stages.run("report", Job.REPORT, {AssetName.HTML_REPORT: model})
    wrong, automatic = _against_truth(scores, images.truth)
    return DemoReport(
        workspace=str(workspace.folder),
        images=len(images.truth) + images.labelled_count,
        labelled=images.labelled_count,
        production=production,
        dataset_version=str(dataset["dataset_version"]),
        champion=str(gate["model_version"]),
        preset=preset,
        test_images=int(test["n"]),
        macro_f1_before=test["macro_f1"],
        macro_f1_before_ci=test["macro_f1_ci"],
        **{key: test[key] for name in ("balanced_accuracy", "accuracy", "ece") for key in (name, f"{name}_ci")},
        ece_of_a_calibrated_model=test["ece_of_a_calibrated_model"],
        escape_rate=test["escape_rate"],
        overkill_rate=test["overkill_rate"],
        gate_passed=bool(gate["passed"]),
        gate_overridden=bool(gate["override"]),
        gate_reasons=list(gate["reasons"]),
        batch=str(scored["batch"]),
        batch_rows=int(scored["rows"]),
        **{
            key: scored[key]
            for key in (
                "automatic",
                "review",
                "share_automatic",
                "error_limit",
                "expected_error",
                "expected_error_ci",
                "reader_hours",
            )
        },
        automatic_wrong=wrong,
        automatic_error=wrong / automatic if automatic else None,
        automatic_error_ci=_share_interval(wrong, automatic),
        scores=str(scores),
        report=str(page["report"]),
        next_batch=str(images.batches[1]),
        stage_seconds=stages.seconds,
        seconds=round(time.monotonic() - began, 1),
        peak_memory_mb=_peak_memory_mb(),
    )


class Stages:
    """The stages of one demo run and how long each took."""

    def __init__(self, workspace: Workspace, progress: Progress) -> None:
        self.workspace = workspace
        self.progress = progress
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """Run ``work`` and note its time."""
        began = time.monotonic()
        result = work()
        self.seconds[name] = round(time.monotonic() - began, 1)
        return result

    def run(self, name: str, job: Job, config: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Run a job and return its report."""
        self.progress.say(f"[{len(self.seconds)}] {name}")
        outcome = self.timed(name, lambda: run_job(self.workspace, job, config, progress=self.progress))
        return dict(outcome.report)

    def promote(self, candidate: str, seed: int) -> dict[str, Any]:
        """Ask the gate; where it refuses, go on as a person would have to: with an override that is recorded as one."""
        from pipelines.steps.promote import GateRefused

        request = {"who": WHO, "why": WHY, "version": candidate, "seed": seed}
        try:
            return self.run("promote", Job.PROMOTE, {AssetName.CHAMPION: request})
        except GateRefused as refusal:
            self.progress.say(refusal.what)
            self.progress.say("The demo overrides the gate to show the rest of the loop; the ledger says so.")
        overriding = request | {"override": True, "why": f"{WHY}; the gate refused, the demo goes on to show the rest"}
        return self.run("promote", Job.PROMOTE, {AssetName.CHAMPION: overriding})

    def score(self, batch: Path, out: Path) -> dict[str, Any]:
        """Score one production batch as its own partition."""
        from pipelines.steps.score import batch_key

        self.progress.say(f"[{len(self.seconds)}] score")
        config: dict[str, dict[str, Any]] = {AssetName.BATCH_SCORES: {"images": str(batch), "out": str(out)}}
        key = batch_key(self.workspace, str(batch))
        outcome = self.timed(
            "score", lambda: run_job(self.workspace, Job.SCORE, config, progress=self.progress, batch=key)
        )
        return dict(outcome.report)


def _begin(workspace: Workspace, progress: Progress) -> DemoImages:
    initialise(workspace, PROFILE)
    return lay_out(workspace.folder / "demo", progress)


def _against_truth(scores: Path, truth: Mapping[str, str]) -> tuple[int, int]:
    """(wrong, all) of the automatic decisions, by the experts' grades."""
    frame = pd.read_parquet(scores, columns=["path", "predicted", "decision"])
    automatic = frame[frame["decision"] == Decision.AUTO.value]
    expected = automatic["path"].map(lambda path: truth[Path(path).name])
    return int((expected != automatic["predicted"]).sum()), len(automatic)


def _share_interval(part: int, whole: int) -> Interval | None:
    from domain_models.intervals import clopper_pearson

    return clopper_pearson(part, whole)


def _peak_memory_mb() -> int:
    """Peak resident memory of this process, and of its largest child, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round((own + children) * unit / 2**20)
