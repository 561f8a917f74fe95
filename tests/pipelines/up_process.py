"""`tailsight up` as a real process: started, looked into, killed, started again."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from data_contracts.workspace import Workspace
from tests.pipelines.commands import TAILSIGHT

OTHER_WORKSPACE = "TAILSIGHT_TEST_WORKSPACE"
"""Names a workspace with a champion and a waiting queue, such as the demo's: slow tests then work on copies of it."""

START_SECONDS = 240
STOP_SECONDS = 60


@dataclass(frozen=True)
class Up:
    """A running `up`: its process, everything under it, and its report."""

    process: subprocess.Popen[str]
    report: dict[str, Any]

    def family(self) -> list[psutil.Process]:
        """Every process under it, at this moment."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    @property
    def address(self) -> str:
        """Of the review app."""
        return str(self.report["addresses"]["Review app"])

    def has_ended(self) -> bool:
        return self.process.poll() is not None


def copy_of_other_workspace(place: Path) -> Workspace | None:
    """A copy of the workspace that the environment names, if it names one."""
    other = os.environ.get(OTHER_WORKSPACE)
    return Workspace(Path(shutil.copytree(other, place / "workspace", symlinks=True))) if other else None


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_up(folder: Path, ports: list[int] | None = None) -> Up:
    """Start `up` and wait for its report.

    Args:
        folder: of the workspace; what it writes to stderr goes to ``up.err`` beside it.
        ports: of the review app, of Dagster and of MLflow; free ones where there are none.
    """
    app, dagster, mlflow = ports or free_ports(3)
    words = ["--port", str(app), "--dagster-port", str(dagster), "--mlflow-port", str(mlflow), "--json"]
    with (folder.parent / "up.err").open("a") as errors:
        process = subprocess.Popen(
            [TAILSIGHT, "--workspace", str(folder), "up", *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if ready else ""
        assert line, (folder.parent / "up.err").read_text()
        return Up(process, json.loads(line))
    except BaseException:
        stop_up(Up(process, {}))
        raise


def stop_up(running: Up) -> None:
    """End it as a service manager does, if it still runs."""
    if not running.has_ended():
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(STOP_SECONDS)
    if running.process.stdout is not None:
        running.process.stdout.close()


@contextmanager
def up(folder: Path) -> Iterator[Up]:
    running = start_up(folder)
    try:
        yield running
    finally:
        stop_up(running)


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of ``condition``; it is asked twice a second."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s: {what}")


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def learn_after(workspace: Workspace, *, answers: int, pause_seconds: int, promotion: str = "by_hand") -> None:
    """Write into the profile when to retrain: after so many answers and a pause."""
    path = workspace.profile_path
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    profile["retrain"] = {**profile.get("retrain", {}), "new_labels": answers, "debounce_seconds": pause_seconds}
    profile["promotion"] = promotion
    path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
