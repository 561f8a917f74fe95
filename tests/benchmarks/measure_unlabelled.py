"""What images without a label are worth: few labels, the other training images without any, by the product's own steps.

    python tests/benchmarks/measure_unlabelled.py infrared x-sdd --labelled 0.2 --seeds 3 [--share 0.2] [--folder DIR]

Of the training groups, a share keeps its labels; validation and test keep all of theirs. In the same workspace, with
the same seed and preset: ``plain``; ``taught`` by a larger backbone that learned from the same labels; ``fixmatch``
with distribution alignment, without it, and with the shares of the labels to the power one half; ``simclr`` weights
that were learned from training images and pool. Writes results/unlabelled-SET.json; with --folder, what was
trained is kept and goes on there after a kill.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_sets import NAMES, BenchmarkSet, drawn, read_set
from machine import machine

from data_contracts.errors import TailsightError
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from domain_models.cross_fitting import group_folds
from pipelines.command_line.output import STDERR
from pipelines.command_line.progress_bars import terminal_progress
from pipelines.steps.curate import curate
from pipelines.steps.evaluate import EvaluateRequest, evaluate
from pipelines.steps.ingest import IngestRequest, ingest
from pipelines.steps.initialise import initialise
from pipelines.steps.pretrain import PretrainRequest, pretrain
from pipelines.steps.train import TrainRequest, train

HERE = Path(__file__).resolve().parent
TEACHER = "tf_efficientnet_lite2"
FIGURES = ("macro_f1", "balanced_accuracy", "accuracy", "n")


def lay_out(data: BenchmarkSet, folder: Path, labelled: float, seed: int) -> Workspace:
    """A workspace with a fifth of the groups for the test, a fifth for validation, and few labels in the rest."""
    workspace = Workspace(folder)
    if workspace.datasets.is_dir():  # curated before a kill
        return workspace
    labels, groups = [row[1] for row in data.rows], tuple(row[2] or row[0] for row in data.rows)
    _, codes = np.unique(labels, return_inverse=True)
    parts = [held for _, held in group_folds(codes.astype(np.int64), groups, 5, seed)]
    split = np.full(len(labels), "train", dtype=object)
    split[parts[0]], split[parts[1]] = "test", "val"
    training = np.flatnonzero(split == "train")
    share = max(2, round(1 / labelled))
    kept = training[
        group_folds(codes[training].astype(np.int64), tuple(groups[i] for i in training), share, seed)[0][1]
    ]
    known = set(kept.tolist()) | set(np.flatnonzero(split != "train").tolist())
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "group", "split"])
        (folder / "images").mkdir(exist_ok=True)
        for i, (path, label, _) in enumerate(data.rows):
            # only what was drawn is in the pool, and an image without a label has no split of its own
            name = f"images/{i:06}{Path(path).suffix}"
            shutil.copy2(path, folder / name)
            writer.writerow([name, label if i in known else "", groups[i], split[i] if i in known else ""])
    initialise(workspace, data.profile)
    columns = {"group_column": "group", "split_column": "split"}
    request = IngestRequest(images=folder / "images", labels=folder / "labels.csv", who="benchmark", **columns)
    ingest(workspace, request)
    curate(workspace)
    return workspace


def arms(workspace: Workspace, settings: tuple[str, ...], seed: int, epochs: int) -> dict[str, Callable[[], Any]]:
    """Each way to train, by name; all with the standard preset."""
    progress = terminal_progress(STDERR)

    def trained(*more: str) -> str:
        request = TrainRequest(preset="standard", overrides=(*settings, *more), seed=seed)
        return train(workspace, request, progress).model_version

    def pretrained() -> str:
        # the same network and input, but none of the settings of a training
        network = tuple(one for one in settings if one.startswith(("backbone", "preprocessing")))
        found = pretrain(workspace, PretrainRequest(epochs=epochs, seed=seed, overrides=network), progress)
        STDERR.print(found.sentences[-1])
        return trained(f"weights={found.weights}")

    return {
        "plain": trained,
        "taught": lambda: trained(f"teacher.model={trained(f'backbone={TEACHER}')}"),
        "fixmatch": lambda: trained("pool.ratio=2"),
        "fixmatch_unaligned": lambda: trained("pool.ratio=2", "pool.alignment=false"),
        "fixmatch_power_half": lambda: trained("pool.ratio=2", "pool.prior_power=0.5"),
        "simclr": pretrained,
    }


def measure(workspace: Workspace, arm: Callable[[], str]) -> dict[str, Any]:
    """Figures on the test images, and what the training said of itself."""
    version = arm()
    report = evaluate(workspace, EvaluateRequest(model=version))
    found = report.as_one()
    return {**{name: found[name] for name in FIGURES}, "few": found["groups"]["few"], "model_version": version}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=NAMES)
    parser.add_argument("--labelled", type=float, default=0.2, help="share of the training groups with labels")
    parser.add_argument("--share", type=float, default=1.0, help="of the data set")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20, help="of the pretraining")
    parser.add_argument("--arms", nargs="+", default=None)
    parser.add_argument("--set", dest="settings", action="append", default=["cross_fit_folds=0"])
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="tailsight-unlabelled-"))
    read_settings()
    for name in arguments.sets:
        runs: list[dict[str, Any]] = []
        for seed in range(arguments.seeds):
            data = drawn(read_set(name), arguments.share, seed)
            workspace = lay_out(
                data, folder / f"{name}-{arguments.share}-{arguments.labelled}-{seed}", arguments.labelled, seed
            )
            for arm, make in arms(workspace, tuple(arguments.settings), seed, arguments.epochs).items():
                if arguments.arms and arm not in arguments.arms:
                    continue
                try:
                    run = {"arm": arm, "seed": seed, **measure(workspace, make)}
                except TailsightError as error:
                    run = {"arm": arm, "seed": seed, "error": str(error)}
                print(json.dumps(run), file=sys.stderr)
                runs.append(run)
        found = {"set": name, "labelled": arguments.labelled, "share": arguments.share, "settings": arguments.settings}
        found |= {"runs": runs, "machine": machine(), "date": date.today().isoformat()}
        path = HERE / "results" / f"unlabelled-{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(path.read_text())


if __name__ == "__main__":
    main()
