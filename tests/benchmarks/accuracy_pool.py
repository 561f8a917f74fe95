"""What the accuracy results of all sets and seeds amount to: means over seeds, and differences with intervals."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_sets import NAMES
from numpy.typing import NDArray

from domain_models.class_counts import count_columns, counts_from_sums, known_mean
from domain_models.intervals import bootstrap_weights, group_sums
from domain_models.metrics import frequency_thirds

FIGURES = ("macro_f1", "balanced_accuracy", "few", "accuracy")
REPLICATES = 2000
DIGITS = string.digits + string.ascii_lowercase + "".join(chr(0x100 + index) for index in range(92))
GRAVEST = {"elpv": "defective"}
"""The grade that another two-class accuracy tells from all others: sources do not say which one they mean."""


def coded(indices: NDArray[np.int64]) -> str:
    """One character for each class index, so that a file stays small."""
    return "".join(DIGITS[index] for index in indices)


def decoded(text: str) -> NDArray[np.int64]:
    """The class indices of :func:`coded`."""
    return np.asarray([DIGITS.index(character) for character in text], dtype=np.int64)


def replicates(result: dict[str, Any], methods: list[str]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """By method and figure, float64 [1 + draws]: the figure itself, and bootstrap draws of groups, alike for all."""
    k = len(result["classes"])
    labels = decoded(result["labels"])
    few = frequency_thirds(result["train_counts"])["few"]
    columns = [count_columns(labels, decoded(result["methods"][name]["predicted"]), k) for name in methods]
    sums = group_sums(np.hstack(columns), np.asarray(result["groups"], dtype=np.int64))
    drawn = [np.ones((1, len(sums)))]
    drawn += [
        weights.astype(np.float64)
        for weights in bootstrap_weights(len(sums), replicates=REPLICATES, seed=result["seed"])
    ]
    totals = np.concatenate([np.asarray(weights @ sums, dtype=np.float64) for weights in drawn])
    found = {}
    for number, name in enumerate(methods):
        counts = counts_from_sums(totals[:, number * 3 * k : (number + 1) * 3 * k], k)
        found[name] = {
            "macro_f1": counts.macro_f1,
            "balanced_accuracy": counts.balanced_accuracy,
            "few": known_mean(counts.recall[:, few]),
            "accuracy": counts.right.sum(axis=1) / counts.actual.sum(axis=1),
        }
    return found


def pool(folder: Path) -> dict[str, Any]:
    """Per set and over sets: the mean of every method over seeds, and its difference from ``plain`` with an interval.

    The mean over sets is of sets with as many seeds each; ``x-sdd`` is saturated and is not in it.
    """
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("accuracy-*-seed*.json"))]
    results = [result for result in results if "plain" in result["methods"]]
    table: dict[str, Any] = {}
    drawn: dict[str, dict[str, dict[str, NDArray[np.float64]]]] = {}
    for name in sorted({_title(result) for result in results}):
        own = [result for result in results if _title(result) == name]
        methods = [method for method in own[0]["methods"] if all(method in result["methods"] for result in own)]
        each = [replicates(result, methods) for result in own]
        drawn[name] = {
            method: {key: np.mean([one[method][key] for one in each], axis=0) for key in FIGURES} for method in methods
        }
        table[name] = {
            "seeds": len(own),
            "methods": {method: _row(drawn[name], method) | _means(own, method) for method in methods},
        }
    pooled = [name for name in drawn if name in NAMES and name != "x-sdd"]
    shared = [method for method in drawn[pooled[0]] if all(method in drawn[name] for name in pooled)] if pooled else []
    mean = {
        method: {key: np.mean([drawn[name][method][key] for name in pooled], axis=0) for key in FIGURES}
        for method in shared
    }
    return {"sets": table, "pooled": pooled, "mean": {method: _row(mean, method) for method in mean}}


def _title(result: dict[str, Any]) -> str:
    return str(result["set"]) + ("" if result["preset"] == "standard" else f" ({result['preset']})")


def _row(found: dict[str, dict[str, NDArray[np.float64]]], method: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key in FIGURES:
        values = found[method][key]
        against = values - found["plain"][key]
        low, high = np.nanquantile(against[1:], [0.025, 0.975])
        row[key] = float(values[0])
        row[f"{key}_minus_plain"] = {"mean": float(against[0]), "low": float(low), "high": float(high)}
    return row


def _means(results: list[dict[str, Any]], method: str) -> dict[str, float | list[float]]:
    keys = ("ece", "ece_of_a_calibrated_model_p95", "nll", "two_class_accuracy", "seconds", "epochs")
    found: dict[str, float | list[float]] = {}
    for key in keys:
        values = [result["methods"][method][key] for result in results if key in result["methods"][method]]
        if values:
            found[key] = float(np.mean(values))
    if results[0]["set"] in GRAVEST:
        found["gravest_grade_accuracy"] = float(np.mean([_gravest_grade(result, method) for result in results]))
    found["macro_f1_per_seed"] = [result["methods"][method]["macro_f1"] for result in results]
    return found


def _gravest_grade(result: dict[str, Any], method: str) -> float:
    """Share of test images that are rightly called the gravest grade or not."""
    gravest = result["classes"].index(GRAVEST[result["set"]])
    called = decoded(result["methods"][method]["predicted"])
    return float(((called == gravest) == (decoded(result["labels"]) == gravest)).mean())
