"""``tailsight labels``: the ledger from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.context import (
    JsonFlag,
    SeedOption,
    absolute,
    progress_on_stderr,
    run_verb,
    workspace_in_use,
)
from pipelines.command_line.output import emit
from pipelines.definitions.names import Job

app = typer.Typer(help="Import, export, follow and verify labels.", no_args_is_help=True, rich_markup_mode=None)


@app.command("import")
def import_labels(
    csv: Annotated[
        Path,
        typer.Argument(metavar="CSV", help="Columns image or image_id, label, reviewer[, note, certainty, source]."),
    ],
    json_output: JsonFlag = False,
) -> None:
    """Append the labels of a CSV to the ledger; every row that cannot be used is listed with its reason."""
    from pipelines.command_line.summaries_labels import summarise_import

    outcome = run_verb(Job.IMPORT_LABELS, {"import_labels_file": {"csv": absolute(csv)}})
    emit(outcome.report, summarise_import, as_json=json_output)


@app.command("export")
def export_labels(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The CSV to write.")], json_output: JsonFlag = False
) -> None:
    """Write the current label of every image to a CSV that is safe to open in a spreadsheet."""
    from pipelines.command_line.summaries_labels import summarise_export
    from pipelines.steps import labels

    report = labels.export_labels(workspace_in_use().require(), Path(absolute(file)))
    emit(report, summarise_export, as_json=json_output)


@app.command("history")
def history(
    image: Annotated[
        str, typer.Argument(metavar="ID", help="Image id (or its start), file name, path or external id.")
    ],
    json_output: JsonFlag = False,
) -> None:
    """Who said what about an image, when."""
    from pipelines.command_line.summaries_labels import summarise_history
    from pipelines.steps import labels

    report = labels.label_history(workspace_in_use().require(), image)
    emit(report, summarise_history, as_json=json_output)


@app.command("verify")
def verify(json_output: JsonFlag = False) -> None:
    """Check that no label event and no promotion was changed, removed or forged."""
    from pipelines.command_line.summaries_labels import summarise_verify
    from pipelines.steps import labels

    report = labels.verify_labels(workspace_in_use().require(), progress_on_stderr())
    emit(report, summarise_verify, as_json=json_output)
    if not report["ok"]:
        raise typer.Exit(1)


@app.command("readers")
def readers(
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="WHO", help="Who wants to know; names are shown as this person may see them."),
    ] = None,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """What people who read independently say together (CROWDLAB), and how far each can be relied on."""
    from pipelines.command_line.summaries_labels import summarise_readers
    from pipelines.steps.readers import readers_report

    report = readers_report(workspace_in_use(), asked_by=by, seed=seed, progress=progress_on_stderr())
    emit(report.model_dump(mode="json"), summarise_readers, as_json=json_output)
