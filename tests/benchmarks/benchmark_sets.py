"""The benchmark data sets: which images, their labels, and what must not be split."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

from cifar100_long_tail import write_images

from pipelines.demo_images import installed_images

DATA = (Path(__file__).resolve().parents[3] / "shared" / "data").resolve()
NAMES = ("elpv", "infrared", "ham10000", "x-sdd")


@dataclass(frozen=True)
class BenchmarkSet:
    """Images with their true labels and groups, (absolute path, label, group or "") each.

    ``splits``: the split by path where the set's protocol gives one.
    """

    rows: list[tuple[str, str, str]]
    images: Path
    profile: str
    splits: dict[str, str] = field(default_factory=dict)


def read_set(name: str, images: Path | None = None, labels: Path | None = None) -> BenchmarkSet:
    """A named data set, or a folder (class folders, or with a CSV ``image,label[,group]``)."""
    if images is not None and labels is not None:
        return BenchmarkSet(_csv_rows(labels, images, "group"), images, "generic")
    if images is not None:
        return BenchmarkSet(_folder_rows(images), images, "generic")
    if name == "elpv":
        found = installed_images()
        rows = [(str(path), grade, "") for path, (grade, _) in sorted(found.items())]
        return BenchmarkSet(rows, Path(rows[0][0]).parent, "solar-el")
    if name == "x-sdd":
        return BenchmarkSet(_folder_rows(DATA / "x-sdd" / "images"), DATA / "x-sdd" / "images", "generic")
    if name == "ham10000":
        folder = DATA / "ham10000-200x150"
        rows = _csv_rows(folder / "labels.csv", folder / "images", "lesion_id")
        return BenchmarkSet(rows, folder / "images", "dermoscopy")
    if name == "infrared":
        folder = DATA / "infrared-solar-modules"
        return BenchmarkSet(_csv_rows(folder / "labels.csv", folder / "images", ""), folder / "images", "generic")
    raise SystemExit(f"There is no set {name!r}: {', '.join(NAMES)}, or --images DIR --name NAME.")


def read_cifar100_long_tail(source: Path, folder: Path) -> BenchmarkSet:
    """CIFAR-100-LT, imbalance 100: the long-tailed training images and the whole test set, written below ``folder``."""
    rows = write_images(source, folder)
    splits = {path: split for path, _, split in rows}
    return BenchmarkSet([(path, label, "") for path, label, _ in rows], folder, "generic", splits)


def drawn(data: BenchmarkSet, share: float, split: int) -> BenchmarkSet:
    """A share of the groups, whole ones, drawn by the number of the split."""
    if share >= 1:
        return data
    groups = sorted({group or path for path, _, group in data.rows})
    kept = set(random.Random(f"share {split}").sample(groups, round(share * len(groups))))
    return replace(data, rows=[row for row in data.rows if (row[2] or row[0]) in kept])


def write_labels(path: Path, data: BenchmarkSet, labels: dict[str, str]) -> None:
    """A labels CSV ``image,label,group`` with these labels by path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "group", *(["split"] if data.splits else [])])
        for image, _, group in data.rows:
            writer.writerow([image, labels[image], group or image, *([data.splits[image]] if data.splits else [])])


def _folder_rows(folder: Path) -> list[tuple[str, str, str]]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp"))
    return [(str(path), path.parent.name, "") for path in files]


def _csv_rows(path: Path, folder: Path, group: str) -> list[tuple[str, str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    places = [path.parent, folder]
    found = []
    for row in rows:
        image = next((place / row["image"] for place in places if (place / row["image"]).is_file()), None)
        if image is not None:
            found.append((str(image), row["label"], row.get(group) or ""))
    return found
