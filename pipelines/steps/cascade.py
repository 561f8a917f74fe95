"""``cascade``: two registered models as one version, of which the small one answers what it is sure of.

The large model's package stays as it is, the small one's lies inside it; threshold, triage rule and conformal sets are
set on the validation images of the large model's dataset version, on what the cascade says of them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import Refused
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace, write_atomically
from domain_models.calibration import cross_fitted_probabilities, softmax
from domain_models.calibrators import Calibration, fitter
from domain_models.cascade import (
    FIRST_FOLDER,
    Cascade,
    answers_early,
    lead_of_first,
    one_temperature,
    require_reducible,
    told_by_first,
    told_by_large,
)
from domain_models.cascade_threshold import TwoModels, choose_threshold, shown_by_validation
from domain_models.compute import Compute, Threads
from domain_models.model_package import CARD_FILE, ONNX_FILE, WEIGHTS_FILE, ModelCard, read_card
from domain_models.preprocessing import reduced
from domain_models.runtimes import Computable, Runtime, open_computable, packaged, resolve_runtime
from domain_models.throughput import measured
from domain_models.training_data import LabelledImages
from pipelines.steps.candidate import (
    CandidateReport,
    name_candidate,
    register_candidate,
    registered_version,
    rules,
    validation_figures,
)
from pipelines.steps.cascade_members import Member, columns_of_first, find_members, learned_from
from pipelines.steps.prepared_images import prepared_images
from pipelines.steps.registry import open_registry

CASCADE_FORMAT = 1
"""Rises when the same two models would become another cascade."""

_BATCH = 32
_TIMED = 64
_PACKAGE_FILES = (WEIGHTS_FILE, ONNX_FILE, CARD_FILE)


class CascadeRequest(BaseModel):
    """Which small model answers first, before which large one (``None``: the champion, else the candidate).

    ``max_loss`` is in points: hundredths of macro-F1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str
    model: str | None = None
    max_loss: float = Field(default=1.0, ge=0, le=100)


