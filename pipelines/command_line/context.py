"""What the verbs of one command share: the workspace, the terminal's progress, and running a job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_contracts.object_storage import place_of
from data_contracts.progress import Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.command_line.output import STDERR
from pipelines.definitions.names import Job

if TYPE_CHECKING:
    from pipelines.definitions.runner import JobOutcome

JsonFlag = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Where chance enters.")]
WhoOption = Annotated[str, typer.Option("--by", metavar="WHO", help="Who asks for it; recorded.")]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why; recorded.")]

_workspace: list[Workspace] = []


def set_workspace(workspace: Workspace) -> None:
    """Name the workspace of this command."""
    _workspace[:] = [workspace]


def workspace_in_use() -> Workspace:
    """The workspace of this command."""
    return _workspace[0] if _workspace else Workspace(read_settings().workspace.absolute())


def progress_on_stderr() -> Progress:
    """Bars or lines on stderr."""
    from pipelines.command_line.progress_bars import terminal_progress

    return terminal_progress(STDERR)


def run_verb(job: Job, config: Mapping[str, Mapping[str, Any]], *, batch: str | None = None) -> JobOutcome:
    """Run a verb's job in the workspace's Dagster instance."""
    workspace = workspace_in_use().require()
    from pipelines.definitions.runner import run_job

    return run_job(workspace, job, config, progress=progress_on_stderr(), batch=batch)


def absolute(path: str | Path) -> str:
    """A path or glob as it would be from any folder (a job may run elsewhere); an address as it is.

    Raises:
        BadInput: an address that is not whole, or holds credentials: it must not reach the record of a run.
    """
    place = place_of(path)
    return str(place.expanduser().absolute()) if isinstance(place, Path) else str(place)
