"""Verbs about the workspace itself: ``init``, ``doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, workspace_in_use
from pipelines.command_line.output import emit


def init(
    profile: Annotated[str, typer.Option("--profile", metavar="NAME|FILE", help="A shipped profile, or a YAML file.")],
    json_output: JsonFlag = False,
) -> None:
    """Make a workspace with tailsight.yaml."""
    from pipelines.command_line.summaries_workspace import summarise_init
    from pipelines.steps.initialise import initialise

    report = initialise(workspace_in_use(), profile)
    emit(report.model_dump(mode="json"), summarise_init, as_json=json_output)


def doctor(json_output: JsonFlag = False) -> None:
    """Check that the machine and the workspace are sound."""
    from pipelines.command_line.summaries_workspace import summarise_doctor
    from pipelines.steps.doctor import examine

    report = examine(workspace_in_use())
    emit(report.model_dump(mode="json"), summarise_doctor, as_json=json_output)
    if not report.ok:
        raise typer.Exit(1)
