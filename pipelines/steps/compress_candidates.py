"""What may compete under a target: the champion in other numbers, students, and the champion with fewer channels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from data_contracts.errors import BadInput
from data_contracts.progress import Progress
from domain_models.backbones import WeightSource, normalisation
from domain_models.bundled_weights import BUNDLED_PACKAGES
from domain_models.export.artefact import FOLDER_PREFIX, Manifest, read_artefact, write_manifest
from domain_models.model_card import CARD_FILE, ModelCard
from domain_models.model_package import load_package, save_package
from domain_models.preprocessing import Preprocessing
from domain_models.pruning import pruned, require_pruning
from domain_models.tracking.artifacts import copy_whole
from domain_models.training_config import TrainingConfig
from pipelines.steps.candidate import name_candidate, register_candidate
from pipelines.steps.compress_deployables import Deployable, Packaged, deployables_of
from pipelines.steps.compress_subject import Subject
from pipelines.steps.registry import open_registry

STUDENTS = ("tf_efficientnet_lite0", "mobilenetv3_small_100", "mobilenetv3_large_100")
"""Backbones of students unless others are named."""

SCALES = (0.71, 0.57, 1.0)
"""Sides of a student's images, as shares of the champion's; the most promising first."""

KEPT = (0.5, 0.75)
"""Shares of the champion's channels that pruning keeps."""

PRUNING_FORMAT = 1
"""Rises when pruning the same network would leave something else."""

_MULTIPLE = 16
_SMALLEST_SIDE = 32


@dataclass(frozen=True)
class Asked:
    """What the person who asked decides about candidates.

    Attributes:
        students: ``BACKBONE`` or ``BACKBONE=WEIGHTS``.
        max_loss: of macro-F1 against the champion, in points.
    """

    students: Sequence[str]
    max_loss: float


@dataclass(frozen=True)
class Candidate:
    """One model that may become smaller, and how to make it.

    Attributes:
        name: told apart from all others by it.
        trains: whether making it is a training: it is left out where the minutes are spent.
        make: gives what could be deployed, from everything that was made before it and a table that is told what was
            left out and why. Raises BadInput or Refused where it cannot be made.
    """

    name: str
    trains: bool
    make: Callable[[Sequence[Deployable], dict[str, str], Progress], list[Deployable]]


def the_champion(subject: Subject, _: Asked) -> list[Candidate]:
    """The champion as it is, and in other numbers."""
    place = subject.workspace.runs / f"compress-{subject.sha256[:16]}-{subject.dataset.dataset_version}"

    def make(_: Sequence[Deployable], left_out: dict[str, str], progress: Progress) -> list[Deployable]:
        item = Packaged(f"champion {_size(subject.card)}", "champion", subject.package, place, None)
        return deployables_of(subject, item, left_out, progress)

    return [Candidate("champion", False, make)]


def students(subject: Subject, asked: Asked) -> list[Candidate]:
    """Small backbones on smaller images, taught by the champion; their pixels can be made of the champion's."""
    found = []
    for spec in sizes(subject.card.preprocessing):
        for word in asked.students:
            backbone, _, weights = word.partition("=")
            source = weights or WeightSource.BUNDLED.value
            name = f"student {backbone} {spec.width}×{spec.height}"
            found.append(Candidate(name, True, _student(subject, name, backbone, source, spec)))
    return found


def pruned_champions(subject: Subject, _: Asked) -> list[Candidate]:
    """The champion with a share of its channels, fine-tuned with the whole champion as its teacher."""
    return [
        Candidate(name, True, _pruned(subject, name, keep))
        for keep in KEPT
        for name in [f"champion {_size(subject.card)} pruned to {keep:.0%} of its channels"]
    ]


def sizes(champion: Preprocessing) -> list[Preprocessing]:
    """How students see images: smaller, reduced from the champion's pixels; sizes that coincide are one."""
    whole = champion.larger()
    found: list[Preprocessing] = []
    for scale in SCALES:
        height, width = (
            min(side, max(_SMALLEST_SIDE, _MULTIPLE * round(scale * side / _MULTIPLE)))
            for side in (champion.height, champion.width)
        )
        same = (height, width) == (whole.height, whole.width)
        reduced_from = None if same else (whole.height, whole.width)
        spec = champion.model_copy(update={"height": height, "width": width, "reduced_from": reduced_from})
        if spec not in found:
            found.append(spec)
    return found


