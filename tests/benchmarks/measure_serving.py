"""What dynamic batching is worth: `tailsight serve` under 64 clients, against servers that batch nothing.

    python tests/benchmarks/measure_serving.py                 five rounds of ten seconds each
    python tests/benchmarks/measure_serving.py --max-batch 8   another largest batch

The solar cells are split and two quick models trained, as the demo does; the first is served as 32-bit floats. Four
servers stand side by side and are asked in turn, round by round, so that what else the machine does meets all alike:
FastAPI with one forward of torch per request, FastAPI with one OpenVINO forward per request, `tailsight serve
--max-batch 1`, and `tailsight serve`. The clients are in four other processes on the same cores. Then the champion
moves in the middle of a round. Beside requests per second stand the processor's seconds that the server took per
request, which other programs on the machine disturb least. Writes results/serving.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from benchmark_sets import read_set
from embedded_sets import curated_set
from machine import machine
from serving_load import WARM_UP_SECONDS, Load, run_clients

from data_contracts.workspace import Workspace
from pipelines.serving.served_model import find_model
from pipelines.steps.promote import PromoteRequest, promote, rollback
from pipelines.steps.train import TrainRequest, train

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMAGES = 256
TORCH, SAME, UNBATCHED, SERVE = "fastapi_torch", "fastapi_openvino", "serve_unbatched", "serve"


@dataclass(frozen=True)
class Server:
    """A server that stands: where it answers, and its process."""

    port: int
    path: str
    process: int


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--max-batch", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "serving.json")
    options = parser.parse_args()
    workspace = _workspace(options.folder / "elpv-serving")
    images = [Path(path) for path, _, _ in read_set("elpv").rows[:IMAGES]]
    rounds: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        servers = _servers(workspace, options.max_batch, stack)
        for number in range(options.rounds):
            for name, server in servers.items():
                measured = _measured(server, images, options.clients, options.seconds)
                rounds.setdefault(name, []).append(measured)
                print(number + 1, name, {key: round(value, 1) for key, value in measured.items()}, flush=True)
        swap = _swap(workspace, servers[SERVE], images, options.clients, options.seconds)
        print("swap", swap, flush=True)
    result = {
        "machine": machine(),
        "date": date.today().isoformat(),
        "set": "elpv",
        "clients": options.clients,
        "seconds": options.seconds,
        "max_batch": options.max_batch or "default",
        "servers": {name: _summary(found) for name, found in rounds.items()},
        "ratios": {
            f"serve_over_{name}": _spread(
                [
                    one["requests_per_second"] / other["requests_per_second"]
                    for one, other in zip(rounds[SERVE], rounds[name], strict=True)
                ]
            )
            for name in (TORCH, SAME, UNBATCHED)
        },
        "swap": swap,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def _workspace(folder: Path) -> Workspace:
    """The solar cells with two quick models, the first of them champion; made once."""
    workspace = curated_set(read_set("elpv"), folder, 0)
    for seed in (0, 1):
        version = train(workspace, TrainRequest(preset="quick", seed=seed)).model_version
        promote(workspace, PromoteRequest(who="benchmark", why="to be served", version=version, override=True))
    rollback(workspace, who="benchmark", why="the first is served")  # both are judged, so that moving takes no time
    return workspace


def _servers(workspace: Workspace, max_batch: int | None, stack: ExitStack) -> dict[str, Server]:
    package = str(find_model(workspace, "champion", "openvino").package)
    baseline = str(HERE / "serving_baseline.py")
    verb = ["-m", "pipelines.command_line.entry", "--workspace", str(workspace.folder), "serve"]
    batch = [] if max_batch is None else ["--max-batch", str(max_batch)]
    commands: dict[str, tuple[Sequence[str], str]] = {
        # Of the two usual ways the better one: threads for torch (on the event loop its own threads wait for one
        # another), the event loop for OpenVINO (whose compiled model takes one request at a time).
        TORCH: ([baseline, package, "torch", "{port}", "threads"], "/predict"),
        SAME: ([baseline, package, "openvino", "{port}", "event-loop"], "/predict"),
        UNBATCHED: ([*verb, "--port", "{port}", "--max-batch", "1"], "/v1/predict"),
        SERVE: ([*verb, "--port", "{port}", *batch], "/v1/predict"),
    }
    return {
        name: stack.enter_context(_standing([word.format(port=port) for word in words], port, path))
        for port, (name, (words, path)) in enumerate(commands.items(), start=8771)
    }


@contextmanager
def _standing(words: Sequence[str], port: int, path: str) -> Iterator[Server]:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen([sys.executable, *words], env={**os.environ, "PYTHONPATH": paths})
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=5):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"The server did not start: {' '.join(words)}") from None
                time.sleep(0.2)
        yield Server(port, path, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _measured(server: Server, images: list[Path], clients: int, seconds: float) -> dict[str, float]:
    before = _processor_seconds(server)
    load = run_clients(server.port, server.path, images, clients=clients, seconds=seconds)
    spent = _processor_seconds(server) - before
    return {**_figures(load, seconds), "processor_ms_per_request": 1000 * spent / max(load.answered, 1)}


def _figures(load: Load, seconds: float) -> dict[str, float]:
    p50, p99 = np.quantile(load.seconds, (0.5, 0.99)) if load.seconds else (float("nan"),) * 2
    return {
        "requests_per_second": len(load.seconds) / seconds,
        "p50_ms": 1000 * p50,
        "p99_ms": 1000 * p99,
        "failures": float(len(load.failures)),
    }


def _processor_seconds(server: Server) -> float:
    root = psutil.Process(server.process)
    return float(sum(sum(one.cpu_times()[:2]) for one in (root, *root.children(recursive=True))))


def _swap(workspace: Workspace, server: Server, images: list[Path], clients: int, seconds: float) -> dict[str, Any]:
    """The champion moves to the second version while the clients ask, and back afterwards."""

    def move() -> None:
        time.sleep(seconds / 2 + WARM_UP_SECONDS)
        promote(workspace, PromoteRequest(who="benchmark", why="in the middle", version="2", override=True))

    mover = threading.Thread(target=move)
    mover.start()
    load = run_clients(server.port, server.path, images, clients=clients, seconds=seconds + 20)
    mover.join()
    rollback(workspace, who="benchmark", why="as it was")
    return {
        **_figures(load, seconds + 20),
        "answered": load.answered,
        "failures": len(load.failures),
        "answers_by_version": load.versions,
    }


def _summary(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {key: _spread([one[key] for one in rounds]) for key in rounds[0]}


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    main()
