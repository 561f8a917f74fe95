"""The verb ``compress``."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, SeedOption, run_verb
from pipelines.command_line.output import emit
from pipelines.definitions.names import COMPRESS_NODE, Job


def compress(
    target_ms: Annotated[
        float | None, typer.Option("--target-ms", min=1e-6, metavar="N", help="At most so many milliseconds an image.")
    ] = None,
    target_mb: Annotated[
        float | None, typer.Option("--target-size", min=1e-6, metavar="MB", help="At most so many megabytes deployed.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="champion|candidate|VERSION", help="What is to become smaller.")
    ] = "champion",
    max_loss: Annotated[
        float, typer.Option("--max-loss", min=0, max=100, metavar="POINTS", help="Of macro-F1 on validation.")
    ] = 1.0,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, max=1000, help="Of each training.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Begin no training once so many are spent.")
    ] = None,
    students: Annotated[
        list[str] | None,
        typer.Option(
            "--student",
            metavar="BACKBONE[=WEIGHTS]",
            help="WEIGHTS: bundled, hub (downloads), none or a file; may be repeated.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One training setting; may be repeated.")
    ] = None,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """Students and pruned forms of a model, in 32, 16 and 8 bits: the best that meets the target becomes a candidate.

    All are measured on this machine and judged on the validation images. Killed, the same command goes on; another
    target trains nothing again. Exit code 1 when nothing meets the target within the loss: nothing is registered.
    """
    from pipelines.command_line.summaries_compress import summarise_compress
    from pipelines.steps.compress import CompressRequest, NothingSmallEnough

    config = {
        "model": model,
        "target_ms": target_ms,
        "target_mb": target_mb,
        "max_loss": max_loss,
        "epochs": epochs,
        "minutes": minutes,
        "students": students or [],
        "overrides": overrides or [],
        "seed": seed,
    }
    _ = CompressRequest.model_validate(config).target  # a missing target is told before anything is opened
    try:
        report = run_verb(Job.COMPRESS, {COMPRESS_NODE: config}).report
    except NothingSmallEnough as nothing:
        emit(nothing.report.model_dump(mode="json"), summarise_compress, as_json=json_output)
        raise typer.Exit(nothing.exit_code) from None
    emit(report, summarise_compress, as_json=json_output)
