"""What the runs of measure_training.py amount to, and their part of RESULTS.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from domain_models.paired_gain import paired_gain

KINDS = {"plain": "plain loop", "ours": "our loop, same schedule", "two processes": "our loop, two processes"}


def summary_of(runs: Mapping[str, Any]) -> dict[str, Any]:
    """Medians, smallest and largest over repetitions; repetitions that are not whole yet are left out."""
    by: dict[str, dict[int, Any]] = {}
    for name, found in runs.items():
        kind, _, repetition = name.rpartition(" ")
        by.setdefault(kind, {})[int(repetition)] = found
    summary: dict[str, Any] = {}
    rates = {kind: {r: _rate(found) for r, found in by.get(kind, {}).items()} for kind in KINDS}
    for kind, own in rates.items():
        if own:
            summary[kind] = {"images_per_second": spread(list(own.values()))}
            common = sorted(set(own) & set(rates["plain"]))
            if kind != "plain" and common:
                summary[kind]["times_plain"] = spread([own[r] / rates["plain"][r] for r in common])
    together = sorted(set(rates["ours"]) & set(rates["two processes"]))
    if together:
        ratios = [rates["two processes"][r] / rates["ours"][r] for r in together]
        summary["two processes"]["times_one"] = spread(ratios)
    whole = sorted(by.get("standard", {}))
    ends = {kind: {r: by[kind][r]["epochs"][-1]["macro_f1"] for r in whole if r in by.get(kind, {})} for kind in KINDS}
    for kind, scores in ends.items():
        if scores:
            summary[kind]["macro_f1"] = list(scores.values())
    both = sorted(set(ends["ours"]) & set(ends["two processes"]))
    if both:
        summary["two_minus_one"] = [ends["two processes"][r] - ends["ours"][r] for r in both]
    summary["sooner"] = [_sooner(by["plain"][r], by["standard"][r]) for r in whole]
    formats = by.get("formats", {})
    summary["formats"] = _formats(list(formats.values())) if formats else {}
    return summary


def training_section(results: list[dict[str, Any]]) -> tuple[str, str, list[str]]:
    """Title, command and lines of the section in RESULTS.md."""
    lines = [line for result in results for line in _part(result)]
    return "Fine-tuning against a plain loop", "python tests/benchmarks/measure_training.py", lines


def number_format_section(results: list[dict[str, Any]]) -> tuple[str, str, list[str]]:
    """Title, command and lines of the section about training in 16-bit floats."""
    rows = []
    for result in results:
        seeds = list(result["seeds"].values())
        points = [[100 * value for value in (one["difference"], *one["interval"])] for one in seeds]
        told = ["{:+.1f} ({:+.1f} to {:+.1f})".format(*three) for three in points]
        means = [
            f"{statistics.mean(one[name][figure] for one in seeds):.3f}"
            for figure in ("macro_f1", "accuracy")
            for name in ("fp32", "bf16")
        ]
        mean = f"{statistics.mean(three[0] for three in points):+.1f}"
        faster = [one["times_faster"] for one in seeds if one["times_faster"] is not None]
        times = middle(spread(faster), "{:.2f}") if faster else ""
        rows.append([result["set"], str(len(seeds)), *means, mean, "; ".join(told), times])
    head = "set|seeds|macro-F1, fp32|bf16|accuracy, fp32|bf16|macro-F1 gained, points|each seed, paired|times faster"
    return "Training in 16-bit floats", "python tests/benchmarks/measure_number_format.py SET", _table(head, rows)


def _part(result: Mapping[str, Any]) -> list[str]:
    """The tables, in Markdown."""
    summary, settings = result["summary"], result["settings"]
    lines = ["| way | images per second | times the plain loop | macro-F1 on validation at the end, each seed |"]
    lines += ["| --- | --- | --- | --- |"]
    for kind, label in KINDS.items():
        if kind in summary:
            found = summary[kind]
            ratio = middle(found["times_plain"], "{:.2f}") if "times_plain" in found else ""
            scores = ", ".join(f"{score:.3f}" for score in found.get("macro_f1", []))
            lines.append(f"| {label} | {middle(found['images_per_second'])} | {ratio} | {scores} |")
    counts = f"{settings['images']:,} images, split by group, each way measured {settings['repetitions']}×, in turn"
    lines += [
        "",
        f"{counts}: medians, smallest and largest. Epochs alone: without validation, and without decoding on our side.",
    ]
    if "two_minus_one" in summary:
        said = ", ".join(f"{100 * points:+.1f}" for points in summary["two_minus_one"])
        lines.append(f"Two processes minus one, macro-F1 in points, each seed: {said}.")
        if "times_one" in summary["two processes"]:
            lines.append(
                f"Images per second, times one process: {middle(summary['two processes']['times_one'], '{:.2f}')}."
            )
    if summary["sooner"]:
        head = "plain loop: seconds|macro-F1 on test|`train --preset standard`: seconds|macro-F1 on test|times sooner"
        rows = [_sooner_row(one) for one in summary["sooner"]]
        lines += ["", *_table(f"{head}|difference, points", rows), ""]
        lines.append(
            "A row for each seed. Seconds from the first file on, without the process's start: the plain loop's to the"
            " end of its last epoch, `train`'s to the registered candidate, without fold models for triage thresholds."
            " Intervals are paired, of one split each."
        )
    if summary["formats"]:
        rows = []
        for network, found in summary["formats"].items():
            rows += [[network, name, middle(spread_of, "{:.1f}")] for name, spread_of in found.items()]
        lines += [
            "",
            *_table("network|format|images per second, forward and backward; ms a step of the optimiser", rows),
        ]
    machines = result.get("machines", {})
    if len(set(machines.values())) > 1:
        said = "; ".join(f"repetition {number} on {name}" for number, name in sorted(machines.items()))
        lines += ["", f"Measured: {said}. Every ratio and difference is of one machine."]
    return [*lines, *(["", result["remark"]] if "remark" in result else [])]


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def middle(values: Mapping[str, float], form: str = "{:.0f}") -> str:
    """A spread as a person reads it."""
    return "{} ({} to {})".format(*(form.format(values[key]) for key in ("median", "min", "max")))


def _rate(found: Mapping[str, Any]) -> float:
    """Images per second over the epochs of a run, without validation."""
    return float(sum(row["images"] for row in found["epochs"]) / sum(row["seconds"] for row in found["epochs"]))


def _sooner(plain: Mapping[str, Any], standard: Mapping[str, Any]) -> dict[str, Any]:
    labels, groups = standard["test_labels"], standard["test_groups"]
    called = plain["test_predicted"], standard["test_predicted"]
    gain = paired_gain(labels, *called, groups, max(labels) + 1).macro_f1
    seconds = plain["epochs"][-1]["reached"], standard["seconds"]
    return {
        "plain_seconds": seconds[0],
        "standard_seconds": seconds[1],
        "times": seconds[0] / seconds[1],
        "plain_macro_f1": gain.before,
        "standard_macro_f1": gain.after,
        "difference": gain.gained,
        "interval": gain.interval,
    }


def _sooner_row(one: Mapping[str, Any]) -> list[str]:
    cells = []
    for way in ("plain", "standard"):
        cells += [f"{one[f'{way}_seconds']:.0f}", f"{one[f'{way}_macro_f1']:.3f}"]
    points = [100 * figure for figure in (one["difference"], *one["interval"])]
    return [*cells, f"{one['times']:.2f}", "{:+.1f} ({:+.1f} to {:+.1f})".format(*points)]


def _formats(found: list[Mapping[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for name, value in found[0].items():
        if isinstance(value, dict):
            summary[name] = {form: spread([one[name][form] for one in found]) for form in value}
        else:
            summary.setdefault("optimiser", {})[name] = spread([one[name] for one in found])
    return summary


def _table(columns: str, rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    head = columns.split("|")
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
