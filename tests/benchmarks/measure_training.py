"""Fine-tuning against a plain loop: images per second, sooner to the same macro-F1, one process against two.

    python tests/benchmarks/measure_training.py
    python tests/benchmarks/measure_training.py --images 200 --repetitions 1 --seeds 1 --epochs 2     a trial, minutes

On the solar cells, for each seed split by group into 64% training, 16% validation and 20% test images. In each
repetition, in turn and in processes of their own: the plain loop (plain_training.py); our loop on the same schedule;
our loop in two processes; then the number formats, forward and backward alone. The first --seeds repetitions train to
the end and give macro-F1 as well, the others two epochs, for the speed. For each seed also ``train`` as a user calls
it, preset ``standard``, from the first file to the registered candidate: calibration, decision weights and the graph
for scoring are in its seconds, and it does not know the plain loop's result. Without its fold models, which set triage
thresholds and change no class. Macro-F1 of both on the test images, which chose nothing.

Decoding is in the seconds of both sides: the plain loop decodes in every epoch, ours once, before its first.
Writes training-speed.json after every run; a killed measurement goes on there, on another machine with the next
repetition.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch
from benchmark_sets import drawn, read_set
from embedded_sets import curated_set
from machine import in_words, machine
from measure_accuracy import PLAIN
from training_formats import format_rates
from training_tables import summary_of

from data_contracts.blobs import Blobs
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.roots import registered_roots
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.intervals import group_codes
from domain_models.training import train as fine_tune
from domain_models.training_config import TrainingConfig
from pipelines.steps.candidate import prepared_data
from pipelines.steps.dataset import load_dataset
from pipelines.steps.predictions import predict_split
from pipelines.steps.prepared_images import image_cache_folder
from pipelines.steps.registry import open_registry
from pipelines.steps.train import TrainRequest, plan, train
from pipelines.training_processes import team_of

HERE = Path(__file__).resolve().parent
ALL_IMAGES = 2624
SPEED_EPOCHS = 2


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="how many repetitions train to the end")
    parser.add_argument("--images", type=int, default=ALL_IMAGES, help="a subset, for a trial")
    parser.add_argument("--epochs", type=int, help="instead of the preset's, for a trial")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces", help="of the workspaces")
    parser.add_argument("--remark", help="what a reader of the figures should know, such as what else ran")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "TASK"), help="one run, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(RUNS[arguments.one[0]](json.loads(Path(arguments.one[1]).read_text()))))
        return
    measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Whatever is missing in the results."""
    path = arguments.results / "training-speed.json"
    settings = {name: getattr(arguments, name) for name in ("seeds", "repetitions", "images", "epochs")}
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    kept = {name: content.get("settings", {}).get(name) for name in ("images", "epochs")}
    if content and kept != {name: settings[name] for name in kept}:
        raise SystemExit(f"{path} is of other images or epochs; move it away, or give another --results.")
    here = machine()
    content |= {name: content.get(name, {}) for name in ("runs", "machines")}
    content |= {"settings": settings, "machine": here}
    content |= {"remark": arguments.remark} if arguments.remark else {}

    def run(kind: str, repetition: int, task: Mapping[str, Any]) -> dict[str, Any]:
        name = f"{kind} {repetition}"
        if name not in content["runs"]:
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(task, file)
                file.flush()
                command = [str(HERE / "plain_training.py"), file.name]
                if kind != "plain":
                    command = [str(Path(__file__).resolve()), "--one", kind, file.name]
                done = subprocess.run([sys.executable, *command], check=True, stdout=subprocess.PIPE)
            content["runs"][name] = json.loads(done.stdout)
            content["machines"][str(repetition)] = in_words(here)
            content["summary"], content["date"] = summary_of(content["runs"]), date.today().isoformat()
            arguments.results.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=1) + "\n")
            print(name, json.dumps(content["runs"][name])[:300], file=sys.stderr)
        found: dict[str, Any] = content["runs"][name]
        return found

    for repetition in range(arguments.repetitions):
        whole = repetition < arguments.seeds
        begun = {name for name in content["runs"] if name.endswith(f" {repetition}")}
        if len(begun) < len(RUNS) + whole and content["machines"].get(str(repetition)) != in_words(here):
            for name in begun:  # of another machine: what is compared is measured on one
                del content["runs"][name]
        task = task_of(arguments, repetition, whole=whole)
        kinds = ("plain", "ours", "two processes")
        for kind in kinds if repetition % 2 == 0 else kinds[::-1]:
            run(kind, repetition, task)
        run("formats", repetition, task)
        if whole:
            run("standard", repetition, task)


