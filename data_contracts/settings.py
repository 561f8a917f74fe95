"""The only reader of the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What the environment says.

    Attributes:
        workspace: ``TAILSIGHT_WORKSPACE``, else the current folder.
        database_url: ``TAILSIGHT_DATABASE_URL``; ``None`` means SQLite inside the workspace.
        ledger_key: ``TAILSIGHT_LEDGER_KEY``; ``None`` means the key file inside the workspace.
        person: who is at the keyboard (``TAILSIGHT_USER``, else the login name).
        processes: how many processes may work at once (``TAILSIGHT_PROCESSES``, else the usable cores).
    """

    workspace: Path
    database_url: str | None
    ledger_key: str | None
    person: str
    processes: int


def read_settings() -> Settings:
    """Read the environment once, at an entry point."""
    env = os.environ
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return Settings(
        workspace=Path(env.get("TAILSIGHT_WORKSPACE") or "."),
        database_url=env.get("TAILSIGHT_DATABASE_URL") or None,
        ledger_key=env.get("TAILSIGHT_LEDGER_KEY") or None,
        person=env.get("TAILSIGHT_USER") or env.get("USER") or env.get("LOGNAME") or "unknown",
        processes=max(1, int(env.get("TAILSIGHT_PROCESSES") or cores)),
    )
