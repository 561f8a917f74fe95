"""Against a champion of preset `best`: how much faster a smaller model under `compress` is, and what it loses.

    python tests/benchmarks/measure_compression.py x-sdd elpv
    python tests/benchmarks/measure_compression.py x-sdd --epochs 15 --compress-epochs 8    less time for both

The workspace is SET-best-SEED under --folder: a registered model of preset `best` that it holds is the champion,
otherwise one is trained and promoted. `compress` is asked for what computes an image in 1/3.3 of the champion's time:
a tenth more than the three times that count, because measurements jump. Then, on the test images, which chose nothing:
images per second of computing alone (prepared pixels to logits, all cores, the champion as packaged in 32 bits), five
repetitions in turn, and macro-F1 of both with the paired interval of the difference. Killed, the same command goes on.
Writes results/compression-SET.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_sets import read_set
from embedded_sets import curated_set
from machine import machine
from numpy.typing import NDArray

from data_contracts.settings import read_settings
from data_contracts.vocabulary import Alias, Split
from data_contracts.workspace import Workspace
from domain_models.compression import macro_f1_with_interval
from domain_models.compute import Threads
from domain_models.deployment_speed import best_setting, images_per_second, milliseconds_an_image
from domain_models.paired_gain import paired_gain
from domain_models.training_data import LabelledImages
from pipelines.command_line.context import progress_on_stderr
from pipelines.steps.compress import CompressReport, CompressRequest, NothingSmallEnough, compress
from pipelines.steps.dataset import load_dataset
from pipelines.steps.export import ExportRequest, export
from pipelines.steps.prepared_images import prepared_images
from pipelines.steps.promote import PromoteRequest, promote
from pipelines.steps.registry import open_registry
from pipelines.steps.score_model import ScoringModel, scoring_model
from pipelines.steps.train import TrainRequest, train

HERE = Path(__file__).resolve().parent
TIMED = 256
"""Test images, from all over, that speed is measured on."""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="of the champion; default: the preset's")
    parser.add_argument("--compress-epochs", type=int, help="of each smaller model; default: compress's")
    parser.add_argument("--minutes", type=float, help="as of compress")
    parser.add_argument("--times", type=float, default=3.3)
    parser.add_argument("--max-loss", type=float, default=1.0)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--remark", help="what a reader of the figures should know, such as what else ran")
    arguments = parser.parse_args()
    for name in arguments.sets:
        workspace = curated_set(read_set(name), arguments.folder / f"{name}-best-{arguments.seed}", arguments.seed)
        result = measured(workspace, name, arguments)
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / f"compression-{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def measured(workspace: Workspace, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one set."""
    version = champion(workspace, arguments.seed, arguments.epochs)
    large = scoring_model(workspace, version, precision="fp32")
    request = CompressRequest(
        model=version,
        target_ms=target(workspace, large, arguments.times),
        max_loss=arguments.max_loss,
        epochs=arguments.compress_epochs,
        minutes=arguments.minutes,
        seed=arguments.seed,
    )
    try:
        report = compress(workspace, request, progress_on_stderr())
    except NothingSmallEnough as nothing:
        report = nothing.report
    result: dict[str, Any] = {
        "set": name,
        "date": date.today().isoformat(),
        "machine": machine(),
        "champion": {
            "backbone": large.card.architecture.backbone,
            "width": large.card.preprocessing.width,
            "height": large.card.preprocessing.height,
            "epochs": large.card.config["epochs"],
            "runtime": large.runtime,
        },
        "target_ms": request.target_ms,
        "max_loss": request.max_loss,
        "chosen": report.chosen,
        "sentence": report.sentence,
        "left_out": report.left_out,
        "validation": [row.model_dump(mode="json") for row in report.rows],
        **({"remark": arguments.remark} if arguments.remark else {}),
    }
    if report.chosen is not None:
        small = deployed(workspace, version, report)
        result["repetitions"] = arguments.repetitions
        result["images_per_second"] = in_turn(workspace, large, small, arguments.repetitions)
        result["test"] = on_test(workspace, large, small)
    return result


