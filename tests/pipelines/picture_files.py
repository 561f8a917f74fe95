"""Small real image files for tests of ingest and curate."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import events_frame
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.images import occurrences_frame
from data_contracts.ledger.verify import verify_chain
from data_contracts.workspace import Workspace
from pipelines.steps.ingest import IngestReport, IngestRequest, ingest


def picture(seed: int, height: int = 72, width: int = 96) -> Image.Image:
    """A picture with structure, different for every seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    array = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(6))).astype(float)
    return Image.fromarray(np.clip((array - array.mean()) * 6 + 128, 0, 255).astype(np.uint8))


def save(path: Path, seed: int, **size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, **size).save(path)
    return path


def class_folders(root: Path, counts: dict[str, int], first_seed: int = 0) -> Path:
    """``root/<class>/<n>.png``, every picture different."""
    seed = first_seed
    for name, n in counts.items():
        for number in range(n):
            save(root / name / f"{number:03}.png", seed)
            seed += 1
    return root


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)
    return path


def take_in(workspace: Workspace, images: Path, labels: Path | None = None, **options: object) -> IngestReport:
    """Ingest as the command line would."""
    return ingest(workspace, IngestRequest(images=images, labels=labels, who="tester", **options))  # type: ignore[arg-type]


def labels_of(workspace: Workspace) -> dict[str, str | None]:
    """Current label by relative path."""
    with Ledger.open(workspace) as ledger:
        label = dict(image_labels(ledger)[["image_id", "label"]].itertuples(index=False, name=None))
        places = occurrences_frame(ledger)
    return {path: label[image] for path, image in zip(places["path"], places["image_id"], strict=True)}


def events_in(workspace: Workspace) -> int:
    """How many label events there are; their chain verifies."""
    with Ledger.open(workspace) as ledger:
        assert verify_chain(ledger).ok
        return len(events_frame(ledger))
