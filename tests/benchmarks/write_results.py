"""Write RESULTS.md from the files in results/, and from nothing else.

python tests/benchmarks/write_results.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from accuracy_pool import pool as pool_accuracy
from compression_rows import compression
from measure_retrain import pool
from published_figures import PUBLISHED
from speed_tables import markdown_table, one_table, read, scoring, serving, small_batch
from training_tables import number_format_section, training_section

from domain_models.label_curves import share_of_random

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

Cells = list[list[str]]


def main() -> None:
    """Write the tables of what was measured."""
    parts = ["# Results", "", "Made by `python tests/benchmarks/write_results.py` from the files in `results/`."]
    parts += ["Brackets: 95% bootstrap intervals, whole groups drawn. Splits are by group where the set has one.", ""]
    for title, command, lines in (
        _accuracy(),
        _loop(),
        _retrain(),
        _selection(),
        _noise(),
        _triage(),
        _million(),
        one_table(RESULTS),
        scoring(RESULTS),
        small_batch(RESULTS),
        serving(RESULTS),
        compression(RESULTS),
        training_section(read(RESULTS, "training-speed.json")),
        number_format_section(read(RESULTS, "number-format-*.json")),
        _unlabelled(),
        _attention(),
    ):
        if lines:
            parts += [f"## {title}", "", f"`{command}`", "", *lines, ""]
    parts += ["Machines: " + "; ".join(_machines()) + ".", ""]
    (HERE / "RESULTS.md").write_text("\n".join(parts))


def _accuracy() -> tuple[str, str, list[str]]:
    table = pool_accuracy(RESULTS)
    columns = "set|seeds|method|macro-F1|minus plain, points|balanced accuracy|minus plain|recall of the rarest third"
    columns += "|minus plain|accuracy|minus plain|ECE (95th percentile of a calibrated model)|training, s|epochs"
    rows = []
    mean = {"seeds": "", "methods": table["mean"]}
    for name, found in [*table["sets"].items(), (f"mean of {', '.join(table['pooled'])}", mean)]:
        for method, one in found["methods"].items():
            figures = []
            for key in ("macro_f1", "balanced_accuracy", "few", "accuracy"):
                figures += [f"{one[key]:.3f}", "" if method == "plain" else _points(one[f"{key}_minus_plain"])]
            calibrated = f"{one['ece']:.3f} ({one['ece_of_a_calibrated_model_p95']:.3f})" if "ece" in one else ""
            spent = [f"{one[key]:.0f}" if key in one else "" for key in ("seconds", "epochs")]
            rows.append([name, str(found["seeds"]), method.replace("_", " "), *figures, calibrated, *spent])
    lines = markdown_table(columns, rows)
    for name, found in table["sets"].items():
        two = {
            method: one["two_class_accuracy"] for method, one in found["methods"].items() if "two_class_accuracy" in one
        }
        if two:
            said = ", ".join(f"{method.replace('_', ' ')} {value:.3f}" for method, value in two.items())
            lines += ["", f"Two-class accuracy on {name} (probably defective or defective, against the rest): {said}."]
            alone = [
                f"{method.replace('_', ' ')} {one['gravest_grade_accuracy']:.3f}"
                for method, one in found["methods"].items()
            ]
            lines += [f"The same of the gravest grade alone against the rest: {', '.join(alone)}."]
    if lines:
        published = [[one.set, one.figure, one.source, one.protocol] for one in PUBLISHED]
        lines += [
            "",
            "What others report, and by which protocol:",
            "",
            *markdown_table("set|figure|source|protocol", published),
        ]
    return "Presets and methods against a plain fine-tune", "make bench-accuracy", lines


def _loop() -> tuple[str, str, list[str]]:
    columns = "set|preset|seed|test images|macro-F1|balanced accuracy|accuracy|ECE (of a calibrated model)"
    columns += "|automatic at the limit|train, min|all verbs, min|peak memory, MB"
    rows = []
    for r in read(RESULTS, "loop-*.json"):
        calibrated = r["ece_of_a_calibrated_model"]
        rows.append(
            [
                r["set"],
                r["preset"],
                str(r["seed"]),
                str(r["n"]),
                *(_with_interval(r, key) for key in ("macro_f1", "balanced_accuracy", "accuracy")),
                f"{r['ece']:.3f} ({calibrated:.3f})" if isinstance(calibrated, float) else f"{r['ece']:.3f}",
                f"{r['coverage_at_limit']:.2f}",
                f"{r['seconds']['train'] / 60:.1f}",
                f"{sum(r['seconds'].values()) / 60:.1f}",
                f"{max(r['peak_memory_mb'].values()):.0f}",
            ]
        )
    command = "python tests/benchmarks/measure_loop.py SET --preset PRESET --seed N"
    return "From images to a scored batch", command, markdown_table(columns, rows)


def _retrain() -> tuple[str, str, list[str]]:
    table = pool(RESULTS)
    columns = "set|splits|images|champion|incremental|full|incremental - full, points|lower 95% bound"
    columns += "|incremental - champion, points|seconds incremental|seconds full|share (largest)|of processor seconds"
    rows = []
    for name, found in [*table["sets"].items(), ("all", table["all"])]:
        if found is None:
            continue
        against, champion, seconds = (
            found[key] for key in ("incremental_minus_full", "incremental_minus_champion", "seconds")
        )
        rows.append(
            [
                name,
                str(found["splits"]),
                str(found["images"]),
                *(f"{found['macro_f1'][which]:.3f}" for which in ("champion", "incremental", "full")),
                _points(against),
                f"{100 * against['lower_95_bound']:+.1f}",
                _points(champion),
                *(f"{seconds[which]:.0f}" for which in ("incremental", "full")),
                f"{found['share_of_seconds']:.3f} ({found['largest_share_of_seconds']:.3f})",
                f"{found['share_of_processor_seconds']:.3f}",
            ]
        )
    command = "python tests/benchmarks/measure_retrain.py SET"
    return (
        "Incremental against full retraining, macro-F1 (the standard preset of 2026-11-20)",
        command,
        markdown_table(columns, rows) if rows else [],
    )


def _selection() -> tuple[str, str, list[str]]:
    columns = "set|strategy|splits|images|labels for 95% of the full data's macro-F1|of random choice's"
    columns += "|the default's, of this strategy's|labels for 98%|of random choice's|the default's, of this strategy's"
    rows = []
    for found in read(RESULTS, "selection-*.json"):
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


def _noise() -> tuple[str, str, list[str]]:
    columns = "set|images|5% wrong labels|found by our order|by cleanlab's default call, same probabilities"
    rows = []
    for found in read(RESULTS, "label-noise-*.json"):
        for kind, said in (("uniform", "any other class"), ("pairs", "the class most confused with it")):
            shares = [f"{sum(found[kind][who]) / len(found[kind][who]):.3f}" for who in ("ours", "cleanlab")]
            rows.append([found["set"], str(found["images"]), said, *shares])
    title = "Wrong labels found among the first tenth of the images that are looked at"
    return title, "python tests/benchmarks/measure_label_noise.py SET", markdown_table(columns, rows)


def _triage() -> tuple[str, str, list[str]]:
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
        for found in read(RESULTS, "triage-*.json")
    ]
    return (
        "Triage: how often the limit holds",
        "python tests/benchmarks/measure_triage.py SET",
        markdown_table(columns, rows),
    )


def _million() -> tuple[str, str, list[str]]:
    columns = "strategy|tasks|seconds|processor seconds|peak memory, MB"
    lines = []
    for found in read(RESULTS, "million.json"):
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


def _attention() -> tuple[str, str, list[str]]:
    lines, seeds = [], 3
    for found in read(RESULTS, "attention-*.json"):
        seeds = len(found["seeds"])
        lines += [found["sentence"], ""]
        for which in ("without", "with"):
            scores = ", ".join(f"{value:.3f}" for value in found[f"macro_f1_{which}"])
            lines.append(f"- {which}: macro-F1 on validation {scores}")
    return (
        "Attention, on the demo's solar cells",
        f"python tests/benchmarks/measure_attention.py --seeds {seeds}",
        lines,
    )


def _unlabelled() -> tuple[str, str, list[str]]:
    columns = "set|share of training groups with a label|method|seeds|macro-F1|minus plain, points, each seed"
    columns += "|balanced accuracy|accuracy|recall of the rarest third"
    rows = []
    for found in read(RESULTS, "unlabelled-*.json"):
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


def _points(difference: dict[str, float]) -> str:
    return f"{100 * difference['mean']:+.1f} ({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})"


def _with_interval(result: dict[str, Any], key: str) -> str:
    interval = result.get(f"{key}_ci")
    return f"{result[key]:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _machines() -> list[str]:
    found = [
        r["machine"]
        for r in (
            *read(RESULTS, "loop-*.json"),
            *read(RESULTS, "retrain-*-split*.json"),
            *read(RESULTS, "accuracy-*-seed*.json"),
            *read(RESULTS, "attention-*.json"),
            *(
                r
                for kind in (
                    "selection-*",
                    "label-noise-*",
                    "triage-*",
                    "unlabelled-*",
                    "million",
                    "serving",
                    "compression-*",
                    "training-speed",
                )
                for r in read(RESULTS, f"{kind}.json")
            ),
        )
    ]
    return sorted({f"{one['cpu']}, {one['cores']} cores, {one['memory_gb']} GB" for one in found})


if __name__ == "__main__":
    main()
