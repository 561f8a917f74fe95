"""How fast each part of the product is on this machine, one core or one process at a time: what CAPACITY.md rests on.

    python tests/benchmarks/measure_capacity.py [--folder DIR] [--remark TEXT]

Writes results/capacity.json; `python tests/benchmarks/write_capacity.py` then writes deploy/CAPACITY.md. Images are
solar cells as they come (300 px, PNG), and the same enlarged to 1024 px and written as JPEG (quality 90), about what a
line camera delivers. The model is one of the quick preset on the full 160 px (tf_efficientnet_lite0; its weights do not
change what it costs). Rates of one core are measured with this process bound to one core, by the processor time that it
used: what else runs on the machine then disturbs them little. All other rates are by the clock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from capacity_of_records import ledger_rates, score_rates
from machine import machine
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))  # tests.pipelines has the storage server

from data_contracts.object_storage import READS_AT_ONCE, ObjectAddress  # noqa: E402
from data_contracts.workspace import Workspace  # noqa: E402
from domain_models.model_card import read_card  # noqa: E402
from domain_models.runtimes import Runtime, open_runtime  # noqa: E402
from pipelines.demo_images import installed_images  # noqa: E402
from pipelines.steps.curate import CurateRequest, curate  # noqa: E402
from pipelines.steps.decisions import Decider  # noqa: E402
from pipelines.steps.ingest import IngestRequest, ingest  # noqa: E402
from pipelines.steps.ingest_discovery import discover  # noqa: E402
from pipelines.steps.initialise import initialise  # noqa: E402
from pipelines.steps.registry import open_registry  # noqa: E402
from pipelines.steps.score_files import BatchFile, PreparedFile, prepare_one  # noqa: E402
from pipelines.steps.score_listing import batch_files  # noqa: E402
from pipelines.steps.score_rows import rows_of  # noqa: E402
from pipelines.steps.train import TrainRequest, train  # noqa: E402
from tests.pipelines.storage_server import StorageServer  # noqa: E402

SIDE = 160
LARGE = 1024
_REPEATS = 3


def main() -> None:
    """Parse the command line, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces" / "capacity")
    parser.add_argument("--images", type=int, default=240, help="of each kind")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--remark", help="what a reader of the figures should know, such as what else ran")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    kinds = _images(arguments.folder / "images", arguments.images)
    package = _trained(arguments.folder)
    result: dict[str, Any] = {
        "images": {name: _kind(folder, package) for name, folder in kinds.items()},
        "model": {"backbone": read_card(package).architecture.backbone, "side": SIDE, "rates": _models(package)},
        "ledger": ledger_rates(arguments.folder / "ledger"),
        "scores": {**score_rates(arguments.folder / "parts"), "rows_decided_per_core_second": _decided(package)},
        "storage": _storage(arguments.folder, kinds["1024 px JPEG"]),
        "folder_listing_per_second": _listing_of_folders(arguments.folder / "listing"),
        "machine": machine(),
        "date": date.today().isoformat(),
    }
    if arguments.remark:
        result["remark"] = arguments.remark
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "capacity.json").write_text(json.dumps(result, indent=1) + "\n")
    shutil.rmtree(arguments.folder, ignore_errors=True)
    print(json.dumps(result, indent=1))


def _images(folder: Path, count: int) -> dict[str, Path]:
    """Two folders of class folders: cells as they come, and enlarged as JPEG."""
    chosen = sorted(installed_images().items(), key=lambda item: hashlib.sha256(item[0].name.encode()).hexdigest())
    kinds = {"300 px PNG": folder / "cells", "1024 px JPEG": folder / "large"}
    for number, (source, (grade, _)) in enumerate(chosen[:count]):
        for kind in kinds.values():
            (kind / grade).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, kinds["300 px PNG"] / grade / f"{number:04d}.png")
        with Image.open(source) as cell:
            large = cell.convert("L").resize((LARGE, LARGE), Image.Resampling.BICUBIC)
        large.save(kinds["1024 px JPEG"] / grade / f"{number:04d}.jpg", quality=90)
    return kinds


def _trained(folder: Path) -> Path:
    """A registered model of the quick preset; its package."""
    workspace = Workspace(folder / "workspace")
    initialise(workspace, "generic")
    ingest(workspace, IngestRequest(images=str(folder / "images" / "cells"), who="benchmark"))
    curate(workspace, CurateRequest())
    size = (f"preprocessing.height={SIDE}", f"preprocessing.width={SIDE}")
    train(workspace, TrainRequest(preset="quick", overrides=(*size, "probe_views=1", "cross_fit_folds=0")))
    with open_registry(workspace) as registry:
        return registry.package("1")


