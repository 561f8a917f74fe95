"""Incremental against full retraining on the same data: macro-F1 as a paired difference, and seconds.

    python tests/benchmarks/measure_retrain.py elpv x-sdd ham10000      five splits of each, then the table
    python tests/benchmarks/measure_retrain.py x-sdd --splits 1
    python tests/benchmarks/measure_retrain.py ham10000 --share 0.33       a third of the groups, drawn for each split
    python tests/benchmarks/measure_retrain.py --images DIR --labels CSV --name tiny --splits 2 --set epochs=2
    python tests/benchmarks/measure_retrain.py --pool                    only the table, from what was measured

For each split: a tenth of the images has no label yet and 2% of the labels are wrong; a champion is trained in full on
that and promoted; readers label and correct; then the same dataset version is learned incrementally and in full, and
both are judged on its test split. Each split writes results/retrain-SET-splitN.json and is not measured again; the pool
writes results/retrain.json: per set and over all sets the mean difference over splits with a 95% interval, from a
bootstrap that draws groups anew within each split for both models alike.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_sets import BenchmarkSet, drawn, read_set, write_labels
from machine import machine
from numpy.typing import NDArray

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.images import occurrences_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.progress import SILENT
from data_contracts.records import NewLabelEvent
from data_contracts.vocabulary import Action, Source, Split
from data_contracts.workspace import Workspace
from domain_models.class_counts import count_columns, counts_from_sums
from domain_models.intervals import bootstrap_weights, group_codes, group_sums
from pipelines.steps.curate import CurateRequest, curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.ingest import IngestRequest, ingest
from pipelines.steps.initialise import initialise
from pipelines.steps.predictions import predict_split
from pipelines.steps.promote import PromoteRequest, promote
from pipelines.steps.registry import open_registry
from pipelines.steps.retrain import RetrainRequest, retrain
from pipelines.steps.train import TrainRequest, train

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
UNLABELLED_SHARE = 0.10
WRONG_SHARE = 0.02
REPLICATES = 2000
GOALS = {"macro_f1_lower_bound": -0.02, "largest_share_of_seconds": 0.1}


def measure(name: str, data: BenchmarkSet, split: int, preset: str, overrides: tuple[str, ...], place: Path) -> Any:
    """One split of one set: train the champion, learn what changed both ways, judge both."""
    workspace = Workspace(place / f"{name}-{split}")
    initialise(workspace, data.profile)
    truth = {path: label for path, label, _ in data.rows}
    spoken = _first_labels(data, split)
    table = place / f"{name}-{split}.csv"
    write_labels(table, data, spoken)
    ingest(
        workspace,
        IngestRequest(images=data.images, labels=table, group_column="group", who="benchmark"),
        SILENT,
    )
    curate(workspace, CurateRequest(seed=split))
    first = train(workspace, TrainRequest(preset=preset, overrides=overrides, seed=split))
    promote(workspace, PromoteRequest(who="benchmark", why="first", version=first.model_version, override=True))
    answered = _answer(workspace, data, spoken, truth)
    before = _processor_seconds()
    incremental = retrain(workspace, RetrainRequest(mode="incremental", seed=split))
    between = _processor_seconds()
    full = retrain(workspace, RetrainRequest(mode="full", preset=preset, overrides=overrides, seed=split))
    after = _processor_seconds()
    assert incremental.changes is not None
    assert incremental.dataset_version == full.dataset_version
    dataset, manifest = load_dataset(workspace)
    models = {
        "champion": first.model_version,
        "incremental": str(incremental.model_version),
        "full": str(full.model_version),
    }
    with open_registry(workspace) as registry:
        predictions = {
            which: predict_split(workspace, registry, version, dataset, manifest, Split.TEST)
            for which, version in models.items()
        }
    one = predictions["full"]
    return {
        "set": name,
        "split": split,
        "images": len(data.rows),
        "preset": preset,
        "overrides": list(overrides),
        "classes": list(one.classes),
        "answered": answered,
        "changes": incremental.changes.model_dump(mode="json"),
        "replayed": incremental.replayed,
        "activations_computed": incremental.activations_computed,
        "choices": incremental.candidate.choices if incremental.candidate else [],
        "seconds": {"champion": first.seconds, "incremental": incremental.seconds, "full": full.seconds},
        "processor_seconds": {"incremental": between - before, "full": after - between},
        "test": {
            "labels": one.labels.tolist(),
            "groups": group_codes(one.components, len(one.labels)).tolist(),
            **{which: found.predicted.tolist() for which, found in predictions.items()},
        },
        "machine": machine(),
        "date": date.today().isoformat(),
    }


def _processor_seconds() -> float:
    """Of this process and of its children that ended: what other work on the machine does not lengthen."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _first_labels(data: BenchmarkSet, split: int) -> dict[str, str]:
    """What the labels CSV says at first: whole groups without a label, some labels wrong."""
    chance = random.Random(f"{split}")
    names = sorted({label for _, label, _ in data.rows})
    groups = sorted({group or path for path, _, group in data.rows})
    silent = set(chance.sample(groups, round(UNLABELLED_SHARE * len(groups))))
    spoken = {}
    for path, label, group in data.rows:
        wrong = chance.random() < WRONG_SHARE
        other = chance.choice([name for name in names if name != label])
        spoken[path] = "" if (group or path) in silent else (other if wrong else label)
    return spoken


