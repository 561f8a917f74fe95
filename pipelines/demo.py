"""The whole loop on real images, one command: each stage is idempotent by content, so a killed demo just goes on."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from data_contracts.progress import Progress
from data_contracts.vocabulary import Decision, Split
from data_contracts.workspace import Workspace
from pipelines.definitions.names import AssetName, Job
from pipelines.definitions.runner import run_job
from pipelines.demo_images import DemoImages, lay_out
from pipelines.demo_notes import DemoNotes
from pipelines.demo_report import DemoReport
from pipelines.demo_rounds import run_round, truth_by_image
from pipelines.demo_table import Interval, by_truth, judging_images, planted_found, review_against_chance
from pipelines.steps.initialise import initialise

PROFILE = "solar-el"
PLANTED_SHARE = 0.05
WHO = "tailsight demo"
WHY = "first model of the demo"
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """How much of the loop a demo runs: rounds of review, answers in each, and whether the last batch waits in full."""

    preset: str
    rounds: int
    budget: int
    hold: bool


PLANS = {False: Plan("standard", 2, 100, hold=True), True: Plan("quick", 1, 60, hold=False)}
"""By whether it is the quick demo."""


def run_demo(workspace: Workspace, *, quick: bool, seed: int, progress: Progress) -> DemoReport:
    """Run the loop: ingest, curate, train, evaluate, promote; then rounds of score, review, retrain; then judge it.

    Raises:
        BadInput: the demo's images are not installed, or the folder holds another workspace.
        TailsightError: a stage failed.
    """
    began = time.monotonic()
    plan = PLANS[quick]
    stages = Stages(workspace, progress)
    images = stages.timed("lay out", lambda: _begin(workspace, progress))
    production = sum(1 for batch in images.batches for _ in batch.glob("*.png"))
    stages.run(
        "ingest",
        Job.INGEST,
        {AssetName.IMAGES: {"images": str(images.labelled), "labels": str(images.labels), "who": WHO}},
    )
    first = _first_day(stages, images, plan, seed)
    candidate, dataset = str(first["train"]["model_version"]), str(first["curate"]["dataset_version"])
    seconds_per_image = workspace.profile.review.seconds_per_image
    outcomes = [
        run_round(stages, images, number, budget=plan.budget, seed=seed, seconds_per_image=seconds_per_image)
        for number in range(1, plan.rounds + 1)
    ]
    learned = next((o.model_version for o in reversed(outcomes) if o.model_version), candidate)
    waiting = _leave_a_queue(stages, images, plan, seed)
    judging = judging_images(workspace, images, dataset, rounds=plan.rounds)
    before, after = stages.timed(
        "judge", lambda: [by_truth(workspace, version, judging, progress) for version in (candidate, learned)]
    )
    arms = stages.timed(
        "arms",
        lambda: review_against_chance(
            workspace, images, candidate, dataset, judging, rounds=plan.rounds, budget=plan.budget, progress=progress
        ),
    )
    model = {"model": learned, "split": Split.TEST.value, "seed": seed}
    page = stages.run("report", Job.REPORT, {AssetName.HTML_REPORT: model})
    trainings = [o.train_seconds for o in outcomes if o.train_seconds is not None]
    test, gate, scored = first["evaluate"], first["promote"], first["score"]
    wrong, automatic = int(scored["automatic_wrong"]), int(scored["automatic_checked"])
    return DemoReport(
        workspace=str(workspace.folder),
        images=len(images.truth),
        labelled=images.labelled_count,
        production=production,
        dataset_version=dataset,
        champion=next((str(o.model_version) for o in reversed(outcomes) if o.promoted), str(gate["model_version"])),
        preset=plan.preset,
        test_images=int(test["n"]),
        judging_images=len(judging.image_ids),
        macro_f1_before=before.macro_f1,
        macro_f1_before_ci=before.macro_f1_ci,
        macro_f1_after=after.macro_f1,
        macro_f1_after_ci=after.macro_f1_ci,
        macro_f1_random=arms.random,
        macro_f1_random_ci=arms.random_ci,
        accuracy_before=before.accuracy,
        accuracy_after=after.accuracy,
        arms=arms,
        rounds=outcomes,
        planted_errors=len(images.planted),
        planted_errors_found=planted_found(workspace, images, truth_by_image(workspace, images)),
        full_training_seconds=float(first["train"]["training_seconds"]),
        incremental_training_seconds=sum(trainings) / len(trainings) if trainings else None,
        waiting=waiting,
        **{
            key: test[key]
            for name in ("macro_f1", "balanced_accuracy", "accuracy", "ece")
            for key in (name, f"{name}_ci")
        },
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
        scores=str(workspace.scores / "demo-first-day.parquet"),
        report=str(page["report"]),
        next_batch=str(images.batches[-1]),
        stage_seconds=stages.seconds,
        seconds=round(time.monotonic() - began, 1),
        peak_memory_mb=_peak_memory_mb(),
    )


def _first_day(stages: Stages, images: DemoImages, plan: Plan, seed: int) -> dict[str, dict[str, Any]]:
    """Reports of what happens before anybody is asked, by stage."""
    notes = DemoNotes(stages.workspace.folder / "demo" / "first-day.json")
    curated = {AssetName.DATASET.value: {"seed": seed}}
    training = {AssetName.CANDIDATE.value: {"preset": plan.preset, "seed": seed}}
    done = {"curate": notes.once("curate", lambda: stages.run("curate", Job.CURATE, curated))}
    done["train"] = notes.once("train", lambda: stages.run("train", Job.TRAIN, training))
    candidate = str(done["train"]["model_version"])
    model = {AssetName.EVALUATION.value: {"model": candidate, "split": Split.TEST.value, "seed": seed}}
    done["evaluate"] = notes.once("evaluate", lambda: stages.run("evaluate", Job.EVALUATE, model))
    done["promote"] = notes.once("promote", lambda: stages.promote(candidate, seed))
    scores = stages.workspace.scores / "demo-first-day.parquet"
    done["score"] = notes.once("score", lambda: _score_and_judge(stages, images, scores))
    return done


def _score_and_judge(stages: Stages, images: DemoImages, scores: Path) -> dict[str, Any]:
    scored = stages.score("score", images.batches[0], scores)
    wrong, automatic = _against_truth(scores, images.truth)
    return scored | {"automatic_wrong": wrong, "automatic_checked": automatic}


def _leave_a_queue(stages: Stages, images: DemoImages, plan: Plan, seed: int) -> int:
    """Score the last batch and queue it for whoever opens the app; returns how many tasks wait."""
    notes = DemoNotes(stages.workspace.folder / "demo" / "last-batch.json")
    scores = stages.workspace.scores / "demo-batch-last.parquet"
    asked = {"scores": [str(scores)], "budget": plan.budget, "hold": plan.hold, "seed": seed}
    request = {AssetName.REVIEW_ROUND.value: asked}
    notes.once("score", lambda: stages.score("score last", images.batches[-1], scores))
    return int(notes.once("queue", lambda: stages.run("queue last", Job.QUEUE, request))["waiting"])


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

    def score(self, name: str, batch: Path, out: Path) -> dict[str, Any]:
        """Score one production batch as its own partition."""
        from pipelines.steps.score import batch_key

        self.progress.say(f"[{len(self.seconds)}] {name}")
        config: dict[str, dict[str, Any]] = {AssetName.BATCH_SCORES: {"images": str(batch), "out": str(out)}}
        key = batch_key(self.workspace, str(batch))
        outcome = self.timed(
            name, lambda: run_job(self.workspace, Job.SCORE, config, progress=self.progress, batch=key)
        )
        return dict(outcome.report)


def _begin(workspace: Workspace, progress: Progress) -> DemoImages:
    initialise(workspace, PROFILE)
    return lay_out(workspace.folder / "demo", progress, planted_share=PLANTED_SHARE)


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
