"""The only reader of the environment, and the only writer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

RUNS_URL = "TAILSIGHT_DAGSTER_DATABASE_URL"
"""Dagster reads it by itself: its settings file names the variable, not the address."""


@dataclass(frozen=True)
class Settings:
    """What the environment says.

    Attributes:
        workspace: ``TAILSIGHT_WORKSPACE``, else the current folder.
        database_url: ``TAILSIGHT_DATABASE_URL``, of the ledger; ``None`` means SQLite inside the workspace.
        registry_url: ``TAILSIGHT_MLFLOW_DATABASE_URL``, of the model registry; ``None`` as above.
        runs_url: ``TAILSIGHT_DAGSTER_DATABASE_URL``, of the run history; ``None`` as above.
        ledger_key: ``TAILSIGHT_LEDGER_KEY``; ``None`` means the key file inside the workspace.
        person: who is at the keyboard (``TAILSIGHT_USER``, else the login name).
        processes: how many processes may work at once (``TAILSIGHT_PROCESSES``, else the usable cores).
        torch_compile: ``TAILSIGHT_TORCH_COMPILE`` is 1: torch compiles networks that it scores with.
        serve_keys: ``TAILSIGHT_SERVE_KEYS``, of the REST server, separated by commas; never shown.
    """

    workspace: Path
    database_url: str | None
    ledger_key: str | None
    person: str
    processes: int
    registry_url: str | None = None
    runs_url: str | None = None
    torch_compile: bool = False
    serve_keys: str | None = field(default=None, repr=False)


def read_settings() -> Settings:
    """Read the environment once, at an entry point."""
    env = os.environ
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return Settings(
        workspace=Path(env.get("TAILSIGHT_WORKSPACE") or "."),
        database_url=env.get("TAILSIGHT_DATABASE_URL") or None,
        registry_url=env.get("TAILSIGHT_MLFLOW_DATABASE_URL") or None,
        runs_url=env.get(RUNS_URL) or None,
        ledger_key=env.get("TAILSIGHT_LEDGER_KEY") or None,
        person=env.get("TAILSIGHT_USER") or env.get("USER") or env.get("LOGNAME") or "unknown",
        processes=max(1, int(env.get("TAILSIGHT_PROCESSES") or cores)),
        torch_compile=env.get("TAILSIGHT_TORCH_COMPILE") == "1",
        serve_keys=env.get("TAILSIGHT_SERVE_KEYS") or None,
    )


@dataclass(frozen=True)
class TorchRun:
    """What ``torchrun`` says to each process that it starts.

    Attributes:
        rank: of this process among all.
        size: how many there are, on all machines.
        local_rank: of this process among those of this machine.
        local_size: how many there are on this machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int


def read_torchrun() -> TorchRun | None:
    """This process's place among others; ``None`` where it was not started with any."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    said = [os.environ.get(name, "") for name in names]
    if "MASTER_ADDR" not in os.environ or not all(value.isdecimal() for value in said) or int(said[1]) < 2:
        return None
    return TorchRun(*map(int, said))


def read_variable(name: str) -> str | None:
    """One environment variable that the profile names, because what it holds must not be written down."""
    return os.environ.get(name) or None


@contextmanager
def variables_set(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while, for libraries that only listen to these, and put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
