"""The verb ``retrain``."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, SeedOption, run_verb
from pipelines.command_line.output import emit
from pipelines.definitions.names import RETRAIN_NODE, Job


def retrain(
    mode: Annotated[
        str, typer.Option("--mode", metavar="auto|incremental|full", help="auto chooses, and says why.")
    ] = "auto",
    preset: Annotated[
        str | None,
        typer.Option(metavar="quick|standard|best", help="Of a full training; default: that of the champion's last."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="With --mode full: override one setting.")
    ] = None,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """Learn what people answered since the champion and register a candidate; killed, the same command goes on."""
    from pipelines.command_line.summaries_retrain import summarise_retrain

    config = {"mode": mode, "preset": preset, "overrides": overrides or [], "seed": seed}
    emit(run_verb(Job.RETRAIN, {RETRAIN_NODE: config}).report, summarise_retrain, as_json=json_output)
