"""Verbs that take images and labels in: ``ingest``, ``curate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_contracts.settings import read_settings
from pipelines.command_line.context import JsonFlag, SeedOption, absolute, run_verb
from pipelines.command_line.output import emit
from pipelines.definitions.names import AssetName, Job


def ingest(
    images: Annotated[
        str, typer.Argument(metavar="IMAGES", help="A folder (class folders, or with --labels) or a glob.")
    ],
    labels: Annotated[Path | None, typer.Option(metavar="CSV", help="Labels; class folders then do not label.")] = None,
    image_column: Annotated[str, typer.Option(help="CSV column with the file.")] = "image",
    label_column: Annotated[str, typer.Option(help="CSV column with the class.")] = "label",
    group_column: Annotated[
        str | None, typer.Option(help="CSV column that says what belongs together (patient, part, lot); never split.")
    ] = None,
    split_column: Annotated[str | None, typer.Option(help="CSV column with train, val or test.")] = None,
    id_columns: Annotated[
        list[str] | None, typer.Option(help="CSV columns with other names of an image; repeat or separate by commas.")
    ] = None,
    allow_new_classes: Annotated[
        bool, typer.Option("--allow-new-classes", help="Take every label as a class, likely typing errors too.")
    ] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Keep a copy of every image in the workspace.")] = False,
    json_output: JsonFlag = False,
) -> None:
    """Take images and labels in; the same command again adds nothing."""
    from pipelines.command_line.summaries_data import summarise_ingest

    outcome = run_verb(
        Job.INGEST,
        {
            AssetName.IMAGES: {
                "images": absolute(images),
                "labels": absolute(labels) if labels else None,
                "image_column": image_column,
                "label_column": label_column,
                "group_column": group_column,
                "split_column": split_column,
                "id_columns": [name for item in id_columns or [] for name in item.split(",") if name],
                "allow_new_classes": allow_new_classes,
                "copy_files": copy,
                "who": read_settings().person,
            }
        },
    )
    emit(outcome.report, summarise_ingest, as_json=json_output)


def curate(
    seed: SeedOption = 0,
    fractions: Annotated[str, typer.Option(help="Train, validation and test shares.")] = "0.7,0.2,0.1",
    minimum_count: Annotated[int, typer.Option(min=1, help="Advised number of images per class.")] = 500,
    json_output: JsonFlag = False,
) -> None:
    """Bind duplicates, check for leaks, split group-safe: an immutable dataset version."""
    from pipelines.command_line.summaries_data import summarise_curate

    try:
        shares = [float(part) for part in fractions.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{fractions!r} is not three numbers such as 0.7,0.2,0.1") from None
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise typer.BadParameter(f"{fractions!r} is not three shares that add up to 1, such as 0.7,0.2,0.1")
    outcome = run_verb(
        Job.CURATE, {AssetName.DATASET: {"seed": seed, "fractions": shares, "minimum_count": minimum_count}}
    )
    emit(outcome.report, summarise_curate, as_json=json_output)
