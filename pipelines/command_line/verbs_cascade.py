"""The verb ``cascade``."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, run_verb
from pipelines.command_line.output import emit
from pipelines.definitions.names import CASCADE_NODE, Job


def cascade(
    first: Annotated[
        str, typer.Option("--first", metavar="MODEL", help="The small model, which answers what it is sure of.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="champion|candidate|VERSION", help="The large model. Default: champion, else candidate."
        ),
    ] = None,
    max_loss: Annotated[
        float, typer.Option("--max-loss", metavar="POINTS", min=0, max=100, help="Of macro-F1, in hundredths.")
    ] = 1.0,
    json_output: JsonFlag = False,
) -> None:
    """Make one candidate of two models; exit code 1 when no threshold keeps macro-F1 within the loss."""
    from pipelines.command_line.summaries_cascade import summarise_cascade

    config = {"first": first, "model": model, "max_loss": max_loss}
    emit(run_verb(Job.CASCADE, {CASCADE_NODE: config}).report, summarise_cascade, as_json=json_output)