class CascadeReport(BaseModel):
    """The cascade, what validation showed, and images per second of computing alone on this machine."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    reused: bool
    cascade: Cascade
    runtime: str
    images_per_second: float
    images_per_second_large: float
    candidate: CandidateReport
    seconds: float


@dataclass(frozen=True)
class Said:
    """What one network says of the validation images: logits float32 [n, k], and how they are calibrated."""

    logits: NDArray[np.float32]
    calibration: Calibration

    def held_out(self, val: LabelledImages, seed: int) -> NDArray[np.float64]:
        """Probabilities float64 [n, k] by calibrations of the same kind that have not seen each image."""
        fit = fitter(self.calibration.kind)
        return cross_fitted_probabilities(self.logits, val.labels, groups=val.groups, seed=seed, fit=fit)


def cascade(workspace: Workspace, request: CascadeRequest, progress: Progress = SILENT) -> CascadeReport:
    """Make a cascade of two versions and register it as the candidate; the same models and loss: once.

    Killed at any moment, the same call goes on.

    Raises:
        NotFound: there is no such model, or the dataset version that the large one learned from.
        BadInput: the two cannot be one cascade; the sentence says how to train a small model that can.
        Refused: no threshold keeps the loss; nothing is registered.
        Busy: the same cascade is being made in another process.
    """
    began = time.monotonic()
    large, first = find_members(workspace, request.model, request.first)
    dataset, manifest = learned_from(workspace, large)
    columns = columns_of_first(large, first, dataset)
    require_reducible(first.card.preprocessing, large.card.preprocessing)
    key = cascade_key(workspace, large, first, request.max_loss)
    val = _validation(workspace, manifest, large, progress)
    runtime = resolve_runtime("auto", large.package)
    with workspace.lock(f"cascade-{key}"):
        known = registered_version(workspace, key)
        version = known
        if version is None:
            card = _card(
                workspace, dataset, manifest, val, large, first, columns, request.max_loss / 100, runtime, progress
            )
            package = _write_package(workspace.runs / key / "package", large, first, card)
            version = register_candidate(workspace, package, key, progress)
        candidate = name_candidate(workspace, version, key, reused=known is not None, seconds=time.monotonic() - began)
    with open_registry(workspace) as registry:
        package = registry.package(version)
    card = read_card(package)
    assert card.cascade is not None
    with progress.step("Measuring how fast both are"):
        pixels = val.images[np.linspace(0, len(val) - 1, min(_TIMED, len(val))).astype(np.int64)]
        rates = [
            _rate(packaged(runtime, folder), own, pixels)
            for folder, own in ((package, card), (large.package, large.card))
        ]
    return CascadeReport(
        model_version=version,
        reused=known is not None,
        cascade=card.cascade,
        runtime=runtime.value,
        images_per_second=rates[0],
        images_per_second_large=rates[1],
        candidate=candidate,
        seconds=time.monotonic() - began,
    )


def cascade_key(workspace: Workspace, large: Member, first: Member, max_loss: float) -> str:
    """24 hex digits that name this cascade and no other."""
    content = [CASCADE_FORMAT, large.sha256, first.sha256, max_loss, workspace.profile.content_hash]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def _validation(workspace: Workspace, manifest: pd.DataFrame, large: Member, progress: Progress) -> LabelledImages:
    rows = manifest[manifest["split"] == Split.VAL.value]
    if rows.empty:
        raise Refused(
            f"Dataset version {large.card.dataset_version} has no validation images to choose a threshold on."
        )
    return LabelledImages.of_manifest(rows, prepared_images(workspace, rows, large.card.preprocessing, progress))


def _card(
    workspace: Workspace,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    val: LabelledImages,
    large: Member,
    first: Member,
    columns: tuple[int, ...],
    max_loss: float,
    runtime: Runtime,
    progress: Progress,
) -> ModelCard:
    """The large model's card, with threshold and rules of the cascade."""
    own, small, spec = large.card, first.card, first.card.preprocessing
    big = open_computable(packaged(runtime, large.package), own)
    little = open_computable(packaged(runtime, first.package), small)
    saying = Said(_logits(big, val, progress, "large"), own.calibrated_by)
    hinted = Said(
        _logits(lambda batch: little(np.stack([reduced(one, spec) for one in batch])), val, progress, "small"),
        small.calibrated_by,
    )
    costs, scale = own.decision_costs, own.calibrated_by.temperature
    told = told_by_first(hinted.logits, hinted.calibration, columns, scale)
    lead, early_p = lead_of_first(told, costs, scale), softmax(told, scale)
    late_p = softmax(told_by_large(saying.logits, saying.calibration, scale), scale)
    models = TwoModels(
        lead, costs.predicted(early_p), costs.predicted(late_p), val.labels, len(own.classes), val.groups
    )
    with progress.step("Choosing the threshold"):
        threshold = choose_threshold(models, max_loss, seed=own.seed)
        share = 0.0 if threshold is None else float(answers_early(lead, threshold).mean())
        if threshold is None or not share:
            raise Refused(
                f"No threshold keeps macro-F1 within {100 * max_loss:g} points while model version {first.version}"
                f" answers anything before model version {large.version}; nothing was registered.",
                cause="Where the small model is surest, it still is wrong more often than the large one.",
                remedy="Train a better small model (distil it from the large one: --set teacher.model=VERSION), or"
                " allow a larger --max-loss.",
            )
        own_calls = small.decision_costs.predicted(hinted.calibration.probabilities(hinted.logits))
        alone = np.argsort(columns)[own_calls]
        shown = shown_by_validation(models, threshold, max_loss, alone=alone, seed=own.seed)
    early = answers_early(lead, threshold)[:, None]
    held_out = np.where(early, hinted.held_out(val, own.seed)[:, list(columns)], saying.held_out(val, own.seed))
    with progress.step("Setting the triage rule"):
        profile = workspace.profile.under(dataset.taxonomy)
        figures = validation_figures(val, held_out, costs, own.classes, manifest, profile, seed=own.seed)
        triage = rules(held_out, val.labels, val.groups, costs, own.classes, profile)
    made = Cascade(
        threshold=threshold,
        columns=columns,
        calibration=own.calibrated_by,
        large=large.version,
        first=first.version,
        validation=shown,
    )
    return own.model_copy(
        update={
            "cascade": made,
            "temperature": scale,
            "calibration": one_temperature(own.calibrated_by),
            "triage": triage,
            "parents": (large.version, first.version),
            "choices": (*own.choices, made.in_words),
            "metrics": {**own.metrics, "validation": figures.model_dump(mode="json")},
        }
    )


def _logits(compute: Compute, val: LabelledImages, progress: Progress, which: str) -> NDArray[np.float32]:
    parts = []
    with progress.step(f"Predicting with the {which} model", total=len(val)) as step:
        for start in range(0, len(val), _BATCH):
            parts.append(compute(val.images[start : start + _BATCH]))
            step.advance(len(parts[-1]))
    return np.concatenate(parts)


def _write_package(folder: Path, large: Member, first: Member, card: ModelCard) -> Path:
    """Both packages in one folder; the cascade's card comes last, so a folder with it is whole."""
    shutil.rmtree(folder, ignore_errors=True)
    for source, target in ((first.package, folder / FIRST_FOLDER), (large.package, folder)):
        target.mkdir(parents=True, exist_ok=True)
        for name in _PACKAGE_FILES:
            if (source / name).is_file() and (target, name) != (folder, CARD_FILE):
                shutil.copyfile(source / name, target / name)
    write_atomically(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    return folder


def _rate(item: Computable, card: ModelCard, pixels: NDArray[np.uint8]) -> float:
    """Images per second of computing alone, at the best batch size."""

    def opened(threads: Threads) -> Compute:
        return open_computable(item, card, threads)

    return measured(opened, pixels, read_settings().processes, batches=(8, 32)).images_per_second or 0.0
