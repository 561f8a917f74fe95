"""Small real image files for tests of ingest and curate."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

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