def task_of(arguments: argparse.Namespace, seed: int, *, whole: bool) -> dict[str, Any]:
    """What a run has to know: files, settings and threads."""
    data = drawn(read_set("elpv"), arguments.images / ALL_IMAGES, seed)
    folder = arguments.folder / f"training-speed-{arguments.images}-{seed}"
    workspace = curated_set(data, folder, seed)
    manifest = load_dataset(workspace)[1]
    with Ledger.open(workspace) as ledger:
        blobs = Blobs(registered_roots(ledger))
    epochs = [f"epochs={arguments.epochs}"] if arguments.epochs else []
    long = [f"epochs={SPEED_EPOCHS}"] if not whole and not arguments.epochs else []
    alike = TrainRequest(overrides=(*PLAIN, "label_smoothing=0.05", "early_stopping=1000", *epochs, *long), seed=seed)
    config = plan(workspace, alike, manifest, workspace.profile)[0]
    files = {
        split: [
            (str(blobs.path(uri)), int(index))
            for uri, index in manifest.loc[manifest["split"] == split, ["uri", "class_index"]].itertuples(index=False)
        ]
        for split in ("train", "val", "test")
    }
    return files | {
        "workspace": str(workspace.folder),
        "classes": int(manifest["class_index"].max()) + 1,
        "config": config.model_dump(mode="json"),
        "overrides": epochs,
        "seed": seed,
        "threads": read_settings().processes,
    }


def ours(task: Mapping[str, Any], processes: int = 1) -> dict[str, Any]:
    """Our loop, decoding included."""
    torch.set_num_threads(task["threads"])
    workspace, config = Workspace(Path(task["workspace"])), TrainingConfig.model_validate(task["config"])
    dataset, manifest = load_dataset(workspace)
    shutil.rmtree(image_cache_folder(workspace), ignore_errors=True)
    epochs: list[dict[str, float]] = []
    with team_of(workspace, processes, config.device) as team, tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        data = prepared_data(workspace, dataset, manifest, config.preprocessing)
        decoded = time.perf_counter() - began

        def note(row: Mapping[str, float]) -> None:
            said = {"images": float(len(data.train)), "seconds": row["seconds"]}
            said |= {"reached": time.perf_counter() - began, "epoch": row["epoch"], "macro_f1": row["val_macro_f1"]}
            epochs.append(said)

        fine_tune(data, config, Path(place), after_epoch=note, team=team)
    return {"epochs": epochs, "decoding_seconds": decoded}


def standard(task: Mapping[str, Any]) -> dict[str, Any]:
    """``train --preset standard`` in a copy of the workspace that knows no decoded image and no checkpoint."""
    torch.set_num_threads(task["threads"])
    with tempfile.TemporaryDirectory() as place:
        workspace = Workspace(Path(shutil.copytree(task["workspace"], Path(place) / "workspace")))
        for folder in (workspace.cache, workspace.runs):
            shutil.rmtree(folder, ignore_errors=True)
        request = TrainRequest(overrides=(*task["overrides"], "cross_fit_folds=0"), seed=task["seed"])
        began = time.perf_counter()
        report = train(workspace, request)
        seconds = time.perf_counter() - began
        dataset, manifest = load_dataset(workspace)
        with open_registry(workspace) as registry:
            said = predict_split(workspace, registry, report.model_version, dataset, manifest, Split.TEST)
    return {
        "seconds": seconds,
        "choices": report.choices,
        "test_predicted": said.predicted.tolist(),
        "test_labels": said.labels.tolist(),
        "test_groups": group_codes(said.components, len(said.labels)).tolist(),
    }


def formats(task: Mapping[str, Any]) -> dict[str, Any]:
    """Forward and backward alone, in each number format and memory format."""
    torch.set_num_threads(task["threads"])
    return format_rates(TrainingConfig.model_validate(task["config"]), task["classes"])


RUNS = {
    "ours": ours,
    "two processes": lambda task: ours(task, processes=2),
    "standard": standard,
    "formats": formats,
}

if __name__ == "__main__":
    main()
