"""``tailsight up``: Dagster, MLflow, the review app and the deliveries as processes that live and die together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import BadInput, TailsightError
from data_contracts.progress import Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 15.0
DELIVERIES = "Deliveries"
_DEFINITIONS = ("-m", "pipelines.definitions.definitions")


@dataclass(frozen=True)
class Service:
    """One process of ``up``.

    Attributes:
        name: what a person calls it.
        command: program and arguments.
        address: where it answers; ``None`` where there is no page.
    """

    name: str
    command: tuple[str, ...]
    address: str | None


@dataclass(frozen=True)
class Ports:
    """Where the three pages are served."""

    dagster: int = 3000
    mlflow: int = 5000
    app: int = 8501

    def require_free(self) -> None:
        """Refuse ports that somebody else uses.

        Raises:
            BadInput: one is taken, or two are the same.
        """
        if len({self.dagster, self.mlflow, self.app}) < 3:
            raise BadInput("The three pages need three different ports.")
        for option, port in (("--dagster-port", self.dagster), ("--mlflow-port", self.mlflow), ("--port", self.app)):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError:
                    raise BadInput(
                        f"Port {port} is in use.",
                        cause="Another program, or another `tailsight up`, listens there.",
                        remedy=f"Stop it, or give another port with {option}.",
                    ) from None


def services_of(workspace: Workspace, ports: Ports, host: str = HOST) -> list[Service]:
    """The processes of a workspace, in the order in which they are started; ``host`` is where they listen."""
    from domain_models.tracking.store import ARTIFACTS_FOLDER

    receivers = workspace.profile.sinks  # who gets the decisions; no address stands in a command
    artifacts = (workspace.mlflow / ARTIFACTS_FOLDER).resolve().as_uri()
    return [
        Service(
            "Dagster",
            (_program("dagster-webserver"), *_DEFINITIONS, "--host", host, "--port", str(ports.dagster)),
            f"http://{HOST}:{ports.dagster}",
        ),
        Service("Dagster's daemon", (_program("dagster-daemon"), "run", *_DEFINITIONS), None),
        Service(
            "MLflow",
            (
                *(sys.executable, "-m", "mlflow", "server"),
                *("--default-artifact-root", artifacts, "--host", host, "--port", str(ports.mlflow), "--workers", "1"),
            ),
            f"http://{HOST}:{ports.mlflow}",
        ),
        Service(
            "Review app",
            (sys.executable, "-m", "review_app.launch", "--port", str(ports.app), "--address", host),
            f"http://{HOST}:{ports.app}",
        ),
        *([Service(DELIVERIES, (_program("tailsight"), "decisions", "export", "--follow"), None)] if receivers else []),
    ]


@contextmanager
def running(
    workspace: Workspace, services: Sequence[Service], progress: Progress
) -> Iterator[Callable[[], str | None]]:
    """Start the services, wait until their pages answer, and stop all of them at the end, whatever ends it.

    Yields:
        A function that gives the name of a service that has ended by itself, ``None`` while all run.

    Raises:
        TailsightError: a service ended, or its page did not answer in time; its log is named.
    """
    logs = workspace.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    started: list[tuple[Service, subprocess.Popen[bytes], Path]] = []
    try:
        for service in services:
            log = logs / f"{service.name.lower().replace(' ', '-').replace(chr(39), '')}.log"
            started.append((service, _start(service, environment_of(workspace), log), log))

        def ended() -> str | None:
            return next((service.name for service, process, _ in started if process.poll() is not None), None)

        for service, process, log in started:
            if service.address is not None:
                with progress.step(f"Starting {service.name}"):
                    _wait_until_it_answers(service, process, log)
        yield ended
    finally:
        stop_groups([process for _, process, _ in started])


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def environment_of(workspace: Workspace) -> dict[str, str]:
    """What the services are told. MLflow's database is here because a command line, with its password, is public."""
    from domain_models.tracking.store import ensure_store

    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "TAILSIGHT_WORKSPACE": str(workspace.folder.absolute()),
        "DAGSTER_HOME": str(workspace.dagster.absolute()),
        "PYTHONPATH": os.pathsep.join(paths),
        "MLFLOW_BACKEND_STORE_URI": ensure_store(workspace.mlflow, read_settings().registry_url),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def _start(service: Service, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    # In a session of its own: Ctrl-C in the terminal reaches `up` alone, which then stops all in order.
    command = [sys.executable, "-m", "pipelines.attached_child", str(os.getpid()), *service.command]
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_it_answers(service: Service, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TailsightError(
                f"{service.name} ended before it answered (exit code {process.returncode}).",
                remedy=f"See {log}.",
            )
        try:
            with urllib.request.urlopen(str(service.address), timeout=5):  # noqa: S310  # our own address
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.2)
    raise TailsightError(f"{service.name} did not answer within {START_SECONDS:.0f} seconds.", remedy=f"See {log}.")


def stop_groups(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask every process group to end, then make it; nothing that was started here goes on."""
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and any(_group_lives(process) for process in processes):
        time.sleep(0.1)
    for process in processes:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a dead leader that nobody has waited for would still count
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
