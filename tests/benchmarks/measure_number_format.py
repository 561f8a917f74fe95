"""Training in 16-bit floats (bf16): what it costs in macro-F1, and what it saves in time.

    python tests/benchmarks/measure_number_format.py elpv infrared x-sdd --seeds 3

For each set and seed preset ``standard`` is trained twice on the split of measure_accuracy.py, forward passes in 32-bit
and in 16-bit floats and all else alike, and both predict the test images, which chose nothing. A training that its
workspace in --folder already holds (of measure_accuracy.py, or of a killed run) is not made again; seconds are
compared only where both were made here, in turn. Writes results/number-format-SET.json after every seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_pool import coded
from benchmark_sets import NAMES, read_set
from embedded_sets import curated_set
from machine import machine

from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.intervals import group_codes
from domain_models.paired_gain import paired_gain
from pipelines.command_line.context import progress_on_stderr
from pipelines.steps.dataset import load_dataset
from pipelines.steps.predictions import Predictions, predict_split
from pipelines.steps.registry import open_registry
from pipelines.steps.train import TrainRequest, train

HERE = Path(__file__).resolve().parent
FORMATS = {"fp32": (), "bf16": ("precision=bf16",)}


def main() -> None:
    """Parse the command line, measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="|".join(NAMES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces", help="of the workspaces")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        for name in arguments.sets:
            path = arguments.results / f"number-format-{name}.json"
            found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"set": name, "seeds": {}}
            if str(seed) in found["seeds"]:
                continue
            place = arguments.folder.absolute() / f"{name}-standard-{seed}"
            found["seeds"][str(seed)] = measured(curated_set(read_set(name), place, seed), seed)
            found |= {"machine": machine(), "date": date.today().isoformat()}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1) + "\n")
            print(name, seed, found["seeds"][str(seed)]["difference"], file=sys.stderr)


def measured(workspace: Workspace, seed: int) -> dict[str, Any]:
    """Both formats, one after the other; which is first changes with the seed."""
    dataset, manifest = load_dataset(workspace)
    said: dict[str, Predictions] = {}
    result: dict[str, Any] = {}
    for name in sorted(FORMATS, reverse=seed % 2 == 0):
        request = TrainRequest(overrides=("cross_fit_folds=0", *FORMATS[name]), seed=seed)
        report = train(workspace, request, progress_on_stderr())
        with open_registry(workspace) as registry:
            said[name] = predict_split(workspace, registry, report.model_version, dataset, manifest, Split.TEST)
        result[name] = {
            "seconds": None if report.reused else report.training_seconds,
            "predicted": coded(said[name].predicted),
        }
    labels, groups = said["fp32"].labels, group_codes(said["fp32"].components, len(said["fp32"].labels))
    called = said["fp32"].predicted, said["bf16"].predicted
    gain = paired_gain(labels, *called, groups, len(said["fp32"].classes), seed=seed).macro_f1
    for name, figure in zip(FORMATS, (gain.before, gain.after), strict=True):
        accuracy = float(np.mean(said[name].predicted == labels))
        result[name] |= {"macro_f1": figure, "accuracy": accuracy}
    both = result["fp32"]["seconds"], result["bf16"]["seconds"]
    return result | {
        "difference": gain.gained,
        "interval": gain.interval,
        "labels": coded(labels),
        "groups": groups.tolist(),
        "times_faster": None if None in both else both[0] / both[1],
    }


if __name__ == "__main__":
    main()
