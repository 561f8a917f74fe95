"""Verbs that measure and change nothing: ``simulate``, ``backbones``."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, SeedOption, run_verb
from pipelines.command_line.output import emit
from pipelines.definitions.names import BACKBONES_NODE, SIMULATE_NODE, Job


def simulate(
    strategies: Annotated[
        list[str] | None,
        typer.Option(
            "--strategies",
            "--strategy",
            metavar="NAME,…",
            help="Beside random; with commas, or given several times. Default: mix.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, metavar="N", help="Splits, each replayed once.")] = 10,
    targets: Annotated[
        list[float] | None,
        typer.Option("--target", metavar="SHARE", help="Of the macro-F1 with all labels. Default: 0.95 and 0.98."),
    ] = None,
    learner: Annotated[
        str,
        typer.Option(
            metavar="probe|retraining",
            help="A linear classifier on kept embeddings, or a network trained as in production (hours).",
        ),
    ] = "probe",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With retraining: one training setting; may be repeated."),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Replay the newest dataset version as if nothing had a label: how many labels would each strategy have needed?

    Nothing in the workspace changes. Killed, the same command goes on.
    """
    from domain_models.selection.strategies import parse_strategy
    from pipelines.command_line.summaries_studies import summarise_simulation

    given = [name.strip() for names in strategies or ["mix"] for name in names.split(",")]
    names = [parse_strategy(name).value for name in given if name]
    config = {"strategies": names, "seeds": seeds, "targets": targets or [0.95, 0.98]}
    config |= {"learner": learner, "overrides": settings or []}
    emit(run_verb(Job.SIMULATE, {SIMULATE_NODE: config}).report, summarise_simulation, as_json=json_output)


def backbones(
    names: Annotated[
        list[str] | None,
        typer.Option("--backbone", metavar="NAME", help="Any timm model; may be given several times. Default: all."),
    ] = None,
    weights: Annotated[
        str, typer.Option(metavar="auto|bundled|hub|none", help="hub downloads; auto takes what is bundled, or none.")
    ] = "auto",
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """The model selection matrix: size and speed on this machine, and what a linear classifier makes of the features.

    Accuracy is only told of backbones with pretrained weights. Nothing in the workspace changes but its reports.
    """
    from pipelines.command_line.summaries_studies import summarise_backbones

    config = {"backbones": names or [], "weights": weights, "seed": seed}
    emit(run_verb(Job.BACKBONES, {BACKBONES_NODE: config}).report, summarise_backbones, as_json=json_output)
