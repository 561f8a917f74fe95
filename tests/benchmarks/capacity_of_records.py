"""How fast a SQLite ledger takes images and labels, and a score table its rows: a part of measure_capacity.py."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.images import add_images
from data_contracts.ledger.roots import register_root
from data_contracts.records import ImageRecord, NewLabelEvent, Occurrence
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Action, Source
from data_contracts.workspace import Workspace
from pipelines.steps.initialise import initialise
from pipelines.steps.score import ROWS_PER_PART
from pipelines.steps.score_parts import Parts

SIDE = 1024
"""Of the images that are recorded, in px."""
CLASSES = tuple(f"class {number:02d}" for number in range(12))


def ledger_rates(folder: Path, images: int = 5_000, at_once: int = 500) -> dict[str, Any]:
    """Images with their occurrences, and label events, appended as ingest appends them, into a SQLite ledger."""
    workspace = Workspace(folder)
    initialise(workspace, "generic")
    ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(images)]
    chance = np.random.default_rng(0)
    with Ledger.open(workspace, read_settings()) as ledger:
        root = register_root(ledger, folder)
    empty = _size(folder)
    with Ledger.open(workspace, read_settings()) as ledger:
        began = time.monotonic()
        for start in range(0, images, at_once):
            records, places = [], []
            for number in range(start, start + at_once):
                path = f"2026-11-{number % 28 + 1:02d}/camera-{number % 4}/{ids[number][:16]}.jpg"
                records.append(
                    ImageRecord(
                        image_id=ids[number],
                        uri=f"{root}/{path}",
                        width=SIDE,
                        height=SIDE,
                        mode="L",
                        bit_depth=8,
                        format="JPEG",
                        size_bytes=200_000,
                        perceptual_hash=int(chance.integers(-(2**63), 2**63)),
                        brightness=0.5,
                    )
                )
                places.append(
                    Occurrence(image_id=ids[number], root_id=root, path=path, size_bytes=200_000, modified_ns=number)
                )
            add_images(ledger, records, places, "capacity")
        with_images = time.monotonic() - began
    bytes_of_images = _size(folder) - empty  # closed, so that nothing is left in the write-ahead log
    with Ledger.open(workspace, read_settings()) as ledger:
        began = time.monotonic()
        for start in range(0, images, at_once):
            append_events(
                ledger,
                [
                    NewLabelEvent(
                        who="benchmark", subject_id=one, action=Action.IMPORT, label=CLASSES[0], source=Source.IMPORT
                    )
                    for one in ids[start : start + at_once]
                ],
            )
        with_labels = time.monotonic() - began
    bytes_of_labels = _size(folder) - empty - bytes_of_images
    return {
        "images_per_second": round(images / with_images, 1),
        "labels_per_second": round(images / with_labels, 1),
        "bytes_per_image": round(bytes_of_images / images),
        "bytes_per_label": round(bytes_of_labels / images),
        "at_once": at_once,
    }


def score_rates(folder: Path, count: int = 40) -> dict[str, Any]:
    """Parts of a score table with twelve classes, as a scoring writes them, and what a row takes in the merged file."""
    parts = Parts(folder, rows=count * ROWS_PER_PART, size=ROWS_PER_PART, classes=CLASSES)
    chance = np.random.default_rng(0)
    frames = []
    for part in range(count):
        values = chance.dirichlet(np.full(len(CLASSES), 0.3), ROWS_PER_PART)
        order = np.sort(values, axis=1)
        frame = pd.DataFrame(values, columns=[f"prob_{name}" for name in CLASSES])
        ids = [hashlib.sha256(f"{part} {row}".encode()).hexdigest() for row in range(ROWS_PER_PART)]
        frame["path"] = [f"s3://plant/line-4/2026-11-23/camera-2/{one[:16]}.jpg" for one in ids]
        frame["image_id"] = ids
        frame["predicted"] = [CLASSES[index] for index in values.argmax(axis=1)]
        frame["confidence"], frame["margin"] = order[:, -1], order[:, -1] - order[:, -2]
        frame["entropy"] = -(values * np.log(values + 1e-12)).sum(axis=1)
        frame["conformal_set"] = [[name] for name in frame["predicted"]]
        frame["decision"] = np.where(frame["confidence"] > 0.8, "auto", "review")
        frame["reason"] = np.where(frame["confidence"] > 0.8, None, "low_confidence")
        frame["model_version"], frame["error"] = "1", None
        frames.append(frame[parts.schema.names])
    began = time.monotonic()
    for part, frame in enumerate(frames):
        parts.write(part, frame)
    written = time.monotonic() - began
    merged = folder / "merged.parquet"
    began = time.monotonic()
    parts.merge(merged)
    return {
        "classes": len(CLASSES),
        "rows_written_per_second": round(parts.rows / written, 1),
        "rows_merged_per_second": round(parts.rows / (time.monotonic() - began), 1),
        "bytes_per_row": round(merged.stat().st_size / parts.rows, 1),
    }


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("ledger*") if file.is_file())
