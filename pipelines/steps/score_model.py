"""Which model scores, and what computes it: the package, or an exported artefact that passed the parity gate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import Workspace
from domain_models.compute import Compute, Threads
from domain_models.export.artefact import FOLDER_PREFIX, Manifest, read_artefact
from domain_models.export.kinds import Precision, not_computed_here
from domain_models.model_card import ModelCard, read_card
from domain_models.processor import processor_name
from domain_models.runtimes import Computable, Runtime, open_computable, packaged, resolve_runtime
from domain_models.throughput import Throughput, kept, usual
from pipelines.steps.decisions import Decider
from pipelines.steps.held_here import HeldHere, standing_here
from pipelines.steps.ledger import open_ledger
from pipelines.steps.model_classes import ClassesToday, classes_today
from pipelines.steps.registry import open_registry, resolve_model
from pipelines.steps.score_files import BatchFile, prepare_one
from pipelines.steps.score_recipe import ModelRecipe

AUTO = "auto"

FEW_FILES = 10_000
"""Under so many files, measuring the best batch size would take longer than it saves."""


SAMPLE = 64
"""Images that are measured on."""


@dataclass(frozen=True)
class ScoringModel:
    """A model version, how it is computed, and how its output becomes a decision.

    Attributes:
        computable: what a runtime opens.
        manifest: of the artefact; ``None`` where the package itself computes.
        held: what the parity gate saw of the artefact on this machine, if it was exported on another kind.
        passed_over: why the package computes and not the artefact that was exported last; else ``None``.
    """

    version: str
    package: Path
    card: ModelCard
    computable: Computable
    manifest: Manifest | None
    decider: Decider
    today: ClassesToday
    held: HeldHere | None = None
    passed_over: str | None = None

    @property
    def runtime(self) -> str:
        """How folders and reports call what computes: ``openvino``, ``openvino-bf16``."""
        return self.computable.name

    @property
    def key(self) -> str:
        """Differs whenever what computes does: scores of an artefact that was exported anew are computed anew."""
        if self.manifest is None:
            return f"{self.version}-{self.runtime}"
        files = json.dumps(self.manifest.files, sort_keys=True).encode()
        return f"{self.version}-{self.runtime}-{hashlib.sha256(files).hexdigest()[:8]}"

    def described(self) -> str:
        """What computes, with which numbers, and how far it is known to agree with the network."""
        if self.manifest is None:
            cascade = "" if self.card.cascade is None else f" {self.card.cascade.in_words}"
            return f"{self.runtime}, 32-bit floats.{cascade}"
        seen, look, arithmetic = self.held or self.manifest.parity, self.manifest.second_look, self.manifest.arithmetic
        if not_computed_here(self.manifest.format, self.manifest.precision):
            look, arithmetic = None, f"32-bit floats, because this processor has no {self.manifest.precision.value}"
        twice = "" if look is None else f" {look.share:.1%} of them are computed again in 32-bit floats."
        return (
            f"{self.runtime}, {arithmetic}; it predicts the network's class for {seen.agreement:.1%} of"
            f" {seen.images} validation images.{twice}"
        )

    @property
    def recipe(self) -> ModelRecipe:
        """What another thread, process or machine needs to load it."""
        depends = self.manifest is not None and self.manifest.precision is not Precision.FP32
        return ModelRecipe(self.version, self.package, self.computable, processor_name() if depends else None)

    def remarks(self) -> list[str]:
        """What a person should know of this model here and today."""
        passed_over = [] if self.passed_over is None else [self.passed_over]
        return [*self.today.sentences(self.version), *passed_over]

    def open(self, threads: Threads | None = None) -> Compute:
        """Load it."""
        return open_computable(self.computable, self.card, threads)

    def throughput(self, workspace: Workspace, files: Sequence[BatchFile], cores: int) -> Throughput:
        """How many images to compute at once: measured once for this machine and model, where it is worth it.

        It is measured on some of these files.
        """
        if len(files) < FEW_FILES or self.computable.runtime is Runtime.TORCH:
            return usual(self.computable.runtime, cores)
        look = self.computable.second_look
        name = self.runtime if look is None else f"{self.runtime} {look.lead!r}"
        return kept(workspace.cache / "throughput", name, self.card, cores, self.open, lambda: self.sample(files))

    def sample(self, files: Sequence[BatchFile]) -> NDArray[np.uint8]:
        """Images from all over the batch, uint8 [n, H, W, C]; a black one where none of them can be read."""
        spec = self.card.preprocessing
        some = [prepare_one(file, spec).pixels for file in files[:: max(1, len(files) // SAMPLE)][:SAMPLE]]
        readable = [pixels for pixels in some if pixels is not None]
        return np.stack(readable or [np.zeros((spec.height, spec.width, spec.channels), dtype=np.uint8)])


def scoring_model(
    workspace: Workspace, model: str, runtime: str = AUTO, precision: str = AUTO, progress: Progress = SILENT
) -> ScoringModel:
    """The model that a person means, and what computes it.

    ``auto`` takes the artefact that was exported last for torch where there is a GPU, else for OpenVINO; where there is
    none, or where it does not pass the parity gate on this machine, the package in 32-bit floats.

    Raises:
        Refused: the artefact that was asked for does not pass the parity gate on this machine.
        NotFound: there is no such model.
        BadInput: there is no such runtime or precision, or no artefact of it.
        IntegrityError: the package or the artefact changed since it was registered.
    """
    with open_registry(workspace) as registry:
        version = resolve_model(registry, model)
        package = registry.package(version)
        artefacts = [(folder, read_artefact(folder)) for folder in registry.attached(version, FOLDER_PREFIX).values()]
    card = read_card(package)
    computed, manifest = _chosen(package, artefacts, runtime, precision)
    passed_over = held = None
    if manifest is not None:
        standing = standing_here(workspace, package, computed, manifest, progress)
        held = standing.held
        if standing.why_not:
            asked = precision != AUTO or computed.runtime is Runtime.LITERT
            passed_over = _passed_over(manifest, standing.why_not, asked=asked)
            computed, manifest = packaged(computed.runtime, package), None
    with open_ledger(workspace) as ledger:
        today = classes_today(card.classes, card.taxonomy_version, current_taxonomy(ledger))
    decider = Decider.from_card(card)
    return ScoringModel(version, package, card, computed, manifest, decider, today, held, passed_over)


def _passed_over(manifest: Manifest, why: str, *, asked: bool) -> str:
    """A sentence for the person who reads the scores.

    Raises:
        Refused: they asked for this artefact, or nothing else computes in its runtime.
    """
    what = f"The {manifest.format.value} {manifest.precision.value} artefact of model version {manifest.model_version}"
    remedy = f"Run `tailsight export --format {manifest.format.value} --precision {manifest.precision.value}` here"
    if asked:
        raise Refused(f"{what} is not used here. {why}", remedy=f"{remedy}, or score with --precision fp32.")
    return f"{what} is not used here: 32-bit floats are. {why} {remedy} for one that may be."


def _chosen(
    package: Path, artefacts: Sequence[tuple[Path, Manifest]], runtime_name: str, precision_name: str
) -> tuple[Computable, Manifest | None]:
    runtime = resolve_runtime(runtime_name, package)
    wanted = _precision(precision_name)
    fitting = [
        (folder, manifest)
        for folder, manifest in artefacts
        if manifest.format.value == runtime.value and wanted in (None, manifest.precision)
    ]
    # An ONNX artefact is for elsewhere unless somebody asks for it: in bf16 or 8 bits it is slower here than OpenVINO.
    asked = wanted is not None or runtime is not Runtime.ONNX
    if fitting and asked:
        folder, manifest = max(fitting, key=lambda item: item[1].created_at)
        return manifest.computable(folder), manifest
    if wanted in (None, Precision.FP32) and runtime is not Runtime.LITERT:
        return packaged(runtime, package), None
    known = ", ".join(sorted(f"{one.format.value} {one.precision.value}" for _, one in artefacts)) or "none"
    numbers = wanted or Precision.FP32
    raise BadInput(
        f"This model version has no {runtime.value} artefact{'' if wanted is None else f' in {wanted}'}.",
        cause=f"Exported so far: {known}.",
        remedy=f"Run `tailsight export --format {runtime.value} --precision {numbers}` first.",
    )


def _precision(name: str) -> Precision | None:
    if name == AUTO:
        return None
    try:
        return Precision(name)
    except ValueError:
        raise BadInput(
            f"There is no precision {name!r}.", remedy=f"Precisions: {AUTO}, {', '.join(Precision)}."
        ) from None
