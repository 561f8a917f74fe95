"""The table of verbs, and the workspace they share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.command_line import verbs_data, verbs_labels, verbs_model, verbs_production, verbs_workspace
from pipelines.command_line.context import set_workspace, workspace_in_use

app = typer.Typer(
    name="tailsight",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Image classification that knows what it does not know, and asks people exactly about that.",
    epilog="Each verb takes --json. Exit code 0: done; 1: failed or refused by the gate; 2: bad input.",
)

PANELS = {
    "demo": verbs_production.demo,
    "init": verbs_workspace.init,
    "ingest": verbs_data.ingest,
    "curate": verbs_data.curate,
    "train": verbs_model.train,
    "evaluate": verbs_model.evaluate,
    "promote": verbs_model.promote,
    "rollback": verbs_model.rollback,
    "models": verbs_model.models,
    "score": verbs_production.score,
    "report": verbs_model.report,
    "doctor": verbs_workspace.doctor,
}
for _name, _verb in PANELS.items():
    app.command(_name)(_verb)
app.add_typer(verbs_labels.app, name="labels")


@app.callback()
def choose_workspace(
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", metavar="DIR", help="The workspace; $TAILSIGHT_WORKSPACE, else the current folder."),
    ] = None,
) -> None:
    """Image classification that knows what it does not know, and asks people exactly about that."""
    set_workspace(Workspace((workspace or read_settings().workspace).expanduser().absolute()))


def current_workspace() -> Workspace:
    """The workspace that this command works on."""
    return workspace_in_use()