def _student(
    subject: Subject, name: str, backbone: str, weights: str, spec: Preprocessing
) -> Callable[[Sequence[Deployable], dict[str, str], Progress], list[Deployable]]:
    def make(_: Sequence[Deployable], left_out: dict[str, str], progress: Progress) -> list[Deployable]:
        if weights == WeightSource.BUNDLED and backbone not in BUNDLED_PACKAGES:
            raise BadInput(
                f"No ImageNet weights of {backbone} come with the installation.",
                remedy=f"Give --student {backbone}=hub to download them, or --student {backbone}=FILE.",
            )
        mean, std = normalisation(backbone, weights)
        own = spec.model_copy(update={"mean": mean, "std": std})
        settings: dict[str, object] = {"backbone": backbone, "weights": weights, "preprocessing": own}
        if weights == WeightSource.NONE:
            settings["probe"] = False  # features that nobody trained are worth nothing
        config = subject.config(**settings)
        sentence = f"A student of model version {subject.version}: {backbone} on {own.width}×{own.height} px."
        return _trained(subject, name, "student", config, sentence, left_out, progress)

    return make


def _pruned(
    subject: Subject, name: str, keep: float
) -> Callable[[Sequence[Deployable], dict[str, str], Progress], list[Deployable]]:
    def make(_: Sequence[Deployable], left_out: dict[str, str], progress: Progress) -> list[Deployable]:
        require_pruning()
        has, spec = subject.card.architecture, subject.card.preprocessing
        content = json.dumps([PRUNING_FORMAT, subject.sha256, keep])
        start = subject.workspace.runs / f"pruned-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        if not (start / CARD_FILE).is_file():
            with progress.step(f"Pruning to {keep:.0%} of the channels"):
                network, card = load_package(subject.package)
                small = pruned(network, keep, spec.height, spec.width)
                save_package(start, small, card.model_copy(update={"architecture": small.architecture}), onnx=False)
        settings: dict[str, object] = {
            "backbone": has.backbone,
            "weights": str(start),
            "attention": has.attention,
            "attention_stages": has.attention_stages,
            "head": has.head,
            "fine_stem": has.fine_stem,
            "preprocessing": spec,
            "probe": False,  # it begins with the champion's classifier
        }
        sentence = f"Model version {subject.version} with {keep:.0%} of its channels, those with the largest weights."
        return _trained(subject, name, "pruned", subject.config(**settings), sentence, left_out, progress)

    return make


def _trained(
    subject: Subject,
    name: str,
    family: str,
    config: TrainingConfig,
    sentence: str,
    left_out: dict[str, str],
    progress: Progress,
) -> list[Deployable]:
    package, key = subject.trained(config, sentence, progress)

    def register(manifest: Manifest | None, folder: Path | None, progress: Progress) -> str:
        version = register_candidate(subject.workspace, package, key, progress)
        if manifest is not None and folder is not None:
            _attach(subject, version, manifest, folder)
        name_candidate(subject.workspace, version, key, reused=False, seconds=0.0)
        return version

    item = Packaged(name, family, package, package.parent / "artefacts", register)
    return deployables_of(subject, item, left_out, progress)


def _attach(subject: Subject, version: str, manifest: Manifest, folder: Path) -> None:
    """Attach just the artefact that was measured, now that its model has a version; once."""
    with open_registry(subject.workspace) as registry:
        known = registry.attached(version, FOLDER_PREFIX).get(folder.name)
        if known is not None and read_artefact(known).files == manifest.files:
            return
        with TemporaryDirectory(dir=folder.parent, prefix=".attaching-") as place:
            own = Path(place) / folder.name
            copy_whole(folder, own)
            write_manifest(own, manifest.model_copy(update={"model_version": version}))
            registry.attach(version, own)


def _size(card: ModelCard) -> str:
    spec = card.preprocessing
    return f"{card.architecture.backbone} {spec.width}×{spec.height}"
