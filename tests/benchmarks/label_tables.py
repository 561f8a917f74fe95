"""The parts of RESULTS.md about labels: how many a strategy needs, which are wrong, what images without one teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from speed_tables import markdown_table, read

from domain_models.label_curves import share_of_random


def selection(results: Path) -> tuple[str, str, list[str]]:
    columns = "set|strategy|splits|images|labels for 95% of the full data's macro-F1|of random choice's"
    columns += "|the default's, of this strategy's|labels for 98%|of random choice's|the default's, of this strategy's"
    rows = []
    for found in read(results, "selection-*.json"):
        for strategy in dict.fromkeys(one["strategy"] for one in found["needed"]):
            cells = []
            for one in (one for one in found["needed"] if one["strategy"] == strategy):
                share = _share(one["share_of_random"], one["share_ci"])
                cells += [f"{one['labels']:.0f}", share, _default_against(one, found["needed"])]
            rows.append([found["set"], strategy.replace("_", " "), str(found["seeds"]), str(found["images"]), *cells])
    lines = [
        *markdown_table(columns, rows),
        "",
        "Geometric means over splits; brackets: 95% intervals over splits (Student).",
    ]
    return "Labels that a strategy needs", "python tests/benchmarks/measure_selection.py SET", lines


def _default_against(one: dict[str, Any], needed: list[dict[str, Any]]) -> str:
    """Labels of the default mix as a share of this strategy's, split by split."""
    default = next((item for item in needed if item["strategy"] == "mix" and item["target"] == one["target"]), None)
    if default is None or one["strategy"] in ("mix", "random"):
        return ""
    found = share_of_random(np.array(default["by_split"]), np.array(one["by_split"]))
    return _share(found.mean, found.interval)


def _share(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return ""
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


def label_noise(results: Path) -> tuple[str, str, list[str]]:
    columns = "set|images|5% wrong labels|found by our order|by cleanlab's default call, same probabilities"
    rows = []
    for found in read(results, "label-noise-*.json"):
        for kind, said in (("uniform", "any other class"), ("pairs", "the class most confused with it")):
            shares = [f"{sum(found[kind][who]) / len(found[kind][who]):.3f}" for who in ("ours", "cleanlab")]
            rows.append([found["set"], str(found["images"]), said, *shares])
    title = "Wrong labels found among the first tenth of the images that are looked at"
    return title, "python tests/benchmarks/measure_label_noise.py SET", markdown_table(columns, rows)


def triage(results: Path) -> tuple[str, str, list[str]]:
    columns = (
        "set|predictions|limit|confidence|re-splits|within the limit|decided automatically|of what hindsight allows"
    )
    rows = [
        [
            found["set"],
            found.get("predictions", "probe, out of fold"),
            f"{found['limit']:.0%}",
            f"{found['confidence']:.0%}",
            str(found["resplits"]),
            str(found["kept"]),
            f"{found['share']:.3f}",
            "" if found["share_of_hindsight"] is None else f"{found['share_of_hindsight']:.2f}",
        ]
        for found in read(results, "triage-*.json")
    ]
    return (
        "Triage: how often the limit holds",
        "python tests/benchmarks/measure_triage.py SET",
        markdown_table(columns, rows),
    )


def million(results: Path) -> tuple[str, str, list[str]]:
    columns = "strategy|tasks|seconds|processor seconds|peak memory, MB"
    lines = []
    for found in read(results, "million.json"):
        said = f"{found['images']:,} images, embeddings of {found['dimensions']:,} numbers as float16 in a file"
        lines = [f"{said}, {found['labelled']:,} images with a label, {found['classes']} classes.", ""]
        rows = [
            [
                one["strategy"].replace("_", " "),
                str(one["tasks"]),
                f"{one['seconds']:.0f}",
                f"{one['processor_seconds']:.0f}" if "processor_seconds" in one else "",
                str(one["peak_memory_mb"]),
            ]
            for one in found["strategies"]
        ]
        lines += [*([found["remark"], ""] if "remark" in found else []), *markdown_table(columns, rows)]
    return "A review round from a million images", "python tests/benchmarks/measure_million.py", lines


def unlabelled(results: Path) -> tuple[str, str, list[str]]:
    columns = "set|share of training groups with a label|method|seeds|macro-F1|minus plain, points, each seed"
    columns += "|balanced accuracy|accuracy|recall of the rarest third"
    rows = []
    for found in read(results, "unlabelled-*.json"):
        runs = {(run["arm"], run["seed"]): run for run in found["runs"] if "error" not in run}
        for arm in dict.fromkeys(name for name, _ in runs):
            own = [run for (name, _), run in runs.items() if name == arm]
            against = [
                f"{100 * (run['macro_f1'] - runs['plain', run['seed']]['macro_f1']):+.1f}"
                for run in own
                if arm != "plain" and ("plain", run["seed"]) in runs
            ]
            means = {
                key: f"{sum(run[key] for run in own) / len(own):.3f}"
                for key in ("macro_f1", "balanced_accuracy", "accuracy", "few")
            }
            said = [
                found["set"],
                f"{found['labelled']:.0%}",
                arm.replace("_", " "),
                str(len(own)),
                means.pop("macro_f1"),
            ]
            rows.append([*said, ", ".join(against), *means.values()])
    return "Images without a label", "python tests/benchmarks/measure_unlabelled.py SET", markdown_table(columns, rows)
