"""Verbs about models: ``pretrain``, ``train``, ``evaluate``, ``promote``, ``rollback``, ``models``, ``report``."""

from __future__ import annotations

from typing import Annotated

import typer

from data_contracts.vocabulary import Split
from pipelines.command_line.context import (
    JsonFlag,
    SeedOption,
    WhoOption,
    WhyOption,
    run_verb,
    workspace_in_use,
)
from pipelines.command_line.output import emit
from pipelines.definitions.names import PRETRAIN_NODE, AssetName, Job

ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="champion|candidate|VERSION", help="Default: the champion, else the candidate."),
]


def train(
    preset: Annotated[
        str, typer.Option(metavar="quick|standard|best|auto", help="How much work to spend; auto tries settings.")
    ] = "standard",
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.01, help="With --preset auto: how long settings are tried.")
    ] = 60.0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting; may be repeated.")
    ] = None,
    seed: SeedOption = 0,
    profile_run: Annotated[
        bool, typer.Option("--profile-run", help="Say where the time went, and write a trace; the result is the same.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--processes", min=1, metavar="N", help="So many fine-tune together on this machine.")
    ] = 1,
    json_output: JsonFlag = False,
) -> None:
    """Train, calibrate, evaluate and register a candidate; killed, the same command goes on.

    Under torchrun, on several machines that share the workspace's folder, the first process runs the command and the
    others help it fine-tune.
    """
    from pipelines.training_processes import follow_lead, follows

    if follows():
        raise typer.Exit(0 if follow_lead() else 1)
    from pipelines.command_line.summaries_model import summarise_train

    config = {"preset": preset, "overrides": overrides or [], "seed": seed, "minutes": minutes}
    config |= {"profile_run": profile_run, "processes": processes}
    outcome = run_verb(Job.TRAIN, {AssetName.CANDIDATE: config})
    emit(outcome.report, summarise_train, as_json=json_output)


def pretrain(
    method: Annotated[str, typer.Option(metavar="simclr", help="What images are asked about themselves.")] = "simclr",
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="How often it sees every image.")] = 20,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.001, help="Small ones look at the most alike images.")
    ] = 0.2,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of network, input or rates; may be repeated."),
    ] = None,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """Let a backbone learn from your images alone, labelled or not, and measure what that is worth.

    Writes a weights file for `tailsight train --set weights=FILE`. Killed, the same command goes on.
    """
    from pipelines.command_line.summaries_model import summarise_pretrain

    config = {"method": method, "epochs": epochs, "temperature": temperature, "overrides": overrides or []}
    outcome = run_verb(Job.PRETRAIN, {PRETRAIN_NODE: {**config, "seed": seed}})
    emit(outcome.report, summarise_pretrain, as_json=json_output)


def evaluate(
    model: ModelOption = None,
    split: Annotated[str, typer.Option(metavar="train|val|test", help="Which images.")] = Split.TEST.value,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """Every metric on the newest dataset version, with intervals."""
    from pipelines.command_line.summaries_model import summarise_evaluate

    outcome = run_verb(Job.EVALUATE, {AssetName.EVALUATION: {"model": model, "split": split, "seed": seed}})
    emit(outcome.report, summarise_evaluate, as_json=json_output)


def promote(
    who: WhoOption,
    why: WhyOption,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Default: the candidate.")] = None,
    override: Annotated[bool, typer.Option("--override", help="Promote although the gate refuses; recorded.")] = False,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """Make a model the champion, through the gate; exit code 1 when it refuses."""
    from pipelines.command_line.summaries_model import summarise_promote
    from pipelines.steps.promote import GateRefused

    config = {"who": who, "why": why, "version": version, "override": override, "seed": seed}
    try:
        report = run_verb(Job.PROMOTE, {AssetName.CHAMPION: config}).report
    except GateRefused as refusal:
        emit(refusal.report.model_dump(mode="json"), summarise_promote, as_json=json_output)
        raise typer.Exit(refusal.exit_code) from None
    emit(report, summarise_promote, as_json=json_output)


def rollback(who: WhoOption, why: WhyOption, json_output: JsonFlag = False) -> None:
    """Restore the previous champion."""
    from pipelines.command_line.summaries_model import summarise_rollback

    outcome = run_verb(Job.ROLLBACK, {"restore_previous_champion": {"who": who, "why": why}})
    emit(outcome.report, summarise_rollback, as_json=json_output)


def models(json_output: JsonFlag = False) -> None:
    """List the registered models."""
    from pipelines.command_line.summaries_model import summarise_models
    from pipelines.steps.models import list_models

    report = list_models(workspace_in_use().require())
    emit(report.model_dump(mode="json"), summarise_models, as_json=json_output)


def report(
    model: ModelOption = None,
    split: Annotated[str, typer.Option(metavar="train|val|test", help="Which images.")] = Split.TEST.value,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """Write one self-contained HTML file about a model."""
    from pipelines.command_line.summaries_model import summarise_report

    outcome = run_verb(Job.REPORT, {AssetName.HTML_REPORT: {"model": model, "split": split, "seed": seed}})
    emit(outcome.report, summarise_report, as_json=json_output)
