"""The parts of RESULTS.md about speed: what was asked beside what was measured, batch scoring, serving."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from training_tables import middle, spread

Cells = list[list[str]]


def one_table(results: Path) -> tuple[str, str, list[str]]:
    """Everything that was asked of speed, with what was measured."""
    rows = [*_asked_of_scoring(results), *_asked_of_compression(results)]
    rows += [*_asked_of_training(results), *_asked_of_serving(results)]
    return "Speed: asked and measured", "make bench-speed", markdown_table("what|asked|measured|enough", rows)


def _asked_of_scoring(results: Path) -> Cells:
    rows: Cells = []
    for result in read(results, "scoring.json"):
        ways = result["ways"]
        for name, asked in (("bf16", 4.0), ("fp32", 2.5)):
            if name in ways:
                times = ways[name]["times_plain"]
                what = f"`score --precision {name}`, times the plain loop"
                rows.append(_row(what, f"at least {asked:g}", middle(times, "{:.2f}"), times["median"] >= asked))
                same = ways[name]["same_decision_as_plain"]
                what = f"`score --precision {name}`, decisions as the plain loop's"
                rows.append(_row(what, "at least 99.5%", f"{same:.2%}", same >= 0.995))
        share = ways["fp32"]["of_what_decoding_and_computing_allow"]
        what = "`score --precision fp32`, of what decoding and computing alone allow"
        rows.append(_row(what, "at least 0.85", middle(share, "{:.2f}"), share["median"] >= 0.85))
        if "memory" in result:
            few, many = (float(peak) for peak in result["memory"].values())
            counts = " and ".join(f"{int(count):,}" for count in result["memory"])
            rows.append(_row(f"peak memory, {counts} files", "at most 1.2", f"{many / few:.2f}", many <= 1.2 * few))
        if "int8" in ways and "times_torch_alone" in ways["int8"]:
            gate, times = result["gates"]["int8"], ways["int8"]["times_torch_alone"]
            size, lost = gate["size_of_fp32"], 100 * gate["macro_f1_drop"]
            rows.append(_row("8 bits, size of the 32-bit graph", "at most 0.3", f"{size:.3f}", size <= 0.3))
            what = "8 bits, times torch in 32 bits, computing alone"
            rows.append(_row(what, "at least 2", middle(times, "{:.2f}"), times["median"] >= 2))
            rows.append(_row("8 bits, macro-F1 lost on validation, points", "at most 1", f"{lost:+.1f}", lost <= 1))
    return rows


def _asked_of_compression(results: Path) -> Cells:
    rows: Cells = []
    for one in read(results, "compression-*.json"):
        champion = f"a champion of preset `best` with {one['champion']['epochs']} epochs"
        what = f"{one['set']}: chosen by `compress`, times {champion}; macro-F1 lost on test, points"
        if not one["chosen"]:
            rows.append(_row(what, "at least 3; at most 1", one["sentence"], False))
            continue
        times, lost = one["images_per_second"]["times"], -100 * one["test"]["difference"]
        told = f"{middle(times, '{:.1f}')}; {lost:+.1f}"
        rows.append(_row(what, "at least 3; at most 1", told, times["median"] >= 3 and lost <= 1))
    return rows


def _asked_of_training(results: Path) -> Cells:
    rows: Cells = []
    for result in read(results, "training-speed.json"):
        summary = result["summary"]
        times = summary["ours"]["times_plain"]
        what = "`train`, images per second, times the plain loop on the same schedule"
        rows.append(_row(what, "at least 1.3", middle(times, "{:.2f}"), times["median"] >= 1.3))
        if summary["sooner"]:
            sooner = spread([one["times"] for one in summary["sooner"]])
            gained = [100 * one["difference"] for one in summary["sooner"]]
            what = "`train --preset standard`, times sooner than the plain loop; macro-F1 gained on test, points"
            told = (
                f"{middle(sooner, '{:.2f}')}; {statistics.mean(gained):+.1f} ({min(gained):+.1f} to {max(gained):+.1f})"
            )
            enough = sooner["median"] >= 2 and statistics.mean(gained) >= 0
            rows.append(_row(what, "at least 2; at least 0", told, enough))
        if "two_minus_one" in summary:
            points = [100 * difference for difference in summary["two_minus_one"]]
            seeds = summary["ours"]["macro_f1"]
            noise = max(100 * statistics.stdev(seeds) if len(seeds) > 1 else 0, 1)
            told = f"{statistics.mean(points):+.1f} ({min(points):+.1f} to {max(points):+.1f})"
            asked = f"within {noise:.1f}: one standard deviation over seeds of one process, or 1 point"
            what = "two processes, macro-F1 on validation minus that of one, points"
            rows.append(_row(what, asked, told, abs(statistics.mean(points)) <= noise))
    return rows


def _asked_of_serving(results: Path) -> Cells:
    rows: Cells = []
    for result in read(results, "serving.json"):
        for name, asked, told in (
            ("fastapi_torch", 3.0, "one request, one forward of torch"),
            ("serve_unbatched", 1.2, "the same artefact unbatched"),
        ):
            times = result["ratios"][f"serve_over_{name}"]
            what = f"`serve`, {result['clients']} clients, requests per second, times {told}"
            rows.append(_row(what, f"at least {asked:g}", middle(times, "{:.2f}"), times["median"] >= asked))
        slowest, own = (result["servers"][name]["p99_ms"]["median"] for name in ("serve_unbatched", "serve"))
        rows.append(_row("`serve`, p99 in ms", f"at most {slowest:.0f}, as unbatched", f"{own:.0f}", own <= slowest))
        failures = result["swap"]["failures"]
        rows.append(_row("`serve`, errors while the champion moves", "0", str(failures), failures == 0))
    return rows


def _row(what: str, asked: str, measured: str, enough: bool) -> list[str]:
    return [what, asked, measured, "yes" if enough else "no"]


def scoring(results: Path) -> tuple[str, str, list[str]]:
    """Title, command and lines."""
    lines: list[str] = []
    for result in read(results, "scoring.json"):
        columns = "way|images per second|times the plain loop|computing alone|times torch alone"
        columns += "|of what decoding and computing allow|same decision as the plain loop|as 32 bits"
        columns += "|size, of the fp32 graph|gate"
        rows = []
        for name, one in result["ways"].items():
            if name == "plain":
                rows.append(["plain loop", middle(one["images_per_second"]), *[""] * 8])
                continue
            gate = result["gates"][name]
            cells = [middle(one["images_per_second"]), middle(one["times_plain"], "{:.2f}")]
            cells += [middle(one["computing_alone"])]
            cells += [middle(one["times_torch_alone"], "{:.2f}") if "times_torch_alone" in one else ""]
            cells += [middle(one["of_what_decoding_and_computing_allow"], "{:.2f}")]
            cells += [f"{one[key]:.2%}" for key in ("same_decision_as_plain", "same_decision_as_fp32")]
            lost = f"{gate['agreement']:.1%} agree, macro-F1 {-gate['macro_f1_drop']:+.3f}"
            rows.append([f"`score --precision {name}`", *cells, f"{gate['size_of_fp32']:.3f}", lost])
        lines += markdown_table(columns, rows)
        refused = [f"{name}: {gate['refused']}" for name, gate in result["gates"].items() if "refused" in gate]
        lines += ["", *refused, *([""] if refused else [])]
        lines.append(
            f"{result['images']:,} images, files in and Parquet out, {result['repetitions']} repetitions in turn:"
            f" medians, smallest and largest. Decoding alone: {middle(result['decoding_alone'])} images per second."
        )
        if "memory" in result:
            peaks = [f"{float(peak):,.0f} MB for {int(count):,} files" for count, peak in result["memory"].items()]
            lines.append(f"Peak memory: {', '.join(peaks)}.")
        if "remark" in result:
            lines.append(result["remark"])
    return "Batch scoring against a plain loop", "python tests/benchmarks/measure_scoring.py", lines


def small_batch(results: Path) -> tuple[str, str, list[str]]:
    """Title, command and lines."""
    names = {"plain": "plain loop", "score": "`score`", "mistake": "`score` of a model that does not exist: the answer"}
    lines: list[str] = []
    for result in read(results, "small-batch.json"):
        ratios = {"score": middle(result["times_plain"], "{:.2f}")}
        rows = [
            [label, middle(found["seconds"], "{:.1f}"), ratios.get(name, ""), middle(found["megabytes"])]
            for name, label in names.items()
            for found in [result["ways"][name]]
        ]
        lines += markdown_table("way|seconds|times sooner than the plain loop|memory, MB", rows)
        lines += [
            "",
            f"{result['files']} images, {result['repetitions']} repetitions in turn; the start and the end of ",
        ]
        lines[-1] += "each process count."
    return "Few images, the whole command", "python tests/benchmarks/measure_small_batch.py", lines


def serving(results: Path) -> tuple[str, str, list[str]]:
    """Title, command and lines."""
    names = {
        "fastapi_torch": "FastAPI, one forward of torch per request",
        "fastapi_openvino": "FastAPI, one forward of OpenVINO per request",
        "serve_unbatched": "`serve --max-batch 1`",
        "serve": "`serve`",
    }
    lines: list[str] = []
    for result in read(results, "serving.json"):
        rows = []
        for name, label in names.items():
            found = result["servers"][name]
            cells = [middle(found[key]) for key in ("requests_per_second", "p50_ms", "p99_ms")]
            ratio = "" if name == "serve" else middle(result["ratios"][f"serve_over_{name}"], "{:.2f}")
            spent = middle(found["processor_ms_per_request"], "{:.1f}")
            rows.append([label, *cells, spent, ratio])
        columns = (
            "server|requests per second|p50, ms|p99, ms|processor, ms per request|`serve` takes so many times as many"
        )
        lines += markdown_table(columns, rows)
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


def markdown_table(columns: str, rows: Cells) -> list[str]:
    """Lines of a table; none without rows."""
    if not rows:
        return []
    head = columns.split("|")
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def read(results: Path, pattern: str) -> list[dict[str, Any]]:
    """What the files with such a name hold, by name."""
    return [json.loads(path.read_text()) for path in sorted(results.glob(pattern))]
