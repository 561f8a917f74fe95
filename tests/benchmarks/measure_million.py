"""Choosing a review round from a million images: seconds and peak memory of every strategy.

    python tests/benchmarks/measure_million.py                  all strategies, a process each
    python tests/benchmarks/measure_million.py mix novelty      some of them

Writes the embeddings, float16 [1000000, 1280] (2.6 GB), into --folder, once, and results/million.json. Embeddings and
predictions are made up: twelve classes whose frequencies fall from a half to one in four thousand, and ten thousand
images with a label. What is measured is a round as ``tailsight queue`` chooses it, with the evidence for its tasks,
once images are known and scored; the peak is that of the whole process, pages of the file included (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import machine

from data_contracts.profile import ReviewSettings
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from domain_models.selection.mapped_embeddings import MappedEmbeddings
from domain_models.selection.pool import UNLABELLED, Pool
from domain_models.selection.strategies import StrategyName, parse_strategy
from pipelines.steps.queue_choice import choose_tasks
from pipelines.steps.queue_pool import MOST_LABELLED, RoundPool
from pipelines.steps.queue_tasks import prepare_tasks

HERE = Path(__file__).resolve().parent
CLASSES = tuple(f"class {number:02d}" for number in range(12))
_BLOCK = 20_000


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategies", nargs="*", default=[name.value for name in StrategyName], metavar="STRATEGY")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=1280)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces", help="of the embeddings")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--remark", help="what a reader of the figures should know, such as what else ran")
    parser.add_argument("--here", action="store_true", help="one strategy, in this process; prints what was measured")
    arguments = parser.parse_args()
    path = written(arguments.folder, arguments.images, arguments.dimensions)
    if arguments.here:
        print(json.dumps(measured(path, arguments.images, arguments.strategies[0], arguments.budget)))
        return
    found = []
    for name in arguments.strategies:
        options = [f"--{key}={getattr(arguments, key)}" for key in ("images", "dimensions", "budget", "folder")]
        command = [sys.executable, str(Path(__file__).resolve()), parse_strategy(name).value, "--here", *options]
        found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        print(json.dumps(found[-1]), file=sys.stderr)
    result = {
        "images": arguments.images,
        "dimensions": arguments.dimensions,
        "labelled": MOST_LABELLED,
        "classes": len(CLASSES),
        "budget": arguments.budget,
        "strategies": found,
        "machine": machine(),
        "date": date.today().isoformat(),
    }
    if arguments.remark:
        result["remark"] = arguments.remark
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "million.json").write_text(json.dumps(result, indent=1) + "\n")


def written(folder: Path, images: int, dimensions: int) -> Path:
    """The file of embeddings, float16 [images, dimensions]: never negative, as what an average pooling leaves."""
    path = folder / f"embeddings-{images}-{dimensions}.f16"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(1)
    centres = chance.standard_normal((len(CLASSES), dimensions), dtype=np.float32)
    truth = truth_of(images)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        for start in range(0, images, _BLOCK):
            part = truth[start : start + _BLOCK]
            values = centres[part] + chance.standard_normal((len(part), dimensions), dtype=np.float32)
            file.write(np.maximum(values, 0.0).astype(np.float16).tobytes())
    unfinished.replace(path)
    return path


def truth_of(images: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """int64 [images]: the class of each, by frequencies that halve from one class to the next."""
    shares = 0.5 ** np.arange(len(CLASSES))
    return np.random.default_rng(0).choice(len(CLASSES), images, p=shares / shares.sum()).astype(np.int64)


def round_pool(path: Path, images: int) -> RoundPool:
    """What a round knows when it chooses: everything scored, ten thousand images with a label, nothing waiting."""
    chance = np.random.default_rng(2)
    truth = truth_of(images)
    sharp = 1.5 * chance.standard_normal((images, len(CLASSES)))
    sharp[np.arange(images), truth] += 4.0
    np.exp(sharp, out=sharp)
    sharp /= sharp.sum(axis=1, keepdims=True)
    labels = np.full(images, UNLABELLED, dtype=np.int64)
    known = chance.choice(images, min(MOST_LABELLED, images // 10), replace=False)
    labels[known] = np.where(
        chance.random(len(known)) < 0.05, chance.integers(len(CLASSES), size=len(known)), truth[known]
    )
    array = np.memmap(path, dtype=np.float16, mode="r").reshape(images, -1)
    conflicts = np.zeros(images, dtype=bool)
    conflicts[chance.choice(images, 100, replace=False)] = True
    pool = Pool.of(
        images,
        classes=CLASSES,
        labels=labels,
        probabilities=sharp,
        embeddings=MappedEmbeddings(array, np.arange(images)),
        conflicts=conflicts,
        confusion=np.eye(len(CLASSES), dtype=np.int64) * 90 + 1,
    )
    frame = pd.DataFrame({"image_id": [f"{row:064x}" for row in range(images)]})
    for column in ("bad_image", "waiting", "set_aside", "in_test", "flagged"):
        frame[column] = False
    frame["scored"], frame["lot"] = True, chance.random(images)
    frame["set_aside"] = frame["lot"] < 0.1
    taxonomy = Taxonomy(version=1, classes=tuple(TaxonomyClass(name=name) for name in CLASSES))
    return RoundPool(frame, pool, taxonomy, None)


def measured(path: Path, images: int, strategy: str, budget: int) -> dict[str, Any]:
    """One round by one strategy in this process."""
    pool = round_pool(path, images)
    before = _peak_mb()
    began, computed = time.monotonic(), time.process_time()
    review = ReviewSettings(reader_hours_per_week=100)
    choice = choose_tasks(
        pool, StrategyName(strategy), budget=budget, review=review, waiting_images=0, hold=False, seed=0
    )
    tasks = prepare_tasks(pool, choice.chosen)
    return {
        "strategy": strategy,
        "tasks": len(tasks),
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(time.process_time() - computed, 1),
        "peak_memory_mb": _peak_mb(),
        "before_mb": before,
    }


def _peak_mb() -> int:
    """Most memory that this process ever held, pages of mapped files included."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main()
