"""A package as it could be deployed: in 32-bit floats, and as artefacts that pass the parity gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import IntegrityError, NotFound, Refused
from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import write_atomically
from domain_models.compute import Compute, Threads
from domain_models.export.artefact import FOLDER_PREFIX, Manifest, read_artefact, write_manifest
from domain_models.export.kinds import ExportFormat, Precision, not_computed_here
from domain_models.model_card import ONNX_FILE, WEIGHTS_FILE, ModelCard, read_card
from domain_models.model_package import load_package
from domain_models.preprocessing import Preprocessing
from domain_models.runtimes import Computable, Runtime, open_computable, packaged
from domain_models.tracking.artifacts import digest
from pipelines.steps.compress_subject import Subject
from pipelines.steps.export_conversion import Conversion, convert

PRECISIONS = (Precision.BF16, Precision.INT8)
"""What each candidate is tried in besides 32-bit floats, as OpenVINO artefacts."""

_BATCH = 16


@dataclass(frozen=True)
class Deployable:
    """One model as production would run it. What competes under a target is a list of these.

    Attributes:
        name: of the model, with the numbers that it computes with; told apart from all others by it.
        family: how it came about.
        runtime: what computes it, as `score` calls it.
        spec: how it wants its images.
        megabytes: of what is deployed.
        open: loads it for a way of sharing the cores.
        predicted: int64 [n], what it calls the validation images, by the classes of today.
        package: folder of the model, in 32-bit floats.
        artefact: folder of what was exported of it, if that is what computes.
        register: makes it a candidate and returns the version, however often it is called; ``None`` for what is the
            champion itself.
        remark: what a person should do or know if this is chosen.
    """

    name: str
    family: str
    runtime: str
    spec: Preprocessing
    megabytes: float
    open: Callable[[Threads], Compute]
    predicted: NDArray[np.int64]
    package: Path
    artefact: Path | None = None
    register: Callable[[Progress], str] | None = None
    remark: str = ""


Registering = Callable[[Manifest | None, Path | None, Progress], str]
"""Registers a package, with an artefact (its manifest and folder) or without one; returns the version."""


@dataclass(frozen=True)
class Packaged:
    """A package that competes, and how it is called.

    Attributes:
        name: of the model.
        family: how it came about.
        package: its folder.
        artefacts: folder in which its artefacts are kept; not the package's own, which may not change.
        register: ``None`` for the champion.
    """

    name: str
    family: str
    package: Path
    artefacts: Path
    register: Registering | None


def deployables_of(
    subject: Subject, item: Packaged, left_out: dict[str, str], progress: Progress = SILENT
) -> list[Deployable]:
    """The package in 32-bit floats, and every artefact of it that passes the gate.

    Artefacts are kept, those that were refused with the reason: called again, nothing is converted anew.

    Args:
        subject: what is compressed.
        item: the package.
        left_out: is told of artefacts that do not pass, and why.
        progress: told of each step.
    """
    card = read_card(item.package)
    runtime = subject.runtime
    graph = item.package / (WEIGHTS_FILE if runtime is Runtime.TORCH else ONNX_FILE)
    found = [_deployable(subject, item, card, packaged(runtime, item.package), graph.stat().st_size, None, None)]
    if runtime is not Runtime.OPENVINO:
        return found
    for precision in PRECISIONS:
        if why := not_computed_here(ExportFormat.OPENVINO, precision):
            left_out[f"{item.name}, {precision.value}"] = why
            continue
        folder = item.artefacts / f"{FOLDER_PREFIX}{ExportFormat.OPENVINO.value}-{precision.value}"
        try:
            manifest = _artefact(subject, item.package, card, precision, folder, progress)
        except Refused as refused:
            left_out[f"{item.name}, {precision.value}"] = refused.what
            continue
        computable = manifest.computable(folder)
        found.append(_deployable(subject, item, card, computable, manifest.size_bytes, manifest, folder))
    return found


def as_packaged(
    subject: Subject, name: str, family: str, package: Path, size: int, register: Callable[[Progress], str] | None
) -> Deployable:
    """A package as it is, in 32-bit floats; for what cannot be exported.

    Args:
        subject: what is compressed.
        name: of the model.
        family: how it came about.
        package: its folder.
        size: of what the runtime reads, bytes.
        register: makes it a candidate; ``None`` for the champion.
    """

    def registered(_: Manifest | None, __: Path | None, progress: Progress) -> str:
        assert register is not None
        return register(progress)

    item = Packaged(name, family, package, package, None if register is None else registered)
    return _deployable(subject, item, read_card(package), packaged(subject.runtime, package), size, None, None)


def _deployable(
    subject: Subject,
    item: Packaged,
    card: ModelCard,
    computable: Computable,
    size: int,
    manifest: Manifest | None,
    folder: Path | None,
) -> Deployable:
    precision, register = computable.precision.value, item.register

    def opened(threads: Threads) -> Compute:
        return open_computable(computable, card, threads)

    def registered(progress: Progress) -> str:
        assert register is not None
        return register(manifest, folder, progress)

    remark = ""
    if register is None:
        remark = (
            f"The champion itself does it: `tailsight export --format openvino --precision {precision}`."
            if manifest is not None
            else "The champion itself does it, in 32-bit floats, without any export."
        )
    return Deployable(
        name=f"{item.name}, {precision}",
        family=item.family,
        runtime=computable.name,
        spec=card.preprocessing,
        megabytes=size / 1e6,
        open=opened,
        predicted=_predicted(subject, card, opened(Threads(subject.cores, 1))),
        package=item.package,
        artefact=folder,
        register=None if register is None else registered,
        remark=remark,
    )


def _predicted(subject: Subject, card: ModelCard, compute: Compute) -> NDArray[np.int64]:
    images = subject.data(card.preprocessing).val.images
    parts = [compute(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    called = card.decision_costs.predicted(card.probabilities(np.concatenate(parts)))
    return subject.in_order(card)[called]


def _artefact(
    subject: Subject, package: Path, card: ModelCard, precision: Precision, folder: Path, progress: Progress
) -> Manifest:
    refused = folder.with_name(f"{folder.name}-refused.txt")
    if refused.is_file():
        raise Refused(refused.read_text(encoding="utf-8"))
    try:
        return read_artefact(folder)
    except (NotFound, IntegrityError):
        rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    network, _ = load_package(package)
    data = subject.data(card.preprocessing, progress)
    with TemporaryDirectory(dir=folder.parent, prefix=".converting-") as place:
        made = Path(place) / folder.name
        made.mkdir()
        try:
            manifest = convert(
                network,
                card,
                data,
                Conversion(ExportFormat.OPENVINO, precision, seed=subject.seed),
                made,
                model_version="",
                package_sha256=digest(package),
                progress=progress,
            )
            if not manifest.parity.passed:
                raise Refused(f"The parity gate refuses it. {' '.join(manifest.parity.failures)}")
        except Refused as reason:
            write_atomically(refused, reason.what)
            raise
        write_manifest(made, manifest)
        made.rename(folder)
    return manifest
