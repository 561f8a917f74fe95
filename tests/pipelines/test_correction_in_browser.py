"""One correction made in a browser, followed to the gate's decision: nobody types another command (slow)."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import dataset
from data_contracts.ledger.events import events_frame
from data_contracts.ledger.promotions import looks
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import GateLook
from data_contracts.review.tasks import task
from data_contracts.vocabulary import Source
from data_contracts.workspace import Workspace
from pipelines.definitions.instance import open_instance
from pipelines.definitions.names import RETRAIN_NODE, SETTLE_NODE, Job
from pipelines.steps.registry import open_registry
from pipelines.steps.settle import Outcome
from tests.pipelines.commands import done
from tests.pipelines.up_process import copy_of_other_workspace, learn_after, until, up
from tests.review_app.inspector import Inspector

DEBOUNCE_SECONDS = 10
START_WITHIN = 60.0
DECISION_WITHIN = 300.0
PATIENCE = 600.0
"""Waits longer than what is promised, so that a miss is told with its figures."""


@dataclass(frozen=True)
class Trace:
    """One correction, from the key press to the gate; seconds since the press."""

    saved: float
    run_created: float
    run_started: float
    gate_decided: float
    run_ended: float
    run: str
    model_version: str
    passed: bool
    outcome: str


@pytest.fixture
def waiting(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """A workspace whose queue waits for an inspector: a copy of the given one, or one with small textures."""
    if other := copy_of_other_workspace(tmp_path):
        return other
    folder: Path = request.getfixturevalue("promoted")
    batch: Path = request.getfixturevalue("new_images")
    done(folder, "score", str(batch), "--out", str(tmp_path / "scores.parquet"))
    assert done(folder, "queue", "--scores", str(tmp_path / "scores.parquet"), "--budget", "20")["tasks"] > 0
    return Workspace(folder)


@pytest.mark.slow
def test_a_correction_in_the_browser_leads_to_a_training_and_a_gate_decision_without_another_command(
    waiting: Workspace, browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    learn_after(waiting, answers=1, pause_seconds=DEBOUNCE_SECONDS)
    before = _looks(waiting)
    known_runs = {record["run"] for record in _learning_runs(waiting)}
    with up(waiting.folder) as running:
        ann = Inspector(browser, running)
        try:
            ann.open()
            ann.sign_in("Ann")
            label, pressed = _correct(ann)
            ann.wait_until_saved()
            saved = time.time()
            event = _last_event(waiting)
            assert (event["label"], event["source"]) == (label, Source.READER.value)
            run = until(
                lambda: next((r for r in _learning_runs(waiting) if r["run"] not in known_runs and r["started"]), None),
                PATIENCE,
                "a retraining starts",
            )
            look = until(lambda: next(iter(_looks(waiting)[len(before) :]), None), PATIENCE, "the gate decides")
            ended = until(lambda: _ended(waiting, run["run"]), 120, "the run ends")
            trace = Trace(
                saved=round(saved - pressed, 1),
                run_created=round(run["created"] - pressed, 1),
                run_started=round(run["started"] - pressed, 1),
                gate_decided=round(look.at.timestamp() - pressed, 1),
                run_ended=round(ended["ended"] - pressed, 1),
                run=run["run"],
                model_version=look.model_version,
                passed=look.passed,
                outcome=str(ended["outcome"]),
            )
            with capsys.disabled():
                print(f"\ncorrection in the browser: {json.dumps(asdict(trace))}")
            if ended["outcome"] == Outcome.WAITS_FOR_A_LEAD:
                _sees_what_came_of_it(ann, look.model_version)
        finally:
            ann.context.close()
    _is_one_story(waiting, event, ended, look)
    assert ended["status"] == "SUCCESS"
    assert trace.run_created >= DEBOUNCE_SECONDS
    assert trace.run_started <= START_WITHIN
    assert trace.gate_decided <= DECISION_WITHIN
    assert _looks(waiting) == [*before, look], "the gate was asked once"


def _correct(ann: Inspector) -> tuple[str, float]:
    """Answer the task on the screen with another class than the model's; that class, and when the key was pressed."""
    suggested = ann.page.locator("button.class.suggested[data-class]")
    expect(suggested).to_have_count(1)
    other = ann.page.locator("button.class[data-class]:not(.suggested)").first
    label = other.get_attribute("data-class")
    key = other.locator("kbd").inner_text().strip()
    pressed = time.time()
    ann.answer(key)
    assert label is not None
    return label, pressed


def _sees_what_came_of_it(ann: Inspector, version: str) -> None:
    """The Progress screen says that the new model waits for a lead."""
    ann.go_to("Progress")
    expect(ann.page.get_by_text(f"Version {version}, asked for by tailsight")).to_be_visible(timeout=60_000)


def _is_one_story(workspace: Workspace, event: dict[str, Any], run: dict[str, Any], look: GateLook) -> None:
    """The event is in the data set, the data set in the model, the model before the gate, and the run says so."""
    with open_registry(workspace) as registry:
        info = registry.info(look.model_version)
    with Ledger.open(workspace) as ledger:
        assert verify_chain(ledger).ok
        learned = dataset(ledger, str(info.tags["dataset_version"]))
        answered = task(ledger, event["task_id"])
    assert event["label"] != answered.predicted
    assert learned.ledger_head.sequence >= event["sequence"]
    assert look.dataset_version == learned.dataset_version
    assert look.against is not None
    assert run["why"].startswith("1 new answers (threshold 1)")
    assert run["retrained"]["model_version"] == look.model_version
    assert run["outcome"] == (Outcome.WAITS_FOR_A_LEAD if look.passed else Outcome.REFUSED)


def _looks(workspace: Workspace) -> list[GateLook]:
    with Ledger.open(workspace) as ledger:
        return looks(ledger)


def _last_event(workspace: Workspace) -> dict[str, Any]:
    with Ledger.open(workspace) as ledger:
        return dict(events_frame(ledger).iloc[-1])


def _learning_runs(workspace: Workspace) -> list[dict[str, Any]]:
    """Every run that answers started; times in seconds since the epoch, in UTC."""
    import dagster as dg

    with open_instance(workspace, put_right=False) as instance:
        records = instance.get_run_records(dg.RunsFilter(job_name=Job.LEARN_FROM_ANSWERS.value))
    return [
        {
            "run": record.dagster_run.run_id,
            "status": record.dagster_run.status.value,
            "created": _seconds(record.create_timestamp),
            "started": record.start_time,
            "ended": record.end_time,
            "why": record.dagster_run.tags.get("tailsight/why", ""),
        }
        for record in records
    ]


def _ended(workspace: Workspace, run_id: str) -> dict[str, Any] | None:
    """A run that has ended, with the reports of its two steps."""
    run = next(record for record in _learning_runs(workspace) if record["run"] == run_id)
    if not run["ended"]:
        return None
    reports = {name: _output(workspace, run_id, name) for name in (RETRAIN_NODE, SETTLE_NODE)}
    return run | {"retrained": reports[RETRAIN_NODE], "outcome": reports[SETTLE_NODE].get("outcome")}


def _output(workspace: Workspace, run_id: str, node: str) -> dict[str, Any]:
    """What a step of a run gave back, as Dagster keeps it for the step behind it."""
    import pickle

    path = workspace.dagster / "storage" / run_id / node / "result"
    return dict(pickle.loads(path.read_bytes())) if path.is_file() else {}


def _seconds(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
