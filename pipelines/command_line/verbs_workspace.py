"""Verbs about the workspace itself: ``init``, ``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, SeedOption, absolute, progress_on_stderr, workspace_in_use
from pipelines.command_line.output import emit


def init(
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME|FILE", help="A shipped profile, or a YAML file.")
    ] = None,
    from_images: Annotated[
        Path | None,
        typer.Option("--from-images", metavar="DIR", help="Look at these images and propose a profile, with reasons."),
    ] = None,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """Make a workspace with tailsight.yaml."""
    if (profile is None) == (from_images is None):
        raise typer.BadParameter("give either --profile NAME|FILE or --from-images DIR")
    if from_images is not None:
        from pipelines.command_line.summaries_workspace import summarise_proposal
        from pipelines.steps.propose_profile import propose

        proposal = propose(workspace_in_use(), Path(absolute(from_images)), seed=seed, progress=progress_on_stderr())
        emit(proposal.model_dump(mode="json"), summarise_proposal, as_json=json_output)
        return
    from pipelines.command_line.summaries_workspace import summarise_init
    from pipelines.steps.initialise import initialise

    report = initialise(workspace_in_use(), str(profile))
    emit(report.model_dump(mode="json"), summarise_init, as_json=json_output)


def doctor(json_output: JsonFlag = False) -> None:
    """Check that the machine and the workspace are sound."""
    from pipelines.command_line.summaries_workspace import summarise_doctor
    from pipelines.steps.doctor import examine

    report = examine(workspace_in_use())
    emit(report.model_dump(mode="json"), summarise_doctor, as_json=json_output)
    if not report.ok:
        raise typer.Exit(1)
