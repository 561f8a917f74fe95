"""``tailsight decisions``: what was decided leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, absolute, progress_on_stderr, workspace_in_use
from pipelines.command_line.output import emit

app = typer.Typer(help="Hand final decisions to other systems.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def decisions() -> None:
    """Hand final decisions to other systems."""


@app.command("export")
def export(
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.csv", help="Append to this CSV.")] = None,
    webhook: Annotated[str | None, typer.Option("--webhook", metavar="URL", help="Post to this address.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What the receiver is called, for ever; what has left is kept by it.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until Ctrl-C; each decision leaves within seconds.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """Every final decision, automatic or human, leaves exactly once for each receiver, in order.

    With external ids, reader and model version. Killed, the same command goes on; a CSV never holds a decision twice,
    a webhook recognises by decision_id what comes again.
    """
    from pipelines.command_line.summaries_queue import summarise_decisions
    from pipelines.steps.decisions_export import export_decisions, rounds_of_export, sink_of

    workspace = workspace_in_use().require()
    sink_name, write = sink_of(None if out is None else Path(absolute(out)), webhook, name)
    if not follow:
        report = export_decisions(workspace, sink_name, write)
        emit(report.model_dump(mode="json"), summarise_decisions, as_json=json_output)
        return
    progress = progress_on_stderr()
    progress.say(f"Decisions leave for {sink_name} as they are made; Ctrl-C stops.")
    for report in rounds_of_export(workspace, sink_name, write, go_on=lambda: True):
        if report.delivered:
            progress.say(f"{report.delivered:,} left; {report.waiting:,} wait.")
