"""The workspace's own Dagster instance, and putting right what a killed process left in it."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from data_contracts.errors import BadInput, TailsightError
from data_contracts.settings import RUNS_URL, read_settings
from data_contracts.workspace import Workspace, write_atomically

if TYPE_CHECKING:
    from dagster import DagsterInstance

SESSION_TAG = "tailsight/session"
"""Run tag that names the lock file which the process running it holds for as long as it lives."""

DAGSTER_YAML = """\
# Written by Tailsight. Steps run inside the command's own process: captured output would hide its progress bars.
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
telemetry:
  enabled: false
# A run that failed is tried again only where its job asks for it (tag dagster/max_retries).
run_retries:
  enabled: true
  max_retries: 0
# One run at a time: trainings and scoring each take every core.
concurrency:
  runs:
    max_concurrent_runs: 1
"""
SERVER_STORAGE = f"""\
# The run history is on a server; its address, with a password, stays in the environment.
storage:
  postgres:
    postgres_url:
      env: {RUNS_URL}
"""
_OURS = "# Written by Tailsight."


@dataclass(frozen=True)
class Session:
    """This process's claim on the runs it starts."""

    name: str


@contextmanager
def open_instance(workspace: Workspace, *, put_right: bool = True) -> Iterator[DagsterInstance]:
    """The Dagster instance of a workspace, created where there is none.

    Args:
        put_right: mark runs that a killed process left under way as failed.

    Raises:
        BadInput: the run history is on a server whose address the environment does not give, or cannot be.
        TailsightError: that server cannot be reached.
    """
    from dagster import DagsterInstance

    runs_url = read_settings().runs_url
    settings = workspace.dagster / "dagster.yaml"
    text = settings.read_text(encoding="utf-8") if settings.is_file() else _OURS
    if text.startswith(_OURS):  # somebody else's settings stay
        if runs_url is None and SERVER_STORAGE in text:
            raise BadInput(
                f"The run history of {workspace.folder} is on a server, but {RUNS_URL} is not set.",
                remedy=f"Set {RUNS_URL} to that database's address, with its password.",
            )
        if runs_url is not None and find_spec("dagster_postgres") is None:
            raise BadInput(
                "The run history is on a PostgreSQL server, but Dagster's part for that is not installed.",
                remedy="Install it: pip install 'tailsight[postgresql]'.",
            )
        wanted = DAGSTER_YAML if runs_url is None else DAGSTER_YAML + SERVER_STORAGE
        if text != wanted:
            write_atomically(settings, wanted)
    workspace.dagster.mkdir(parents=True, exist_ok=True)
    # Two first commands at once would both make the run history's tables, and one of them find them half made.
    with FileLock(workspace.dagster / "opening.lock"), _plain_storage_errors():
        instance = DagsterInstance.from_config(str(workspace.dagster))
    try:
        if put_right:
            reconcile(instance, workspace)
        yield instance
    finally:
        instance.dispose()


@contextmanager
def _plain_storage_errors() -> Iterator[None]:
    """Say what it means that the run history's server does not answer; Dagster tries for some seconds."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except Exception as error:
        found: BaseException | None = error
        while found is not None and not isinstance(found, SQLAlchemyError):
            found = found.__cause__
        if found is None:
            raise
        reason = " ".join(str(getattr(found, "orig", None) or type(found).__name__).split())
        raise TailsightError(
            f"The server of the run history cannot be used: {reason}.",
            remedy=f"Check that it runs, and that {RUNS_URL} names its host, port, database, user and password.",
        ) from None


@contextmanager
def session(workspace: Workspace) -> Iterator[Session]:
    """Hold a lock that the system frees when this process dies, however it dies.

    A POSIX record lock, because child processes do not inherit it: a worker that outlives its killed parent does not
    make the parent look alive.
    """
    name = uuid.uuid4().hex
    path = _lock_path(workspace, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Session(name)
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def reconcile(instance: DagsterInstance, workspace: Workspace) -> list[str]:
    """Mark as failed every run that says it is under way although its process is gone; returns their run ids.

    Runs that a Dagster daemon launched carry no session tag and are left to it.
    """
    from dagster import DagsterRunStatus, RunsFilter

    under_way = [
        DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTING,
        DagsterRunStatus.STARTED,
        DagsterRunStatus.CANCELING,
    ]
    orphans = []
    for run in instance.get_runs(RunsFilter(statuses=under_way)):
        name = run.tags.get(SESSION_TAG)
        if name is None or _is_alive(_lock_path(workspace, name)):
            continue
        instance.report_run_failed(run, "The process that ran this was killed. The same command goes on from there.")
        _lock_path(workspace, name).unlink(missing_ok=True)
        orphans.append(run.run_id)
    return orphans


def reconcile_launched_runs(instance: DagsterInstance) -> list[str]:
    """Mark as failed every run that a daemon launched and that says it is under way; returns their run ids.

    For a moment when no daemon runs: their processes ended with it. A job that asks for retries is then run again.
    """
    from dagster import DagsterRunStatus, RunsFilter

    launched = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    orphans = []
    for run in instance.get_runs(RunsFilter(statuses=launched)):
        if SESSION_TAG not in run.tags:
            instance.report_run_failed(run, "The daemon that ran this was stopped in the middle.")
            orphans.append(run.run_id)
    return orphans


def _lock_path(workspace: Workspace, name: str) -> Path:
    return workspace.locks / f"session-{Path(name).name}.lock"


def _is_alive(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