def _kind(folder: Path, package: Path) -> dict[str, Any]:
    spec = read_card(package).preprocessing
    files = batch_files(str(folder))
    cv2.setNumThreads(1)

    def prepare_all() -> None:
        for file in files:
            assert prepare_one(file, spec).pixels is not None

    seconds = _on_one_core(prepare_all)
    return {
        "count": len(files),
        "bytes_per_image": round(sum(file.size_bytes for file in files) / len(files)),
        "decoded_and_prepared_per_core_second": round(len(files) / seconds, 1),
    }


def _models(package: Path) -> dict[str, float]:
    """Images per second of one core, by runtime, 64 at once."""
    card = read_card(package)
    batch = np.random.default_rng(0).integers(0, 256, (64, SIDE, SIDE, card.preprocessing.channels), dtype=np.uint8)
    rates = {}
    for runtime in (Runtime.OPENVINO, Runtime.ONNX, Runtime.TORCH):

        def compute(runtime: Runtime = runtime) -> float:
            import torch

            torch.set_num_threads(1)
            model = open_runtime(runtime, package, card)  # opened on one core, it computes on one core
            model(batch)
            return _best(lambda: model(batch), time.process_time)

        rates[f"{runtime.value} f32"] = round(len(batch) / _bound(compute), 1)
    return rates


def _decided(package: Path) -> float:
    """Rows per second of one core once the logits are there: calibration, triage, conformal sets, the row itself."""
    card = read_card(package)
    decider = Decider.from_card(card)
    logits = np.random.default_rng(0).normal(0, 2, (64, len(card.classes))).astype(np.float32)
    pixels = np.zeros((1, 1, 1), dtype=np.uint8)
    file = BatchFile(Path("/line-4/2026-11-23/camera-2/image.jpg"), 1, 1)
    batch = [PreparedFile(file, "0" * 64, pixels, None)] * len(logits)

    def decide() -> None:
        for _ in range(20):
            rows_of(batch, lambda _: logits, decider, card.classes, "1")

    return round(20 * len(logits) / _on_one_core(decide), 1)


def _storage(folder: Path, images: Path, listed: int = 3_000) -> dict[str, Any]:
    """Reading and listing objects of an S3 server that runs on this machine (moto, in Python): a stand-in."""
    files = sorted(images.rglob("*.jpg"))
    with StorageServer(folder) as server:
        os.environ.update(server.environment)
        server.make_bucket("capacity")
        for number, file in enumerate(files):
            server.put("capacity", f"images/{number:05d}.jpg", file.read_bytes())
        for number in range(listed):
            server.put("capacity", f"names/{number:06d}.jpg", b"x")
        places = [ObjectAddress("capacity", f"images/{number:05d}.jpg") for number in range(len(files))]
        places[0].read_bytes()

        def read(at_once: int) -> float:
            began = time.monotonic()
            with ThreadPoolExecutor(at_once) as pool:
                total = sum(len(data) for data in pool.map(ObjectAddress.read_bytes, places))
            assert total == sum(file.stat().st_size for file in files)
            return len(places) / (time.monotonic() - began)

        began = time.monotonic()
        assert sum(1 for _ in ObjectAddress("capacity", "names").objects()) == listed
        listing = listed / (time.monotonic() - began)
        return {
            "read_per_second_one_at_a_time": round(read(1), 1),
            "read_per_second": round(max(read(READS_AT_ONCE) for _ in range(_REPEATS)), 1),
            "reads_at_once": READS_AT_ONCE,
            "listed_per_second": round(listing, 1),
        }


def _listing_of_folders(folder: Path, count: int = 20_000) -> float:
    for number in range(count):
        if number % 1000 == 0:
            (folder / f"{number // 1000:03d}").mkdir(parents=True)
        (folder / f"{number // 1000:03d}" / f"{number:06d}.png").touch()
    seconds = _best(lambda: discover(folder))
    return round(count / seconds, 1)


def _on_one_core(work: Callable[[], object]) -> float:
    return _bound(lambda: _best(work, time.process_time))


def _bound(work: Callable[[], float]) -> float:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        return work()
    finally:
        os.sched_setaffinity(0, before)


def _best(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of a few runs: what else runs on a machine only ever adds."""
    spent: Sequence[float] = []
    for _ in range(_REPEATS):
        began = clock()
        work()
        spent = [*spent, clock() - began]
    return min(spent)


if __name__ == "__main__":
    main()
