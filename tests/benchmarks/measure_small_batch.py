"""Few images, the whole command: seconds from pressing Enter to the finished table, and the memory that takes.

    python tests/benchmarks/measure_small_batch.py --workspace demo-workspace

A line that scores ten images every minute waits for libraries and not for a network. The images are solar cells,
copied into a folder; the model is the workspace's champion, as it computes by default. In each repetition, in turn: the
plain loop (plain_scoring.py), ``score``, and ``score`` with a model that does not exist: how soon a mistake is told.
Unlike in measure_scoring.py the processes' start and end count. Writes results/small-batch.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from machine import machine
from training_tables import spread

from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.demo_images import installed_images
from pipelines.steps.registry import open_registry

HERE = Path(__file__).resolve().parent
TIMED = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"code": code, "seconds": time.perf_counter() - began, "megabytes": used.ru_maxrss / 1024}))
"""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("demo-workspace"))
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = run(Workspace(arguments.workspace.absolute()), Path(place), arguments.files, arguments.repetitions)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "small-batch.json").write_text(json.dumps(found, indent=1) + "\n")


def run(workspace: Workspace, place: Path, files: int, repetitions: int) -> dict[str, Any]:
    """Everything."""
    images = place / "images"
    images.mkdir()
    for path in list(installed_images())[:files]:
        shutil.copy(path, images)
    with open_registry(workspace) as registry:
        package = registry.package(registry.resolve("champion"))
    score = [str(Path(sys.executable).with_name("tailsight")), "--workspace", str(workspace.folder), "score"]
    cores = str(read_settings().processes)
    told: dict[str, list[dict[str, float]]] = {"plain": [], "score": [], "mistake": []}
    for repetition in range(repetitions):
        out = str(place / f"{repetition}.parquet")
        commands = {
            "plain": [sys.executable, str(HERE / "plain_scoring.py"), str(package), str(images), out, cores],
            "score": [*score, str(images), "--out", out],
            "mistake": [*score, str(images), "--out", out, "--model", "no-such-model"],
        }
        for name, command in commands.items():
            Path(out).unlink(missing_ok=True)
            shutil.rmtree(workspace.scores, ignore_errors=True)
            done = subprocess.run([sys.executable, "-c", TIMED, *command], check=True, stdout=subprocess.PIPE)
            told[name].append(json.loads(done.stdout))
            if told[name][-1].pop("code") != (2 if name == "mistake" else 0):
                raise SystemExit(f"This did not end as expected: {' '.join(command)}")
            print(repetition, name, told[name][-1], file=sys.stderr)
    ways = {
        name: {key: spread([one[key] for one in rows]) for key in ("seconds", "megabytes")}
        for name, rows in told.items()
    }
    ratios = [own["seconds"] / other["seconds"] for own, other in zip(told["plain"], told["score"], strict=True)]
    return {
        "files": files,
        "repetitions": repetitions,
        "ways": ways,
        "times_plain": spread(ratios),
        "machine": machine(),
        "date": date.today().isoformat(),
    }


if __name__ == "__main__":
    main()
