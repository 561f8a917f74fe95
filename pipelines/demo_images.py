"""The demo's real images, laid out as a factory would have them: a labelled part, then production batches.

The images are the ELPV data set (Buerhop-Lutz et al., 2018): 2,624 solar cells under electroluminescence, graded by how
sure an expert was of a defect. CC BY-NC-SA 4.0, so they come with the ``demo`` extra only, from an installed package.
The package names no module for a cell, so there is no group to keep whole.
"""

from __future__ import annotations

import csv
import io
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import BadInput
from data_contracts.progress import Progress
from data_contracts.workspace import write_atomically

GRADES = {
    "0.0": "functional",
    "0.3333333333333333": "possibly_defective",
    "0.6666666666666666": "probably_defective",
    "1.0": "defective",
}
LABELLED_SHARE = 0.65
BATCHES = 3
LAYOUT_SEED = 7
"""Fixed: the demo's folders are the same whatever ``--seed`` says."""


@dataclass(frozen=True)
class DemoImages:
    """Where the demo's images are.

    Attributes:
        labelled: folder with the labelled images.
        labels: CSV with ``image,label,cell_type`` for them.
        batches: one folder per production batch; nobody has labelled these.
        truth: what the experts said of each image, by file name; the factory knows it of the labelled part alone.
        planted: file names of the labelled part whose label in the CSV is wrong on purpose.
        labelled_count: how many images are labelled.
    """

    labelled: Path
    labels: Path
    batches: list[Path]
    truth: Mapping[str, str]
    planted: frozenset[str]
    labelled_count: int


def installed_images() -> dict[Path, tuple[str, str]]:
    """Grade and cell type of each image file of the installed package.

    Raises:
        BadInput: the demo extra is not installed, or is not the data set that is expected.
    """
    try:
        import elpv_dataset
    except ImportError:
        raise BadInput(
            "The demo's images are not installed.",
            cause="They are licensed CC BY-NC-SA 4.0 and come with an extra of their own.",
            remedy="Run: pip install 'tailsight[demo]'",
        ) from None
    folder = Path(elpv_dataset.__file__).parent / "data"
    found: dict[Path, tuple[str, str]] = {}
    for line in (folder / "labels.csv").read_text(encoding="utf-8").splitlines():
        if line.strip():
            name, grade, cell_type = line.split()
            found[folder / name] = (GRADES[_nearest_grade(grade)], cell_type)
    return found


def _nearest_grade(text: str) -> str:
    return min(GRADES, key=lambda grade: abs(float(grade) - float(text)))


def lay_out(folder: Path, progress: Progress, *, planted_share: float = 0.0) -> DemoImages:
    """Copy the images into ``folder``; doing it again copies only what is missing.

    The labelled part has the same mix of grades as production: the split is drawn within each grade.

    Args:
        folder: where.
        progress: told of each image copied.
        planted_share: share of the labelled images whose label is made wrong, as a tired person would.
    """
    images = installed_images()
    chance = random.Random(LAYOUT_SEED)  # noqa: S311 (a layout, not a secret)
    labelled: list[Path] = []
    production: list[Path] = []
    for grade in GRADES.values():
        members = sorted(path for path, (own, _) in images.items() if own == grade)
        chance.shuffle(members)
        cut = round(len(members) * LABELLED_SHARE)
        labelled += members[:cut]
        production += members[cut:]
    chance.shuffle(production)
    batches = [folder / "production" / f"batch-{number + 1:02d}" for number in range(BATCHES)]
    target = {path: folder / "labelled" / path.name for path in labelled}
    target |= {path: batches[index % BATCHES] / path.name for index, path in enumerate(production)}
    missing = {source: goal for source, goal in target.items() if not _is_there(source, goal)}
    if missing:
        with progress.step("Laying out the demo's images", total=len(missing)) as step:
            for source, goal in missing.items():
                goal.parent.mkdir(parents=True, exist_ok=True)
                unfinished = goal.with_name(f".{goal.name}.part")
                shutil.copy2(source, unfinished)
                unfinished.replace(goal)
                step.advance()
    labels = folder / "labels.csv"
    planted = _planted({path.name: images[path][0] for path in labelled}, planted_share)
    rows = [(path.name, planted.get(path.name, images[path][0]), images[path][1]) for path in sorted(labelled)]
    _write_labels(labels, rows)
    return DemoImages(
        labelled=folder / "labelled",
        labels=labels,
        batches=batches,
        truth={path.name: grade for path, (grade, _) in images.items()},
        planted=frozenset(planted),
        labelled_count=len(labelled),
    )


def _planted(labels: Mapping[str, str], share: float) -> dict[str, str]:
    """Another grade for a share of the images, by file name."""
    chance = random.Random(LAYOUT_SEED + 1)  # noqa: S311 (a layout, not a secret)
    chosen = chance.sample(sorted(labels), round(share * len(labels)))
    return {name: chance.choice([g for g in GRADES.values() if g != labels[name]]) for name in chosen}


def _is_there(source: Path, goal: Path) -> bool:
    return goal.is_file() and goal.stat().st_size == source.stat().st_size


def _write_labels(path: Path, rows: list[tuple[str, str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "label", "cell_type"])
    writer.writerows((f"labelled/{name}", grade, cell_type) for name, grade, cell_type in rows)
    if not path.is_file() or path.read_text(encoding="utf-8") != text.getvalue():
        write_atomically(path, text.getvalue())
