"""Verbs about the review queue: ``queue``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, SeedOption, absolute, run_verb
from pipelines.command_line.output import emit
from pipelines.definitions.names import AssetName, Job


def queue(
    budget: Annotated[
        int | None,
        typer.Option("--budget", min=0, metavar="N", help="Learn tasks at most; the profile's budget by default."),
    ] = None,
    strategy: Annotated[str, typer.Option("--strategy", metavar="NAME", help="How learn tasks are chosen.")] = "mix",
    scores: Annotated[
        list[Path] | None,
        typer.Option("--scores", metavar="FILE", help="Score files; by default every batch that the model scored."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="champion|candidate|VERSION", help="Whose predictions.")
    ] = None,
    hold: Annotated[bool, typer.Option("--hold/--no-hold", help="Whether flagged images of a batch wait.")] = True,
    due_hours: Annotated[float, typer.Option("--due-hours", min=0.01, help="Until what waits must be decided.")] = 24.0,
    copy: Annotated[bool, typer.Option("--copy", help="Keep copies of scored files that will be moved.")] = False,
    seed: SeedOption = 0,
    json_output: JsonFlag = False,
) -> None:
    """Build a review round: what waits for a person, a random audit, and what would teach the model most.

    Strategies: mix, low_confidence, margin, entropy, clustered_margin, badge, confused_pairs, rare_classes, novelty,
    diverse, cold_start, suspect_labels, conflicts, random. Without any model it begins cold, with typical and diverse
    images.
    """
    from domain_models.selection.strategies import parse_strategy
    from pipelines.command_line.summaries_queue import summarise_queue

    parse_strategy(strategy)
    config = {
        "budget": budget,
        "strategy": strategy,
        "scores": [absolute(path) for path in scores or []],
        "model": model,
        "hold": hold,
        "due_hours": due_hours,
        "copy_files": copy,
        "seed": seed,
    }
    given = {name: value for name, value in config.items() if value is not None}
    outcome = run_verb(Job.QUEUE, {AssetName.REVIEW_ROUND: given})
    emit(outcome.report, summarise_queue, as_json=json_output)
