"""App, daemon, a retraining and `up` itself are killed at random moments while somebody answers (slow).

What the browser showed as saved is in the ledger once; what follows from it is made once; nothing hangs.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import dataset_versions
from data_contracts.ledger.events import events_frame
from data_contracts.ledger.promotions import looks, promotions
from data_contracts.ledger.verify import verify_chain
from data_contracts.vocabulary import Action, Alias
from data_contracts.workspace import Workspace
from pipelines.definitions.instance import open_instance
from pipelines.definitions.names import Job
from pipelines.steps.learning_triggers import look
from pipelines.steps.registry import open_registry
from tests.pipelines.commands import done, make_images
from tests.pipelines.up_process import copy_of_other_workspace, free_ports, gone, learn_after, start_up, stop_up, until
from tests.review_app.patient_inspector import PatientInspector

SEED = 33
KINDS = ("app", "daemon", "run", "up")
KILLS = int(os.environ.get("TAILSIGHT_TEST_KILLS", "10"))
"""Every kind is killed before one is killed again."""
PAUSES = (0.2, 0.5, 1.0, 1.5, 4.0, 14.0)
MOMENTS = {"app": (1.0, 20.0), "daemon": (1.0, 25.0), "run": (0.2, 12.0), "up": (1.0, 25.0)}
"""Seconds from when everything runs (for a retraining: from when it runs) to the kill."""


class Site:
    """`up` on a workspace, started again whenever it has ended."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.ports = free_ports(3)
        self.running = start_up(workspace.folder, self.ports)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def kill(self, victim: str, chance: random.Random) -> str:
        """Kill one part at a random moment, and see to it that all runs again; what was killed, in words."""
        family = self.running.family()
        if victim == "run":
            until(self._run_process, 400, "a retraining runs")
        seconds = chance.uniform(*MOMENTS[victim])
        time.sleep(seconds)
        process = psutil.Process(self.running.process.pid) if victim == "up" else self._find(victim)
        while process is None:  # the retraining was faster than we
            until(self._run_process, 400, "another retraining runs")
            time.sleep(seconds := seconds / 2)
            process = self._find(victim)
        family = [*{*family, *self.running.family()}]
        process.kill()
        if victim == "run":
            return f"run after {seconds:.1f} s"
        until(self.running.has_ended, 60, f"up has noticed the end of its {victim}")
        until(lambda: gone(family), 60, f"everything has ended after the kill of {victim}")
        stop_up(self.running)
        self.running = start_up(self.workspace.folder, self.ports)
        put_right = len(self.running.report["runs_put_right"])
        return f"{victim} after {seconds:.1f} s, {put_right} runs put right"

    def _find(self, victim: str) -> psutil.Process | None:
        if victim == "run":
            return self._run_process()
        words = {"app": ("streamlit", "run"), "daemon": ("dagster-daemon", "run")}[victim]
        for process in self.running.family():
            line = _command(process)
            if all(any(word in part for part in line) for word in words) and "pipelines.attached_child" not in line:
                return process
        raise AssertionError(f"there is no {victim}")

    def _run_process(self) -> psutil.Process | None:
        """The process in which Dagster's code server runs a job."""
        for process in self.running.family():
            if any("spawn_main" in part for part in _command(process)) and _is_code_server(process.parent()):
                return process
        return None


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _is_code_server(process: psutil.Process | None) -> bool:
    line = _command(process) if process is not None else []
    return "api" in line and "grpc" in line


