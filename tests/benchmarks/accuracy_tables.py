"""The parts of RESULTS.md about accuracy: presets and methods, whole loops, retraining and attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accuracy_pool import pool as pool_accuracy
from measure_retrain import pool
from published_figures import PUBLISHED
from speed_tables import markdown_table, read


def accuracy(results: Path) -> tuple[str, str, list[str]]:
    table = pool_accuracy(results)
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


def loop(results: Path) -> tuple[str, str, list[str]]:
    columns = "set|preset|seed|test images|macro-F1|balanced accuracy|accuracy|ECE (of a calibrated model)"
    columns += "|automatic at the limit|train, min|all verbs, min|peak memory, MB"
    rows = []
    for r in read(results, "loop-*.json"):
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


def retrain(results: Path) -> tuple[str, str, list[str]]:
    table = pool(results)
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


def attention(results: Path) -> tuple[str, str, list[str]]:
    lines, seeds = [], 3
    for found in read(results, "attention-*.json"):
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


def _with_interval(result: dict[str, Any], key: str) -> str:
    interval = result.get(f"{key}_ci")
    return f"{result[key]:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _points(difference: dict[str, float]) -> str:
    return f"{100 * difference['mean']:+.1f} ({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})"
