"""``export``: a registered model as an artefact for another runtime or precision, if the parity gate lets it pass."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput, Refused
from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import Workspace, write_atomically
from domain_models.export.artefact import FOLDER_PREFIX, MANIFEST_FILE, Manifest, write_manifest
from domain_models.export.kinds import Precision, check_kind
from domain_models.export.parity import ParityReport
from domain_models.model_card import ONNX_FILE, ModelCard
from domain_models.model_package import load_package
from pipelines.steps.candidate import prepared_data
from pipelines.steps.dataset import load_dataset
from pipelines.steps.export_conversion import Conversion, convert
from pipelines.steps.registry import open_registry, resolve_model

if TYPE_CHECKING:
    from domain_models.training_data import TrainingData


class ExportRequest(BaseModel):
    """Which model, as what; ``out`` is a folder for a copy of the artefact.

    ``training_epochs`` is how long an OpenVINO network in 8 bits is trained further where it does not pass the gate as
    it is; 0 refuses it at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    precision: str = Precision.FP32.value
    model: str | None = None
    out: Path | None = None
    calibration_count: int = Field(default=300, ge=8, le=10_000)
    agreement: float | None = Field(default=None, ge=0, le=1)
    seed: int = 0
    training_epochs: int = Field(default=3, ge=0, le=100)


class ExportReport(BaseModel):
    """An artefact that passed, with what the gate saw. ``size_of_fp32`` is that of the package's fp32 graph."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    format: str
    precision: str
    arithmetic: str
    artefact: str
    copied_to: str | None
    size_bytes: int
    size_of_fp32: float
    parity: ParityReport
    made: dict[str, object]
    seconds: float


def export(workspace: Workspace, request: ExportRequest, progress: Progress = SILENT) -> ExportReport:
    """Convert, hold against the network on its own validation images, and attach what passes to the model version.

    ``score`` uses what is attached. Killed, nothing is attached; the same call begins again.

    Raises:
        BadInput: there is no such format or precision, or its toolkit is missing.
        NotFound: there is no such model, or the dataset version that it learned from.
        Refused: the gate; the report is kept in the workspace's reports.
    """
    began = time.monotonic()
    kind, precision = check_kind(request.format, request.precision)
    with open_registry(workspace) as registry:
        number = resolve_model(registry, request.model)
        package, digest = registry.package(number), registry.info(number).package_sha256
    network, card = load_package(package)
    if card.cascade is not None:
        raise Refused(
            f"Model version {number} is a cascade of two networks, and an artefact is one graph.",
            remedy=f"Export its large model: `tailsight export --model {card.cascade.large}`.",
        )
    data = _data(workspace, card, number, progress)
    conversion = Conversion(
        kind, precision, request.calibration_count, request.agreement, request.seed, request.training_epochs
    )
    with (
        workspace.lock(f"export-{number}-{kind.value}-{precision.value}"),
        tempfile.TemporaryDirectory(dir=_folder(workspace.cache / "exports")) as place,
    ):
        folder = _folder(Path(place) / f"{FOLDER_PREFIX}{kind.value}-{precision.value}")
        manifest = convert(
            network,
            card,
            data,
            conversion,
            folder,
            model_version=number,
            package_sha256=digest,
            progress=progress,
        )
        if not manifest.parity.passed:
            raise _refused(workspace, manifest)
        write_manifest(folder, manifest)
        with progress.step("Attaching to the model version"), open_registry(workspace) as registry:
            registry.attach(number, folder)
            attached = registry.attached(number, folder.name)[folder.name]
    if request.out is not None:
        copy_artefact(attached, request.out)
    return ExportReport(
        model_version=number,
        format=kind.value,
        precision=precision.value,
        arithmetic=manifest.arithmetic,
        artefact=str(attached),
        copied_to=None if request.out is None else str(request.out),
        size_bytes=manifest.size_bytes,
        size_of_fp32=manifest.size_bytes / (package / ONNX_FILE).stat().st_size,
        parity=manifest.parity,
        made=manifest.made,
        seconds=time.monotonic() - began,
    )


def copy_artefact(artefact: Path, target: Path) -> None:
    """A copy of an artefact for elsewhere, whole or not at all.

    Raises:
        BadInput: the folder is there already and holds something else, or cannot be written.
    """
    if target.exists() and not (target.is_dir() and (not any(target.iterdir()) or (target / MANIFEST_FILE).is_file())):
        raise BadInput(f"{target} is there already and is no exported model.", remedy="Name another --out.")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(artefact, temporary)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise BadInput(
            f"The artefact cannot be copied to {target} ({error.strerror}).",
            remedy=f"It is kept at {artefact}; name another --out.",
        ) from None


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _data(workspace: Workspace, card: ModelCard, number: str, progress: Progress) -> TrainingData:
    """The images that the model learned from and was validated on."""
    if card.dataset_version is None:
        raise Refused(
            f"Model version {number} does not say which dataset version it learned from, so it cannot be held to the"
            " parity gate.",
            remedy="Train it here, and export what was trained.",
        )
    dataset, manifest = load_dataset(workspace, card.dataset_version)
    if tuple(dataset.taxonomy.names) != card.classes:
        raise Refused(
            f"Model version {number} and its dataset version {card.dataset_version} have different classes.",
            remedy="Train a new model, and export that.",
        )
    data = prepared_data(workspace, dataset, manifest, card.preprocessing, progress)
    if not len(data.val):
        raise Refused(f"Dataset version {card.dataset_version} has no validation images for the parity gate.")
    return data


def _refused(workspace: Workspace, manifest: Manifest) -> Refused:
    name = f"{manifest.folder_name}-of-{manifest.model_version}-refused.json"
    path = _folder(workspace.reports) / name
    write_atomically(path, manifest.model_dump_json(indent=2, exclude={"card"}) + "\n")
    return Refused(
        f"The {manifest.format.value} {manifest.precision.value} artefact of model version {manifest.model_version}"
        " does not pass the parity gate. " + " ".join(manifest.parity.failures),
        cause=f"Its arithmetic is not the network's: {manifest.arithmetic}.",
        remedy=f"Take another precision. The whole comparison is in {path}.",
    )
