"""Whether an artefact that passed the parity gate on one machine may decide on this one.

The gate saw the numbers of the processor and the runtime that exported. Processors differ in how they add products of
8-bit and 16-bit numbers (without VNNI, two of them may not fit), and releases of a runtime do too. Where either is
another here, the artefact is held to the gate again before it decides anything: once, over the same validation images.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import NotFound, Refused, TailsightError
from data_contracts.progress import SILENT, Progress
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.export.artefact import Manifest
from domain_models.export.kinds import ExportFormat, Precision
from domain_models.kept_measurements import kept_or_measured
from domain_models.model_card import read_card
from domain_models.preprocessing import Preprocessing
from domain_models.processor import computes_alike, instructions_in_words, processor_name
from domain_models.runtimes import Computable, Runtime, packaged, resolve_runtime
from pipelines.steps.dataset import load_dataset
from pipelines.steps.export_gate import Gate
from pipelines.steps.prepared_images import prepared_images

MOST = 500
"""Validation images that are compared, drawn at random: a server has two minutes to start."""

COMPUTED_BY = {
    ExportFormat.OPENVINO: "openvino",
    ExportFormat.ONNX: "onnxruntime",
    ExportFormat.TORCH: "torch",
    ExportFormat.LITERT: "ai-edge-litert",
}
"""The package that computes each format, as a manifest's ``tools`` name it."""


class HeldHere(BaseModel):
    """What the gate saw on this machine: ``failures`` says in words which limits were broken; empty: it may decide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1)
    agreement: float = Field(ge=0, le=1)
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Standing:
    """What an artefact may do on this machine.

    Attributes:
        why_not: why it may not decide, in a sentence or two; ``None``: it may.
        held: what the gate saw here, where it looked again.
    """

    why_not: str | None = None
    held: HeldHere | None = None


def standing_here(
    workspace: Workspace, package: Path, artefact: Computable, manifest: Manifest, progress: Progress = SILENT
) -> Standing:
    """Whether an artefact may decide on this machine; it is held to the gate where it has to be.

    Args:
        workspace: where validation images are, and where it is kept what the gate saw.
        package: of the model; its network in 32-bit floats is what the artefact is held against.
        artefact: as it would decide.
        manifest: of it.
        progress: told of each step.
    """
    differs = difference(manifest)
    if differs is None:
        return Standing()
    circumstances = [manifest.files, manifest.parity.limits.model_dump(), processor_name(), _installed(manifest.format)]
    try:
        held = kept_or_measured(
            workspace.cache / "parity",
            circumstances,
            HeldHere,
            lambda: _hold(workspace, package, artefact, manifest, progress),
        )
    except (TailsightError, OSError) as error:
        reason = error.what if isinstance(error, TailsightError) else str(error)
        return Standing(f"{differs}, and it cannot be held to the parity gate here. {reason}")
    if held.failures:
        return Standing(f"{differs}, and here it does not pass the parity gate. {' '.join(held.failures)}", held)
    return Standing(held=held)


def difference(manifest: Manifest) -> str | None:
    """What is another here than where the artefact was exported, as far as it decides about numbers; else ``None``."""
    if manifest.precision is Precision.FP32:
        return None
    if not computes_alike(manifest.machine, processor_name()):
        there, here = instructions_in_words(manifest.machine), instructions_in_words(processor_name())
        return f"It was exported on a processor with other arithmetic ({there}; here: {here})"
    tool, installed = COMPUTED_BY[manifest.format], _installed(manifest.format)
    then = manifest.tools.get(tool)
    if installed != then:
        return f"It was exported with {tool} {then or 'of unknown version'} (here: {installed or 'none'})"
    return None


def _installed(kind: ExportFormat) -> str | None:
    try:
        return version(COMPUTED_BY[kind])
    except PackageNotFoundError:
        return None


def _hold(
    workspace: Workspace, package: Path, artefact: Computable, manifest: Manifest, progress: Progress
) -> HeldHere:
    card = read_card(package)
    if card.dataset_version is None:
        raise NotFound("The model does not say which dataset version it learned from.")
    dataset, frame = load_dataset(workspace, card.dataset_version)
    if tuple(dataset.taxonomy.names) != card.classes:
        raise Refused(f"The model and its dataset version {card.dataset_version} have different classes.")
    rows = frame[frame["split"] == Split.VAL.value]
    if rows.empty:
        raise NotFound(f"Dataset version {card.dataset_version} has no validation images.")
    rows = rows.sample(min(MOST, len(rows)), random_state=0).reset_index(drop=True)
    progress.say(f"{manifest.folder_name} was exported elsewhere; it is held to the parity gate here, once.")
    network = packaged(resolve_runtime(Runtime.AUTO.value, package), package)
    images, labels = _images(workspace, rows, card.preprocessing, progress), rows["class_index"].to_numpy(np.int64)
    gate = Gate.against(network, card, images, labels, manifest.parity.limits, progress)
    report = gate.check(artefact, progress)
    return HeldHere(images=report.images, agreement=report.agreement, failures=report.failures)


def _images(workspace: Workspace, rows: pd.DataFrame, spec: Preprocessing, progress: Progress) -> NDArray[np.uint8]:
    """uint8 [n, H, W, C] in the order of the rows."""
    ids = list(rows["image_id"])
    try:
        cached = prepared_images(workspace, rows, spec, progress)
        return cached.array[cached.rows(ids)]
    except OSError:  # a server may see the workspace read-only
        with TemporaryDirectory() as place:
            cached = prepared_images(workspace, rows, spec, progress, Path(place))
            return cached.array[cached.rows(ids)]