def champion(workspace: Workspace, seed: int, epochs: int | None) -> str:
    """The version of preset `best` that is the champion; trained and promoted if need be."""
    with open_registry(workspace) as registry:
        found = [info.version for info in registry.versions() if info.tags.get("preset") == "best"]
        present = registry.alias(Alias.CHAMPION)
    if present in found:
        return str(present)
    if not found:
        overrides = () if epochs is None else (f"epochs={epochs}",)
        request = TrainRequest(preset="best", overrides=overrides, seed=seed)
        found = [train(workspace, request, progress_on_stderr()).model_version]
    why = "the model that a smaller one is held against"
    promote(workspace, PromoteRequest(who="benchmark", why=why, version=found[0], override=True))
    return found[0]


def target(workspace: Workspace, large: ScoringModel, times: float) -> float:
    """Milliseconds an image that are asked for; measured once, so that a killed run asks for the same."""
    path = workspace.folder / f"compression-target-{times:g}.json"
    if not path.is_file():
        images, cores = some(test_images(workspace, large)), read_settings().processes
        setting = best_setting(large.open, images, cores)
        rates = [images_per_second(large.open, images, cores, setting) for _ in range(5)]
        path.write_text(json.dumps(milliseconds_an_image(rates) / times))
    return float(json.loads(path.read_text()))


def deployed(workspace: Workspace, version: str, report: CompressReport) -> ScoringModel:
    """What was chosen, as `score` would compute it; of the champion itself, the artefact that it is."""
    row = next(row for row in report.rows if row.name == report.chosen)
    precision = row.runtime.partition("-")[2] or "fp32"
    if report.model_version is None and precision != "fp32":
        export(workspace, ExportRequest(format="openvino", precision=precision, model=version))
    return scoring_model(workspace, report.model_version or version, precision=precision)


def in_turn(workspace: Workspace, large: ScoringModel, small: ScoringModel, repetitions: int) -> dict[str, Any]:
    """Images per second of both, measured in turn, and how many times as many."""
    models, cores = {"champion": large, "chosen": small}, read_settings().processes
    images = {who: some(test_images(workspace, model)) for who, model in models.items()}
    settings = {who: best_setting(model.open, images[who], cores) for who, model in models.items()}
    rates: dict[str, list[float]] = {who: [] for who in models}
    for _ in range(repetitions):
        for who, model in models.items():
            rates[who].append(images_per_second(model.open, images[who], cores, settings[who], seconds=2.0))
    times = [fast / slow for slow, fast in zip(rates["champion"], rates["chosen"], strict=True)]
    return {who: spread(values) for who, values in {**rates, "times": times}.items()}


def on_test(workspace: Workspace, large: ScoringModel, small: ScoringModel) -> dict[str, Any]:
    """Macro-F1 of both on the test images, and the paired difference."""
    called = [predicted(model, test_images(workspace, model)) for model in (large, small)]
    images, classes = test_images(workspace, large), len(large.card.classes)
    if small.card.classes != large.card.classes:
        raise SystemExit("The two models have different classes.")
    gain = paired_gain(images.labels, *called, images.groups, classes).macro_f1
    found: dict[str, Any] = {"n": len(images), "difference": gain.gained, "difference_ci": gain.interval}
    for who, said in zip(("champion", "chosen"), called, strict=True):
        value, interval = macro_f1_with_interval(images.labels, said, images.groups, classes)
        found[who] = {"macro_f1": value, "macro_f1_ci": interval}
    return found


def test_images(workspace: Workspace, model: ScoringModel) -> LabelledImages:
    """The test images, as a model wants them."""
    _, manifest = load_dataset(workspace)
    rows = manifest[manifest["split"] == Split.TEST.value]
    return LabelledImages.of_manifest(rows, prepared_images(workspace, rows, model.card.preprocessing))


def some(images: LabelledImages) -> NDArray[np.uint8]:
    """Some of them, from all over."""
    return images.images[np.linspace(0, len(images) - 1, min(TIMED, len(images))).astype(np.int64)]


def predicted(model: ScoringModel, images: LabelledImages) -> NDArray[np.int64]:
    """int64 [n]: what a model calls them."""
    compute = model.open(Threads(read_settings().processes, 1))
    logits = [compute(images.images[start : start + 16]) for start in range(0, len(images), 16)]
    return model.card.decision_costs.predicted(model.card.probabilities(np.concatenate(logits)))


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    main()
