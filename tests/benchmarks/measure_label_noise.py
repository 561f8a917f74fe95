"""Wrong labels planted on purpose: which share of them is among the first tenth of the images that people would see?

    python tests/benchmarks/measure_label_noise.py elpv infrared ham10000 x-sdd     three seeds of each, both kinds

``uniform``: 5% of the labels become any other class. ``pairs``: 5% become the class that a clean classifier confuses
theirs with most. Labels are judged by classifiers that saw neither the image nor its group, on features that no label
has shaped; the order is the one of the review queue (`suspect_labels`), with the undoubted after it. Beside it,
on the same probabilities: cleanlab's default call, ordered by itself. Writes results/label-noise-SET.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_sets import NAMES, read_set
from cleanlab.filter import find_label_issues
from embedded_sets import EmbeddedSet, embedded_set
from machine import machine
from numpy.typing import NDArray

from domain_models.class_counts import confusion_matrix
from domain_models.label_audit import out_of_fold_probabilities
from domain_models.selection.labels_in_doubt import label_doubt, label_suspicion

HERE = Path(__file__).resolve().parent
NOISE = 0.05
REVIEWED = 0.10
KINDS = ("uniform", "pairs")


def planted(
    labels: NDArray[np.int64], confused_with: NDArray[np.int64], kind: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels with errors, and the positions of these."""
    chance = np.random.default_rng([seed, KINDS.index(kind)])
    wrong = chance.choice(len(labels), round(NOISE * len(labels)), replace=False)
    spoiled = labels.copy()
    others = (labels[wrong] + chance.integers(1, len(confused_with), len(wrong))) % len(confused_with)
    spoiled[wrong] = others if kind == "uniform" else confused_with[labels[wrong]]
    return spoiled, wrong


def review_order(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of all images, the most doubted label first; those that nobody doubts come last."""
    doubt, suspicion = label_doubt(probabilities, labels), label_suspicion(probabilities, labels)
    return np.lexsort((-suspicion, np.isnan(doubt)))


def measure(data: EmbeddedSet, clean: NDArray[np.float64], kind: str, seed: int) -> dict[str, float]:
    """Share of the planted errors among the first tenth, by our order and by cleanlab's.

    ``clean``: float64 [n, k], what judges of the labels without planted errors say; it decides who is confused.
    """
    k = len(data.classes)
    confusion = confusion_matrix(data.labels, clean.argmax(axis=1), k)
    np.fill_diagonal(confusion, -1)
    labels, wrong = planted(data.labels, confusion.argmax(axis=1), kind, seed)
    said = out_of_fold_probabilities(data.embeddings, labels, data.groups, k, seed=seed)
    first = round(REVIEWED * len(labels))
    theirs = find_label_issues(labels, said, return_indices_ranked_by="self_confidence")
    return {
        "ours": float(np.isin(wrong, review_order(said, labels)[:first]).mean()),
        "cleanlab": float(np.isin(wrong, theirs[:first]).mean()),
        "chance": REVIEWED,
    }


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="|".join(NAMES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces", help="of the workspaces")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    for name in arguments.sets:
        data = embedded_set(read_set(name), arguments.folder / f"{name}-embedded")
        found: dict[str, Any] = {"set": name, "images": len(data.labels), "noise": NOISE, "reviewed": REVIEWED}
        k = len(data.classes)
        clean = [
            out_of_fold_probabilities(data.embeddings, data.labels, data.groups, k, seed=seed)
            for seed in range(arguments.seeds)
        ]
        for kind in KINDS:
            runs = [measure(data, clean[seed], kind, seed) for seed in range(arguments.seeds)]
            found[kind] = {key: [run[key] for run in runs] for key in runs[0]}
            means = {key: round(float(np.mean(values)), 4) for key, values in found[kind].items()}
            print(json.dumps({"set": name, "kind": kind, **means}), file=sys.stderr)
        found |= {"machine": machine(), "date": date.today().isoformat()}
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / f"label-noise-{name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