@pytest.fixture
def waiting(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """A champion, and a queue that lasts for the whole test: in a copy of the given workspace, or of small textures."""
    if other := copy_of_other_workspace(tmp_path):
        return other
    promoted: Path = request.getfixturevalue("promoted")
    batch = make_images(tmp_path / "batch", per_class=80, seed=77)
    done(promoted, "score", str(batch), "--out", str(tmp_path / "scores.parquet"))
    done(promoted, "queue", "--scores", str(tmp_path / "scores.parquet"), "--budget", "240")
    return Workspace(promoted)


@pytest.mark.slow
def test_ten_kills_lose_nothing_that_was_saved_and_double_nothing(
    waiting: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    learn_after(waiting, answers=1, pause_seconds=2, promotion="automatic")
    began, chance = time.monotonic(), random.Random(SEED)
    victims = [kind for _ in range(0, KILLS, len(KINDS)) for kind in chance.sample(KINDS, len(KINDS))][:KILLS]
    site, kills = Site(waiting), []
    ann = PatientInspector(site, "Ann", ("1", "2", "3"), PAUSES, SEED)
    ann.start()
    try:
        for victim in victims:
            answers = ann.answers
            until(lambda before=answers: ann.error or ann.answers > before, 240, "the inspector works again")
            kills.append(site.kill(victim, chance))
            with capsys.disabled():
                print(f"\n{time.monotonic() - began:.0f} s: killed {kills[-1]}; {ann.answers} answers", end="")
        answers = ann.answers
        until(lambda: ann.error or ann.answers > answers, 240, "the inspector works after the last kill")
        ann.leave()
        said = _nothing_is_lost_or_doubled(waiting, ann)
        until(lambda: _all_is_learned(waiting), 1200, "everything that was said has been learned")
        until(lambda: not _under_way(waiting), 600, "the last run has ended")
        family = site.running.family()
    finally:
        ann.rest()
        stop_up(site.running)
    until(lambda: gone(family), 30, "nothing outlives up")
    story = said | _what_follows_was_made_once(waiting)
    with capsys.disabled():
        print(f"\n{KILLS} kills: {json.dumps({'seconds': round(time.monotonic() - began), **story, 'kills': kills})}")


def _nothing_is_lost_or_doubled(workspace: Workspace, ann: PatientInspector) -> dict[str, Any]:
    """Every answer that the browser showed as saved, or ever sent, is in the ledger once; figures for the note."""
    said = _answers(workspace)
    requests = Counter(event["request_id"] for event in said)
    assert not ann.refused
    assert ann.saved <= set(requests), "something was shown as saved and is not in the ledger"
    assert ann.pressed <= set(requests), "something was said and has vanished"
    assert set(requests.values()) == {1}
    tasks = Counter(event["task_id"] for event in said if event["action"] != Action.UNDO.value)
    assert set(tasks.values()) == {1}, "a task was answered twice"
    return {"answers": len(said), "acknowledged": len(ann.saved), "reloads": ann.reloads}


def _what_follows_was_made_once(workspace: Workspace) -> dict[str, Any]:
    """Data sets, models, promotions and runs; figures for the note."""
    with Ledger.open(workspace) as ledger:
        assert verify_chain(ledger).ok
        data, asked, moves = dataset_versions(ledger), looks(ledger), promotions(ledger)
    assert len({version.manifest_sha256 for version in data}) == len(data)
    with open_registry(workspace) as registry:
        versions, champion = registry.versions(), registry.alias(Alias.CHAMPION)
    assert len({info.run_key for info in versions}) == len(versions)
    assert len({info.tags["dataset_version"] for info in versions}) == len(versions), "data were learned twice"
    assert versions[0].version in {look.model_version for look in asked}, "the last model's gate decision is recorded"
    assert len({move.model_version for move in moves}) == len(moves)
    assert champion == moves[-1].model_version
    statuses = _statuses(workspace)
    assert not set(statuses) - {"SUCCESS", "FAILURE", "CANCELED"}
    return {
        "models": len(versions),
        "datasets": len(data),
        "looks": len(asked),
        "models_looked_at": len({look.model_version for look in asked}),
        "promotions": len(moves),
        "runs": statuses,
    }


def _answers(workspace: Workspace) -> list[dict[str, Any]]:
    """What Ann said, in order."""
    with Ledger.open(workspace) as ledger:
        events = events_frame(ledger)
    return events[events["who"] == "Ann"].to_dict("records")


def _all_is_learned(workspace: Workspace) -> bool:
    """Whether the newest model knows every answer, and the run that made it (or took it up again) has succeeded."""
    import dagster as dg

    answers, _ = look(workspace, 0, datetime.now(UTC))
    with open_instance(workspace, put_right=False) as instance:
        newest = instance.get_runs(dg.RunsFilter(job_name=Job.LEARN_FROM_ANSWERS.value), limit=1)
    return not answers.images and bool(newest) and newest[0].status is dg.DagsterRunStatus.SUCCESS


def _statuses(workspace: Workspace) -> dict[str, int]:
    import dagster as dg

    with open_instance(workspace, put_right=False) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name=Job.LEARN_FROM_ANSWERS.value))
    return dict(Counter(run.status.value for run in runs))


def _under_way(workspace: Workspace) -> bool:
    return bool(set(_statuses(workspace)) - {"SUCCESS", "FAILURE", "CANCELED"})
