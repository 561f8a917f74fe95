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
    a webhook recognises by decision_id what comes again. Without --out and --webhook decisions leave for the receivers
    that the profile names under `sinks`; with --follow a receiver that is down is waited for. `tailsight up` does that
    by itself.
    """
    import threading

    from pipelines.command_line.summaries_queue import summarise_decisions, summarise_deliveries
    from pipelines.steps.decisions_export import sink_of
    from pipelines.steps.deliveries import Receiver, export_to_all, follow_receivers, receivers_of

    workspace = workspace_in_use().require()
    if out is None and webhook is None and name is None and workspace.profile.sinks:
        receivers = receivers_of(workspace)
    else:
        receivers = [Receiver(*sink_of(None if out is None else Path(absolute(out)), webhook, name))]
    if follow:
        progress = progress_on_stderr()
        names = ", ".join(receiver.name for receiver in receivers)
        progress.say(f"Decisions leave for {names} as they are made; Ctrl-C stops.")
        follow_receivers(workspace, receivers, progress, threading.Event())
        return
    reports = [report.model_dump(mode="json") for report in export_to_all(workspace, receivers)]
    if len(reports) == 1:
        emit(reports[0], summarise_decisions, as_json=json_output)
    else:
        emit({"receivers": reports}, summarise_deliveries, as_json=json_output)
