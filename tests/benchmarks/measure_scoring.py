"""Batch scoring, files in and Parquet out, against a plain loop: images per second, decisions, memory.

    python tests/benchmarks/measure_scoring.py --workspace demo-workspace

The images are all of the solar cells, copied into a folder, the model is the workspace's champion. In each repetition,
in turn: the plain loop (plain_scoring.py), and ``score`` in every precision that passes the parity gate; then decoding
alone and computing alone, of all the images, with all cores each, the latter also by torch in 32 bits in the batches
that suit it best. Processes are new each time; their start and what they import is not counted, loading the model is.
Memory: the peak of ``tailsight score`` over 5,000 and over 100,000 files. Writes results/scoring.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import machine
from numpy.typing import NDArray

from data_contracts.errors import Refused
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from domain_models.compute import Threads
from domain_models.throughput import measured, usual
from domain_models.tracking.quiet_mlflow import load_mlflow
from pipelines.demo_images import installed_images
from pipelines.steps.export import ExportRequest, export
from pipelines.steps.registry import open_registry
from pipelines.steps.score import ScoreRequest, score
from pipelines.steps.score_files import prepare_one
from pipelines.steps.score_listing import batch_files
from pipelines.steps.score_model import scoring_model

HERE = Path(__file__).resolve().parent
PRECISIONS = ("fp32", "bf16", "int8")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("demo-workspace"))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--files", type=int, nargs=2, default=(5_000, 100_000), help="for the memory; 0 0: not measured"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--remark", help="what a reader of the figures should know, such as what else ran")
    parser.add_argument("--here", nargs=3, metavar=("PRECISION", "FOLDER", "OUT"), help="one scoring, in this process")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace.absolute())
    if arguments.here:
        print(json.dumps(scored_here(workspace, *arguments.here)))
        return
    with tempfile.TemporaryDirectory() as place:
        result = run(workspace, Path(place), arguments)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "scoring.json").write_text(json.dumps(result, indent=1) + "\n")


def run(workspace: Workspace, place: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything."""
    images = place / "images"
    images.mkdir()
    for path in installed_images():
        shutil.copy(path, images)
    gates, precisions = {}, []
    for precision in PRECISIONS:
        try:
            report = export(workspace, ExportRequest(format="openvino", precision=precision, model="champion"))
            gates[precision] = {"size_of_fp32": report.size_of_fp32, "agreement": report.parity.agreement}
            gates[precision] |= {"macro_f1_drop": report.parity.macro_f1_network - report.parity.macro_f1_artefact}
            precisions.append(precision)
        except Refused as refused:
            gates[precision] = {"refused": refused.what}
    cores = read_settings().processes
    with open_registry(workspace) as registry:
        package = registry.package(registry.resolve("champion"))
    seconds: dict[str, list[float]] = {name: [] for name in ("plain", *precisions)}
    alone: dict[str, list[float]] = {name: [] for name in ("decode", "torch", *precisions)}
    tables: dict[str, Path] = {}
    for repetition in range(arguments.repetitions):
        for name in seconds:
            tables[name] = place / f"{name}.parquet"
            if name == "plain":
                command = [str(HERE / "plain_scoring.py"), str(package), str(images), str(tables[name]), str(cores)]
            else:
                shutil.rmtree(workspace.scores, ignore_errors=True)
                command = [str(Path(__file__).resolve()), "--workspace", str(workspace.folder)]
                command += ["--here", name, str(images), str(tables[name])]
            run = subprocess.run([sys.executable, *command], check=True, stdout=subprocess.PIPE)
            seconds[name].append(json.loads(run.stdout)["seconds"])
            print(repetition, name, round(seconds[name][-1], 2), file=sys.stderr)
        rate, pixels = decoded_alone(images, workspace, cores)
        alone["decode"].append(rate)
        alone["torch"].append(computed_alone(workspace, pixels, "fp32", cores, "torch"))
        for name in precisions:
            alone[name].append(computed_alone(workspace, pixels, name, cores))
        print(repetition, {name: round(rates[-1]) for name, rates in alone.items()}, file=sys.stderr)
    frames = {name: pd.read_parquet(path).sort_values("path") for name, path in tables.items()}
    count = len(frames["plain"])
    found: dict[str, Any] = {}
    for name in seconds:
        rates = [count / value for value in seconds[name]]
        found[name] = {"images_per_second": _spread(rates)}
        if name != "plain":
            plain = [own / other for own, other in zip(seconds["plain"], seconds[name], strict=True)]
            pairs = zip(rates, alone["decode"], alone[name], strict=True)
            found[name] |= {
                "times_plain": _spread(plain),
                "of_what_decoding_and_computing_allow": _spread([rate * (1 / d + 1 / c) for rate, d, c in pairs]),
                "computing_alone": _spread(alone[name]),
                "times_torch_alone": _spread([c / t for c, t in zip(alone[name], alone["torch"], strict=True)]),
                "same_decision_as_plain": _same(frames["plain"], frames[name]),
                "same_decision_as_fp32": _same(frames["fp32"], frames[name]),
            }
    result: dict[str, Any] = {
        "images": count,
        "repetitions": arguments.repetitions,
        "decoding_alone": _spread(alone["decode"]),
        "torch_alone": _spread(alone["torch"]),
        "ways": found,
        "gates": gates,
        "machine": machine(),
        "date": date.today().isoformat(),
    }
    if all(arguments.files):
        result["memory"] = {str(count): peak(workspace, images, place, count) for count in arguments.files}
    if arguments.remark:
        result["remark"] = arguments.remark
    return result


