"""Time and judge the whole loop on a benchmark data set, through the command line, as a user would run it.

    python tests/benchmarks/measure_loop.py x-sdd --preset quick
    python tests/benchmarks/measure_loop.py ham10000 --preset standard --seed 0

Each run writes results/loop-SET-PRESET-seedN.json: seconds per verb, peak memory of the process tree, the test metrics
with their intervals, and the machine. `write_results.py` makes RESULTS.md of these files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import psutil
from benchmark_sets import NAMES, read_set, write_labels
from machine import machine

HERE = Path(__file__).resolve().parent
TAILSIGHT = str(Path(sys.executable).with_name("tailsight"))
METRICS = (
    "n",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "auroc_ovr_macro",
    "ece",
    "ece_of_a_calibrated_model",
    "coverage_at_limit",
)


class PeakMemory(threading.Thread):
    """Watches the resident memory of a process and its children, in MB, shared pages counted once each (USS)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self.running = pid, 0.0, True

    def run(self) -> None:
        while self.running:
            total = 0.0
            try:
                root = psutil.Process(self.pid)
                for process in (root, *root.children(recursive=True)):
                    total += process.memory_full_info().uss
            except psutil.Error:
                pass
            self.peak = max(self.peak, total / 2**20)
            time.sleep(0.5)


def run_verb(workspace: Path, *words: str) -> tuple[dict[str, Any], float, float]:
    """Run one verb; its JSON, its seconds and its peak memory in MB."""
    start = time.monotonic()
    process = subprocess.Popen(
        [TAILSIGHT, "--workspace", str(workspace), *words, "--json"], stdout=subprocess.PIPE, text=True
    )
    watch = PeakMemory(process.pid)
    watch.start()
    answer, _ = process.communicate()
    watch.running = False
    if process.returncode:
        raise SystemExit(f"{words[0]} ended with {process.returncode}: {answer}")
    return json.loads(answer), time.monotonic() - start, watch.peak


def measure(name: str, preset: str, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Run the loop on a fresh workspace and collect what it says of itself."""
    data = read_set(name)
    if not data.rows:
        raise SystemExit(f"The data set {name} is not at {data.images}.")
    with tempfile.TemporaryDirectory(prefix="tailsight-loop-") as folder:
        workspace, labels = Path(folder) / "workspace", Path(folder) / "labels.csv"
        write_labels(labels, data, {path: label for path, label, _ in data.rows})
        seconds: dict[str, float] = {}
        memory: dict[str, float] = {}
        answers: dict[str, dict[str, Any]] = {}
        settings = [word for override in overrides for word in ("--set", override)]
        for words in (
            ["init", "--profile", data.profile],
            ["ingest", str(data.images), "--labels", str(labels), "--group-column", "group"],
            ["curate", "--seed", str(seed)],
            ["train", "--preset", preset, "--seed", str(seed), *settings],
            ["evaluate", "--model", "candidate", "--split", "test"],
            ["promote", "--by", "benchmark", "--why", "measured"],
            ["score", str(data.images), "--out", str(workspace / "scores.parquet")],
        ):
            answers[words[0]], elapsed, peak = run_verb(workspace, *words)
            seconds[words[0]], memory[words[0]] = round(elapsed, 1), round(peak)
        evaluation = answers["evaluate"]
    return {
        "set": name,
        "preset": preset,
        "seed": seed,
        "overrides": overrides,
        "date": date.today().isoformat(),
        "machine": machine(),
        "seconds": seconds,
        "peak_memory_mb": memory,
        "splits": answers["curate"]["splits"],
        **{key: evaluation.get(key) for key in METRICS},
        **{f"{key}_ci": evaluation.get(f"{key}_ci") for key in METRICS if evaluation.get(f"{key}_ci")},
        "groups": evaluation["groups"],
    }


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=NAMES)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    result = measure(arguments.set, arguments.preset, arguments.seed, arguments.overrides)
    name = f"loop-{arguments.set}-{arguments.preset}-seed{arguments.seed}.json"
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / name).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
