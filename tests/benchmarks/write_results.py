"""Write RESULTS.md from the files in results/, and from nothing else.

python tests/benchmarks/write_results.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from compression_rows import compression
from measure_accuracy import pool as pool_accuracy
from measure_retrain import pool
from published_figures import PUBLISHED
from training_tables import training_section

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
        _scoring(),
        _serving(),
        compression(RESULTS),
        training_section(_read("training-speed.json")),
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
    lines = _table(columns, rows)
    for name, found in table["sets"].items():
        two = {
            method: one["two_class_accuracy"] for method, one in found["methods"].items() if "two_class_accuracy" in one
        }
        if two:
            said = ", ".join(f"{method.replace('_', ' ')} {value:.3f}" for method, value in two.items())
            lines += ["", f"Two-class accuracy on {name} (defective or not): {said}."]
    if lines:
        published = [[one.set, one.figure, one.source, one.protocol] for one in PUBLISHED]
        lines += [
            "",
            "What others report, and by which protocol:",
            "",
            *_table("set|figure|source|protocol", published),
        ]
    return "Presets and methods against a plain fine-tune", "make bench-accuracy", lines


def _loop() -> tuple[str, str, list[str]]:
    columns = "set|preset|seed|test images|macro-F1|balanced accuracy|accuracy|ECE (of a calibrated model)"
    columns += "|automatic at the limit|train, min|all verbs, min|peak memory, MB"
    rows = []
    for r in _read("loop-*.json"):
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
    return "From images to a scored batch", command, _table(columns, rows)


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
        _table(columns, rows) if rows else [],
    )


def _selection() -> tuple[str, str, list[str]]:
    columns = "set|strategy|splits|images|labels for 95% of the full data's macro-F1|of random choice's"
    columns += "|the default's, of this strategy's|labels for 98%|of random choice's|the default's, of this strategy's"
    rows = []
    for found in _read("selection-*.json"):
        for strategy in dict.fromkeys(one["strategy"] for one in found["needed"]):
            cells = []
            for one in (one for one in found["needed"] if one["strategy"] == strategy):
                share = _share(one["share_of_random"], one["share_ci"])
                cells += [f"{one['labels']:.0f}", share, _default_against(one, found["needed"])]
            rows.append([found["set"], strategy.replace("_", " "), str(found["seeds"]), str(found["images"]), *cells])
    lines = [*_table(columns, rows), "", "Geometric means over splits; brackets: 95% intervals over splits (Student)."]
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
    for found in _read("label-noise-*.json"):
        for kind, said in (("uniform", "any other class"), ("pairs", "the class most confused with it")):
            shares = [f"{sum(found[kind][who]) / len(found[kind][who]):.3f}" for who in ("ours", "cleanlab")]
            rows.append([found["set"], str(found["images"]), said, *shares])
    title = "Wrong labels found among the first tenth of the images that are looked at"
    return title, "python tests/benchmarks/measure_label_noise.py SET", _table(columns, rows)


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
        for found in _read("triage-*.json")
    ]
    return "Triage: how often the limit holds", "python tests/benchmarks/measure_triage.py SET", _table(columns, rows)


def _million() -> tuple[str, str, list[str]]:
    columns = "strategy|tasks|seconds|processor seconds|peak memory, MB"
    lines = []
    for found in _read("million.json"):
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
        lines += [*([found["remark"], ""] if "remark" in found else []), *_table(columns, rows)]
    return "A review round from a million images", "python tests/benchmarks/measure_million.py", lines


def _scoring() -> tuple[str, str, list[str]]:
    lines: list[str] = []
    for result in _read("scoring.json"):
        columns = "way|images per second|times the plain loop|computing alone|of what decoding and computing allow"
        columns += "|same decision as the plain loop|as 32 bits|size, of the fp32 graph|gate"
        rows = []
        for name, one in result["ways"].items():
            if name == "plain":
                rows.append(["plain loop", _middle(one["images_per_second"]), *[""] * 7])
                continue
            gate = result["gates"][name]
            cells = [_middle(one["images_per_second"]), _middle(one["times_plain"], "{:.2f}")]
            cells += [_middle(one["computing_alone"])]
            cells += [_middle(one["of_what_decoding_and_computing_allow"], "{:.2f}")]
            cells += [f"{one[key]:.2%}" for key in ("same_decision_as_plain", "same_decision_as_fp32")]
            lost = f"{gate['agreement']:.1%} agree, macro-F1 {-gate['macro_f1_drop']:+.3f}"
            rows.append([f"`score --precision {name}`", *cells, f"{gate['size_of_fp32']:.3f}", lost])
        lines += _table(columns, rows)
        refused = [f"{name}: {gate['refused']}" for name, gate in result["gates"].items() if "refused" in gate]
        lines += ["", *refused, *([""] if refused else [])]
        lines.append(
            f"{result['images']:,} images, files in and Parquet out, {result['repetitions']} repetitions in turn:"
            f" medians, smallest and largest. Decoding alone: {_middle(result['decoding_alone'])} images per second."
        )
        if "memory" in result:
            peaks = [f"{float(peak):,.0f} MB for {int(count):,} files" for count, peak in result["memory"].items()]
            lines.append(f"Peak memory: {', '.join(peaks)}.")
        if "remark" in result:
            lines.append(result["remark"])
    return "Batch scoring against a plain loop", "python tests/benchmarks/measure_scoring.py", lines


def _serving() -> tuple[str, str, list[str]]:
    names = {
        "fastapi_torch": "FastAPI, one forward of torch per request",
        "fastapi_openvino": "FastAPI, one forward of OpenVINO per request",
        "serve_unbatched": "`serve --max-batch 1`",
        "serve": "`serve`",
    }
    lines: list[str] = []
    for result in _read("serving.json"):
        rows = []
        for name, label in names.items():
            found = result["servers"][name]
            cells = [_middle(found[key]) for key in ("requests_per_second", "p50_ms", "p99_ms")]
            ratio = "" if name == "serve" else _middle(result["ratios"][f"serve_over_{name}"], "{:.2f}")
            spent = _middle(found["processor_ms_per_request"], "{:.1f}")
            rows.append([label, *cells, spent, ratio])
        columns = (
            "server|requests per second|p50, ms|p99, ms|processor, ms per request|`serve` takes so many times as many"
        )
        lines += _table(columns, rows)
        swap = result["swap"]
        told = ", ".join(
            f"{count:,} of version {version}" for version, count in sorted(swap["answers_by_version"].items())
        )
        lines += [
            "",
            f"{result['clients']} clients; medians of the rounds, and the smallest and the largest. The champion moved "
            f"in the middle: {swap['answered']:,} requests, {swap['failures']} failed; answers: {told}.",
        ]
    return "Serving", "python tests/benchmarks/measure_serving.py", lines


def _middle(spread: dict[str, float], form: str = "{:.0f}") -> str:
    return "{} ({} to {})".format(*(form.format(spread[key]) for key in ("median", "min", "max")))


def _attention() -> tuple[str, str, list[str]]:
    lines, seeds = [], 3
    for found in _read("attention-*.json"):
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
    for found in _read("unlabelled-*.json"):
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
    return "Images without a label", "python tests/benchmarks/measure_unlabelled.py SET", _table(columns, rows)


def _points(difference: dict[str, float]) -> str:
    return f"{100 * difference['mean']:+.1f} ({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})"


def _with_interval(result: dict[str, Any], key: str) -> str:
    interval = result.get(f"{key}_ci")
    return f"{result[key]:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _table(columns: str, rows: Cells) -> list[str]:
    if not rows:
        return []
    head = columns.split("|")
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def _read(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))]


def _machines() -> list[str]:
    found = [
        r["machine"]
        for r in (
            *_read("loop-*.json"),
            *_read("retrain-*-split*.json"),
            *_read("accuracy-*-seed*.json"),
            *_read("attention-*.json"),
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
                for r in _read(f"{kind}.json")
            ),
        )
    ]
    return sorted({f"{one['cpu']}, {one['cores']} cores, {one['memory_gb']} GB" for one in found})


if __name__ == "__main__":
    main()
