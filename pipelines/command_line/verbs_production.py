"""Verbs about production: ``score`` and the ``demo`` of the whole loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.context import JsonFlag, absolute, progress_on_stderr, run_verb, workspace_in_use
from pipelines.command_line.output import emit
from pipelines.definitions.names import AssetName, Job


def score(
    images: Annotated[str, typer.Argument(metavar="IMAGES", help="A folder or a glob.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.parquet", help="Where to put the table.")],
    model: Annotated[
        str, typer.Option("--model", metavar="champion|candidate|VERSION", help="Which model.")
    ] = "champion",
    runtime: Annotated[str, typer.Option(metavar="auto|torch|onnx|openvino|litert", help="What computes.")] = "auto",
    precision: Annotated[
        str, typer.Option(metavar="auto|fp32|bf16|int8|…", help="auto: what was exported last for OpenVINO, else fp32.")
    ] = "auto",
    engine: Annotated[
        str, typer.Option(metavar="local|ray", help="Where it runs: here, or on Ray's actors.")
    ] = "local",
    ray_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A Ray cluster; none: this machine's processors.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Images computed at once. Default: measured on this machine.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Score files: one row each, with triage; killed, the same command goes on where it stopped."""
    from pipelines.command_line.summaries_production import summarise_score
    from pipelines.steps.score import batch_key, check_engine

    check_engine(engine, ray_address)
    workspace = workspace_in_use().require()
    config = {
        "images": absolute(images),
        "out": absolute(out),
        "model": model,
        "runtime": runtime,
        "precision": precision,
        "batch_size": batch_size,
        "engine": engine,
        "ray_address": ray_address,
    }
    outcome = run_verb(Job.SCORE, {AssetName.BATCH_SCORES: config}, batch=batch_key(workspace, str(config["images"])))
    emit(outcome.report, summarise_score, as_json=json_output)


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="A frozen backbone: about two minutes.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Where chance enters.")] = 0,
    json_output: JsonFlag = False,
) -> None:
    """The whole loop on 2,624 real images of solar cells; killed, the same command goes on."""
    from pipelines.command_line.summaries_demo import summarise_demo
    from pipelines.demo import run_demo

    report = run_demo(workspace_in_use(), quick=quick, seed=seed, progress=progress_on_stderr())
    emit(report.model_dump(mode="json"), summarise_demo, as_json=json_output)