def _answer(workspace: Workspace, data: BenchmarkSet, spoken: dict[str, str], truth: dict[str, str]) -> dict[str, int]:
    """Readers label what has no label and correct what is wrong."""
    with Ledger.open(workspace) as ledger:
        places, roots = occurrences_frame(ledger), registered_roots(ledger)
        columns = (places["root_id"], places["path"], places["image_id"])
        image_ids = {
            (Path(roots[root]) / path).resolve(): image_id for root, path, image_id in zip(*columns, strict=True)
        }
        events = []
        for path, _, _ in data.rows:
            image_id = image_ids.get(Path(path).resolve())
            if image_id is None or spoken[path] == truth[path]:
                continue
            action = Action.CORRECT if spoken[path] else Action.LABEL
            events.append(
                NewLabelEvent(who="reader", subject_id=image_id, action=action, label=truth[path], source=Source.READER)
            )
        append_events(ledger, events)
    corrected = sum(1 for event in events if event.action is Action.CORRECT)
    return {"labelled": len(events) - corrected, "corrected": corrected}


def replicates(result: dict[str, Any]) -> dict[str, Any]:
    """Macro-F1 of each model, and bootstrap draws of the paired differences from full retraining."""
    k, test = len(result["classes"]), result["test"]
    labels, groups = (np.asarray(test[name], dtype=np.int64) for name in ("labels", "groups"))
    which = ("champion", "incremental", "full")
    columns = [count_columns(labels, np.asarray(test[name], dtype=np.int64), k) for name in which]
    sums = group_sums(np.hstack(columns), groups)

    def scores(drawn: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return [counts_from_sums(drawn[:, i * 3 * k : (i + 1) * 3 * k], k).macro_f1 for i in range(len(which))]

    draws = [
        scores((weights @ sums).astype(np.float64))
        for weights in bootstrap_weights(len(sums), replicates=REPLICATES, seed=result["split"])
    ]
    champion, incremental, full = (np.concatenate([draw[i] for draw in draws]) for i in range(len(which)))
    points = [float(score[0]) for score in scores(sums.sum(axis=0, keepdims=True).astype(np.float64))]
    return {
        "points": dict(zip(which, points, strict=True)),
        "against_full": incremental - full,
        "against_champion": incremental - champion,
    }


def pooled(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over splits, with the interval of the mean."""
    found = [replicates(result) for result in results]

    def difference(against: str, key: str) -> dict[str, float]:
        drawn = np.mean([item[key] for item in found], axis=0)
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        point = np.mean([item["points"]["incremental"] - item["points"][against] for item in found])
        bound = np.nanquantile(drawn, 0.05)
        return {"mean": float(point), "low": float(low), "high": float(high), "lower_95_bound": float(bound)}

    shares, processor_shares = (
        [result[key]["incremental"] / result[key]["full"] for result in results]
        for key in ("seconds", "processor_seconds")
    )
    differences = [item["points"]["incremental"] - item["points"]["full"] for item in found]
    return {
        "splits": len(results),
        "images": round(float(np.mean([result["images"] for result in results]))),
        "macro_f1": {
            name: float(np.mean([item["points"][name] for item in found]))
            for name in ("champion", "incremental", "full")
        },
        "incremental_minus_full": difference("full", "against_full"),
        "incremental_minus_champion": difference("champion", "against_champion"),
        "difference_per_split": differences,
        "seconds": {
            name: float(np.mean([result["seconds"][name] for result in results])) for name in ("incremental", "full")
        },
        "share_of_seconds": float(np.mean(shares)),
        "largest_share_of_seconds": float(max(shares)),
        "share_of_processor_seconds": float(np.mean(processor_shares)),
    }


def pool(folder: Path) -> dict[str, Any]:
    """The table of all splits that were measured."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("retrain-*-split*.json"))]
    sets = sorted({result["set"] for result in results})
    table = {name: pooled([result for result in results if result["set"] == name]) for name in sets}
    return {"goals": GOALS, "sets": table, "all": pooled(results) if results else None}


def main() -> None:
    """Parse the command line, measure what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="elpv|x-sdd|ham10000")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the groups, so that a large set takes less time")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--name", default="folder")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--pool", action="store_true")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    names = [arguments.name] if arguments.images else arguments.sets
    for name in [] if arguments.pool else names:
        data = read_set(name, arguments.images, arguments.labels)
        for split in range(arguments.splits):
            path = arguments.results / f"retrain-{name}-split{split}.json"
            if path.exists():
                continue
            with tempfile.TemporaryDirectory(prefix="tailsight-retrain-") as place:
                part = drawn(data, arguments.share, split)
                result = measure(name, part, split, arguments.preset, tuple(arguments.overrides), Path(place))
            path.write_text(json.dumps(result) + "\n")
            print(json.dumps({"set": name, "split": split, **pooled([result])}), file=sys.stderr)
    table = pool(arguments.results)
    (arguments.results / "retrain.json").write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