def scored_here(workspace: Workspace, precision: str, folder: str, out: str) -> dict[str, float]:
    """One scoring in this process; what it imports is imported before, as the plain loop's imports are."""
    import domain_models.openvino_toolkit
    import pipelines.steps.ingest_discovery  # noqa: F401

    domain_models.openvino_toolkit.load_openvino()
    load_mlflow()
    began = time.perf_counter()
    score(workspace, ScoreRequest(images=folder, out=Path(out), precision=precision))
    return {"seconds": time.perf_counter() - began}


def decoded_alone(images: Path, workspace: Workspace, cores: int) -> tuple[float, NDArray[np.uint8]]:
    """Files read, hashed, decoded and prepared by all cores, per second; and their pixels, uint8 [n, H, W, C]."""
    spec = scoring_model(workspace, "champion").card.preprocessing
    files = batch_files(str(images))
    with ThreadPoolExecutor(cores) as pool:
        began = time.perf_counter()
        pixels = [one.pixels for one in pool.map(lambda file: prepare_one(file, spec), files)]
        seconds = time.perf_counter() - began
    return len(files) / seconds, np.stack([one for one in pixels if one is not None])


def computed_alone(
    workspace: Workspace, pixels: NDArray[np.uint8], precision: str, cores: int, runtime: str = "auto"
) -> float:
    """Images computed by all cores, per second; torch in its best batches, others in those that ``score`` takes."""
    model = scoring_model(workspace, "champion", runtime, precision)
    setting = usual(model.computable.runtime, cores)
    if runtime == "torch":
        setting = measured(model.open, pixels[:: len(pixels) // 64], cores, batches=(8, 32, 64))
    compute = model.open(Threads(cores, setting.at_once))
    batches = [pixels[start : start + setting.batch] for start in range(0, len(pixels), setting.batch)]
    with ThreadPoolExecutor(setting.at_once) as pool:
        list(pool.map(compute, batches[: 2 * setting.at_once]))  # the first calls prepare memory
        began = time.perf_counter()
        list(pool.map(compute, batches))
        return len(pixels) / (time.perf_counter() - began)


def peak(workspace: Workspace, images: Path, place: Path, count: int) -> float:
    """Peak memory in MB of ``tailsight score`` over so many files."""
    sources, folder = sorted(images.iterdir()), place / f"files-{count}"
    folder.mkdir()
    for number in range(count):
        os.link(sources[number % len(sources)], folder / f"{number:07d}.png")
    out = place / f"memory-{count}.parquet"
    command = [str(Path(sys.executable).with_name("tailsight")), "--workspace", str(workspace.folder)]
    command += ["score", str(folder), "--out", str(out), "--precision", "bf16"]
    timed = ["import resource, subprocess, sys", "code = subprocess.run(sys.argv[1:]).returncode"]
    timed += ["print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)", "sys.exit(code)"]
    run = subprocess.run([sys.executable, "-c", "\n".join(timed), *command], check=True, stdout=subprocess.PIPE)
    return float(run.stdout.decode().split()[-1])


def _same(one: pd.DataFrame, other: pd.DataFrame) -> float:
    return float((one["predicted"].to_numpy() == other["predicted"].to_numpy()).mean())


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    main()
