"""Everything that a proposed profile rests on: file names, labels, and a seeded sample of the images of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import BadInput
from data_contracts.label_rules import Judgement, judge_labels, printable
from data_contracts.progress import SILENT, Progress
from data_contracts.taxonomy import Taxonomy
from pipelines.steps.ingest_discovery import Discovery, discover
from pipelines.steps.nearest_profile import Nearest, nearest_profile
from pipelines.steps.survey_images import ImageSurvey, survey_images
from pipelines.steps.survey_labels import FolderLabels, labels_of_folder


@dataclass(frozen=True)
class Seen:
    """All that was seen of a folder, before anything is concluded."""

    folder: Path
    found: Discovery
    labels: FolderLabels
    judged: Judgement
    images: ImageSurvey
    nearest: Nearest | None

    @property
    def classes(self) -> dict[str, int]:
        """Images of each label that makes a class, by name."""
        return {name: self.labels.counts[name] for name in self.judged.new_classes}


def look(images: Path, *, ignore: Sequence[Path] = (), seed: int = 0, progress: Progress = SILENT) -> Seen:
    """Everything that a proposal rests on: file names, labels, and a seeded sample of the images.

    Raises:
        NotFound: there is no such folder.
        BadInput: it is no folder, has no image, or none of those looked at can be read.
    """
    if "s3:" in images.parts:  # also where a caller took the address for a relative path
        raise BadInput(
            "--from-images looks at a folder on disk, not at an address.",
            remedy="Copy a few hundred of the images to disk and look at them; `ingest` then takes the address.",
        )
    if images.exists() and not images.is_dir():
        raise BadInput(f"{images} is a file; --from-images looks at a folder.", remedy="Name the folder of images.")
    progress.say(f"Looking through {printable(str(images))}.")
    found = discover(images, ignore=ignore)
    if not found.files:
        others = ", ".join(f"{kind} {n:,}" for kind, n in sorted(found.other_kinds.items())[:6])
        aside = next(iter(found.set_aside.values()), None)
        cause = f"It holds other files: {others}." if others else "It is empty."
        if aside is not None:
            cause = f"{len(found.set_aside):,} files were set aside, the first because: {aside.reason}"
        raise BadInput(
            f"{printable(str(images))} has no image that can be read.",
            cause=cause,
            remedy="PNG, JPEG, TIFF, BMP and WebP are read; name the folder that holds them.",
        )
    labels = labels_of_folder(found)
    survey = survey_images(found, seed=seed, progress=progress)
    if not survey.readable:
        path, reason = survey.unreadable[0]
        raise BadInput(
            f"None of the {survey.looked_at:,} files looked at in {printable(str(images))} can be read as an image.",
            cause=f"{path}: {reason}",
            remedy="Check that the copy or download is whole.",
        )
    judged = judge_labels(labels.counts, Taxonomy())
    nearest = nearest_profile(judged.new_classes, [labels.group[0]] if labels.group else [])
    return Seen(found.folder, found, labels, judged, survey, nearest)
