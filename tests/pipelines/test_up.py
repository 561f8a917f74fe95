"""`tailsight up`: three pages answer, answers start a training by themselves, and nothing outlives the command."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.promotions import looks
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import NewLabelEvent
from data_contracts.vocabulary import Action, Source
from data_contracts.workspace import Workspace
from tests.pipelines.commands import TAILSIGHT, tailsight


@dataclass(frozen=True)
class Up:
    """A running `up`: its process, everything under it, and its report."""

    process: subprocess.Popen[str]
    report: dict[str, Any]

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def first_line(process: subprocess.Popen[str], seconds: float) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    assert ready, "up said nothing"
    return process.stdout.readline()


@contextmanager
def up(folder: Path) -> Iterator[Up]:
    app, dagster, mlflow = free_ports(3)
    words = ["--port", str(app), "--dagster-port", str(dagster), "--mlflow-port", str(mlflow), "--json"]
    errors = (folder.parent / "up.err").open("w")
    process = subprocess.Popen(
        [TAILSIGHT, "--workspace", str(folder), "up", *words],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    try:
        line = first_line(process, 240)
        assert line, (folder.parent / "up.err").read_text()
        yield Up(process, json.loads(line))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
        errors.close()


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s: {what}")


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_three_pages_answer_and_ctrl_c_leaves_no_process_behind(promoted: Path) -> None:
    with up(promoted) as running:
        assert set(running.report["addresses"]) == {"Dagster", "MLflow", "Review app"}
        for address in running.report["addresses"].values():
            with urllib.request.urlopen(address, timeout=20) as page:
                assert page.status == 200
        family = running.family()
        assert len(family) >= 4
        second = tailsight(promoted, "up", "--json")
        assert second.code == 1
        assert "already at work" in second.stderr
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0
        until(lambda: gone(family), 20, "every process that up started has ended")


def test_a_killed_up_takes_its_services_with_it(promoted: Path) -> None:
    with up(promoted) as running:
        family = running.family()
        running.process.kill()
        running.process.wait(10)
        until(lambda: gone(family), 60, "every process that the killed up had started has ended")


def test_a_port_in_use_is_named_before_anything_starts(promoted: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = tailsight(promoted, "up", "--port", str(port), "--json")
    assert answer.code == 2
    assert f"Port {port} is in use." in answer.stderr


@pytest.mark.slow
def test_an_answer_leads_to_a_training_and_a_gate_decision_without_another_command(promoted: Path) -> None:
    profile_path = Workspace(promoted).profile_path
    profile = yaml.safe_load(profile_path.read_text(encoding="utf-8"))
    profile["retrain"] = {**profile.get("retrain", {}), "new_labels": 1, "debounce_seconds": 10}
    profile_path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    workspace = Workspace(promoted)
    with up(promoted):
        with Ledger.open(workspace) as ledger:
            before = len(looks(ledger))
            known = image_answers(ledger)
            wrong = known.loc[known["label"] == "plain", "image_id"].iloc[0]
            answer = NewLabelEvent(
                who="ann", subject_id=wrong, action=Action.CORRECT, label="stripes", source=Source.READER
            )
            append_events(ledger, [answer])
        runs = workspace.runs
        known_runs = {path.name for path in runs.iterdir()}
        until(lambda: {path.name for path in runs.iterdir()} - known_runs, 60, "a retraining starts")

        def decided() -> int:
            with Ledger.open(workspace) as ledger:
                return len(looks(ledger)) - before

        until(decided, 300, "the gate has looked")
    with Ledger.open(workspace) as ledger:
        assert verify_chain(ledger).ok
