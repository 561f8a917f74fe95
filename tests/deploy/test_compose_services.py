"""What the compose file starts, started here as plain processes on a real PostgreSQL server: all but the walls."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.database_server import PASSWORD, DatabaseServer
from tests.deploy.compose_file import FOLDER, SERVED, services
from tests.pipelines.commands import TAILSIGHT, TINY, done, make_images, tailsight
from tests.pipelines.up_process import free_ports

pytestmark = pytest.mark.slow

SERVICES = services()
DATABASES = ("ledger", "mlflow", "dagster")
START_SECONDS = 300


@dataclass
class Deployment:
    """The services of the compose file: their environment, with this machine's server, folders and ports."""

    server: DatabaseServer
    folder: Path
    ports: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    known: list[psutil.Process] = field(default_factory=list)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def environment(self) -> dict[str, str]:
        """As the compose file says it for the daemon, whose is the longest."""
        given = {name: str(value) for name, value in SERVICES["daemon"]["environment"].items()}
        here = {
            name: value.replace("postgres:5432", f"127.0.0.1:{self.server.port}").replace(
                "/workspace", str(self.workspace)
            )
            for name, value in given.items()
        }
        return {**here, "PGPASSWORD": PASSWORD}

    def run(self, *words: str) -> Any:
        return done(self.workspace, *words, **self.environment)

    def start(self, name: str) -> None:
        """Start a service by its own command, on free ports."""
        words = ["127.0.0.1" if word == "0.0.0.0" else str(word) for word in SERVICES[name]["command"]]
        options = {"dagster": "--dagster-port", "mlflow": "--mlflow-port", "app": "--port"}
        ports = [part for each, option in options.items() for part in (option, self.ports[each])]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [TAILSIGHT, *words, *ports],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd=self.folder,
            )

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        _, program, *words = (str(part) for part in SERVICES[name]["healthcheck"]["test"])
        for port, inside in (("dagster", "3000"), ("mlflow", "5000"), ("app", "8501")):
            words = [word.replace(f"127.0.0.1:{inside}", f"127.0.0.1:{self.ports[port]}") for word in words]
        command = [str(Path(sys.executable).with_name(program)), *words]
        root = FOLDER.parents[1]
        checked = subprocess.run(command, capture_output=True, env={**os.environ, **self.environment}, cwd=root)
        return checked.returncode == 0

    def until_healthy(self, name: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.is_healthy(name):
            said = (self.folder / f"{name}.log").read_text()
            assert self.processes[name].poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(1)

    def stop(self) -> None:
        """As a container's engine does: ask the first process of each; within its patience it has ended."""
        self.known = self.family()
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(60)

    def end(self) -> None:
        """What else there is: in a container nothing outlives the first process."""
        for each in [*self.known, *self.family()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        for process in self.processes.values():
            process.wait()

    def family(self) -> list[psutil.Process]:
        """Every process of every service, at this moment."""
        owners = [psutil.Process(process.pid) for process in self.processes.values() if process.poll() is None]
        return [*owners, *(child for owner in owners for child in owner.children(recursive=True))]


@pytest.fixture
def deployment(postgresql_server: DatabaseServer, tmp_path: Path) -> Iterator[Deployment]:
    """The server as the compose file makes it, and nothing started yet."""
    for statement in ("CREATE DATABASE ledger;", *(FOLDER / "databases.sql").read_text().splitlines()):
        if not statement.startswith("--"):
            postgresql_server.execute(statement)
    ports = dict(zip(SERVED, map(str, free_ports(3)), strict=True))
    made = Deployment(postgresql_server, tmp_path, ports)
    try:
        yield made
    finally:
        made.end()
        for name in DATABASES:
            postgresql_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_loop_and_all_services_run_on_the_server_and_leave_no_database_in_the_workspace(
    deployment: Deployment, tmp_path: Path
) -> None:
    run, server = deployment.run, deployment.server
    early = tailsight(deployment.workspace.parent, "up", "--prepare", **deployment.environment)
    assert (early.code, "is not a Tailsight workspace" in early.stderr) == (2, True)

    run("init", "--profile", "generic")
    assert run("up", "--prepare")["prepared"]
    assert run("ingest", str(make_images(tmp_path / "images")))["added"] == 150
    run("curate")
    run("train", *TINY)
    run("promote", "--by", "tester", "--why", "first")
    assert run("up", "--prepare")["prepared"], "done again, it changes nothing"
    assert run("models")["champion"] == "1"
    verified = run("labels", "verify")
    assert verified["ok"]
    assert verified["events"] == 150

    for name in ("dagster", "daemon", "mlflow", "app"):
        deployment.start(name)
    for name in deployment.processes:
        deployment.until_healthy(name)
    family = deployment.family()
    assert not [process for process in family if PASSWORD in " ".join(process.cmdline())]

    counts = {
        "ledger": "SELECT count(*) FROM label_event",
        "mlflow": "SELECT count(*) FROM model_versions",
        "dagster": "SELECT count(*) FROM runs",
    }
    found = {name: server.execute(statement, name)[0][0] for name, statement in counts.items()}
    assert (found["ledger"], found["mlflow"]) == (150, 1)
    assert found["dagster"] >= 4
    files = [path for path in deployment.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in {".sqlite", ".db"}]
    secrets = (PASSWORD.encode(), b"p%40ss%2Fw%3Ard%25")
    assert not [path for path in files if any(secret in path.read_bytes() for secret in secrets)]

    deployment.stop()
    assert [process.poll() is None for process in deployment.processes.values()] == [False] * 4


def test_a_server_that_is_not_there_is_said_by_every_command_that_needs_it(deployment: Deployment) -> None:
    deployment.run("init", "--profile", "generic")
    deployment.run("up", "--prepare")
    deployment.server.stop()
    try:
        for words in (("labels", "verify"), ("up", "--prepare"), ("up", "--only", "daemon"), ("doctor",)):
            answer = tailsight(deployment.workspace, *words, **deployment.environment)
            said = answer.stdout + answer.stderr
            assert answer.code == 1, said
            assert "cannot be" in said
            assert "Traceback" not in said
            assert PASSWORD not in said
    finally:
        deployment.server.start()
