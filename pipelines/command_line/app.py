"""The table of verbs, and the workspace they share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.command_line import (
    verbs_cascade,
    verbs_compress,
    verbs_data,
    verbs_decisions,
    verbs_export,
    verbs_labels,
    verbs_model,
    verbs_production,
    verbs_queue,
    verbs_retrain,
    verbs_review,
    verbs_serve,
    verbs_studies,
    verbs_taxonomy,
    verbs_up,
    verbs_workspace,
)
from pipelines.command_line.context import set_workspace, workspace_in_use

app = typer.Typer(
    name="tailsight",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Image classification that knows what it does not know, and asks people exactly about that.",
    context_settings={"max_content_width": 110},
    epilog="Each verb takes --json. Exit code 0: done; 1: failed or refused by the gate; 2: bad input.",
)

VERBS: dict[str, tuple[Callable[..., None], str]] = {
    "demo": (verbs_production.demo, "The whole loop on real images."),
    "init": (verbs_workspace.init, "Make a workspace with tailsight.yaml."),
    "ingest": (verbs_data.ingest, "Take images and labels in."),
    "curate": (verbs_data.curate, "Bind duplicates, split, report imbalance."),
    "pretrain": (verbs_model.pretrain, "Learn from images alone, before any label."),
    "train": (verbs_model.train, "Train and register a candidate."),
    "review": (verbs_review.review, "The app in which people answer."),
    "retrain": (verbs_retrain.retrain, "Learn what people answered since the champion."),
    "evaluate": (verbs_model.evaluate, "Every metric, with intervals."),
    "promote": (verbs_model.promote, "Make a model the champion, by the gate."),
    "rollback": (verbs_model.rollback, "Restore the previous champion."),
    "models": (verbs_model.models, "List the registered models."),
    "score": (verbs_production.score, "Score a batch of files, with triage."),
    "export": (verbs_export.export, "A model for another runtime or precision, by the parity gate."),
    "cascade": (verbs_cascade.cascade, "A small model first, a large one for what it is unsure of."),
    "compress": (verbs_compress.compress, "Smaller models under a target of time or size."),
    "queue": (verbs_queue.queue, "Build a review round."),
    "simulate": (verbs_studies.simulate, "How many labels each strategy would have needed."),
    "backbones": (verbs_studies.backbones, "What backbones cost on this machine, and what they give."),
    "serve": (verbs_serve.serve, "The champion behind HTTP: REST, keys, metrics."),
    "up": (verbs_up.up, "Serve Dagster, MLflow and the review app."),
    "report": (verbs_model.report, "Write an HTML report about a model."),
    "doctor": (verbs_workspace.doctor, "Check the machine and the workspace."),
}
"""Every verb: what runs it, and its line in the table of verbs."""

for _name, (_verb, _line) in VERBS.items():
    app.command(_name, short_help=_line)(_verb)
app.add_typer(verbs_labels.app, name="labels")
app.add_typer(verbs_taxonomy.app, name="taxonomy")
app.add_typer(verbs_decisions.app, name="decisions")


@app.callback()
def choose_workspace(
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace", metavar="DIR", help="The workspace; $TAILSIGHT_WORKSPACE, else the current folder."
        ),
    ] = None,
) -> None:
    """Image classification that knows what it does not know, and asks people exactly about that."""
    set_workspace(Workspace((workspace or read_settings().workspace).expanduser().absolute()))


def current_workspace() -> Workspace:
    """The workspace that this command works on."""
    return workspace_in_use()
