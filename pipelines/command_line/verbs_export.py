"""The verb ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, SeedOption, absolute, run_verb
from pipelines.command_line.output import emit
from pipelines.definitions.names import EXPORT_NODE, Job


def export(
    format_name: Annotated[
        str, typer.Option("--format", metavar="openvino|onnx|…", help="Whose file format.")
    ] = "openvino",
    precision: Annotated[
        str, typer.Option(metavar="fp32|fp16|bf16|int8|int8-dynamic", help="int8-dynamic: onnx only.")
    ] = "fp32",
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="champion|candidate|VERSION", help="Default: the champion, else the candidate."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Also put a copy here, with its manifest.")
    ] = None,
    calibration_count: Annotated[
        int, typer.Option("--calibration-images", min=8, max=10_000, help="Training images that int8 measures.")
    ] = 300,
    agreement: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least share of decisions that stay the same. Default: 0.92 in 8 bits, 0.995."),
    ] = None,
    training_epochs: Annotated[
        int,
        typer.Option(
            min=0, max=100, help="Further training in 8 bits (openvino) where they do not pass as they are; 0: none."
        ),
    ] = 3,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """A model in another format or precision, if it decides as the network does on its validation images.

    What passes is attached to the model version, and ``score`` uses the OpenVINO artefact that was exported last.
    """
    from domain_models.export.kinds import check_kind
    from pipelines.command_line.summaries_export import summarise_export

    kind, number = check_kind(format_name, precision)
    config = {
        "format": kind.value,
        "precision": number.value,
        "model": model,
        "out": None if out is None else absolute(out),
        "calibration_count": calibration_count,
        "agreement": agreement,
        "training_epochs": training_epochs,
        "seed": seed,
    }
    emit(run_verb(Job.EXPORT, {EXPORT_NODE: config}).report, summarise_export, as_json=json_output)
