"""The demo's review rounds: a batch arrives, people are asked, the model learns, the gate decides.

Where a round has got to is kept in the workspace's ``demo`` folder: a killed demo neither asks nor trains twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from data_contracts.ledger.images import occurrences_frame
from data_contracts.progress import Progress
from data_contracts.workspace import Workspace
from pipelines.definitions.names import RETRAIN_NODE, AssetName, Job
from pipelines.demo_images import DemoImages
from pipelines.demo_notes import DemoNotes
from pipelines.simulated_inspector import answer_queue
from pipelines.steps.ledger import open_ledger

READER = "demo inspector"
READER_ERROR = 0.02


class RoundOutcome(BaseModel):
    """One review round: what was asked, what was answered, and what became of the model that learned it.

    ``model_version`` is the candidate (``None`` where nothing was new), ``train_seconds`` its training alone.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    batch: str
    rows: int
    automatic: int
    asked: int
    answered: int
    wrong_answers: int
    by_reason: dict[str, int]
    model_version: str | None
    mode: str | None
    train_seconds: float | None
    promoted: bool
    gate_reasons: list[str]


class DemoStages(Protocol):
    """What a round needs of the demo: jobs that are timed, and where they run."""

    workspace: Workspace
    progress: Progress

    def run(self, name: str, job: Job, config: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Run a job and return its report."""

    def score(self, name: str, batch: Path, out: Path) -> dict[str, Any]:
        """Score one production batch as its own partition."""


def run_round(
    stages: DemoStages, images: DemoImages, number: int, *, budget: int, seed: int, seconds_per_image: float
) -> RoundOutcome:
    """One round on batch ``number`` (from 1): score, queue, answer, retrain, gate.

    Args:
        stages: where jobs run.
        images: the demo's images.
        number: of the round and of its batch.
        budget: learn tasks.
        seed: of the choice, of the inspector's errors and of the training.
        seconds_per_image: what the inspector says to have spent on an image.
    """
    workspace = stages.workspace
    notes = DemoNotes(workspace.folder / "demo" / f"round-{number}.json")
    scores = workspace.scores / f"demo-batch-{number:02d}.parquet"
    scored = notes.once("scored", lambda: stages.score(f"score {number}", images.batches[number - 1], scores))
    request = {"scores": [str(scores)], "budget": budget, "hold": False, "seed": seed}
    queue = notes.once(
        "queue", lambda: stages.run(f"queue {number}", Job.QUEUE, {AssetName.REVIEW_ROUND.value: request})
    )
    sitting = notes.once("sitting", lambda: _answer(stages, images, seed, seconds_per_image))
    asked = {"mode": "incremental", "seed": seed}
    retrained = notes.once("retrained", lambda: stages.run(f"retrain {number}", Job.RETRAIN, {RETRAIN_NODE: asked}))
    version = retrained["model_version"]
    decided = notes.once("decided", lambda: _decide(stages, number, version, seed))
    candidate = retrained["candidate"] or {}
    return RoundOutcome(
        number=number,
        batch=str(scored["batch"]),
        rows=int(scored["rows"]),
        automatic=int(scored["automatic"]),
        asked=int(queue["tasks"]),
        answered=int(sitting["answered"]),
        wrong_answers=int(sitting["wrong"]),
        by_reason=dict(sitting["by_reason"]),
        model_version=version,
        mode=retrained["mode"],
        train_seconds=candidate.get("training_seconds"),
        promoted=bool(decided["promoted"]),
        gate_reasons=list(decided["reasons"]),
    )


def truth_by_image(workspace: Workspace, images: DemoImages) -> dict[str, str]:
    """The true class of every demo image that the ledger knows, by image id."""
    with open_ledger(workspace) as ledger:
        places = occurrences_frame(ledger)
    names = places["path"].map(lambda path: Path(path).name)
    return {
        str(image_id): images.truth[name]
        for image_id, name in zip(places["image_id"], names, strict=True)
        if name in images.truth
    }


def _answer(stages: DemoStages, images: DemoImages, seed: int, seconds_per_image: float) -> dict[str, Any]:
    truth = truth_by_image(stages.workspace, images)
    with (
        stages.progress.step("A simulated inspector answers the queue"),
        open_ledger(stages.workspace) as ledger,
    ):
        sitting = answer_queue(
            ledger, READER, truth, error_share=READER_ERROR, seed=seed, seconds_per_image=seconds_per_image
        )
    return sitting.model_dump(mode="json")


def _decide(stages: DemoStages, number: int, version: str | None, seed: int) -> dict[str, Any]:
    """The gate's answer; a refused candidate is left where it is, and the champion goes on serving."""
    from pipelines.steps.promote import GateRefused

    if version is None:
        return {"promoted": False, "reasons": ["There was nothing new to learn."]}
    request = {"who": READER, "why": f"review round {number}", "version": version, "seed": seed}
    try:
        report = stages.run(f"promote {number}", Job.PROMOTE, {AssetName.CHAMPION.value: request})
    except GateRefused as refusal:
        stages.progress.say(refusal.what)
        return {"promoted": False, "reasons": list(refusal.report.reasons)}
    return {"promoted": bool(report["promoted"]), "reasons": list(report["reasons"])}
