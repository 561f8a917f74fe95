"""The package of a cascade: two models in one folder, and a card with the threshold and rules of both together."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.errors import Refused
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
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
from domain_models.compute import Compute
from domain_models.model_card import CARD_FILE, ONNX_FILE, WEIGHTS_FILE, ModelCard
from domain_models.preprocessing import reduced
from domain_models.runtimes import Runtime, open_computable, packaged
from domain_models.training_data import LabelledImages
from pipelines.steps.candidate import rules, validation_figures
from pipelines.steps.cascade_members import Member, columns_of_first, learned_from
from pipelines.steps.prepared_images import prepared_images

CASCADE_FORMAT = 1
"""Rises when the same two models would become another cascade."""

_BATCH = 32
_PACKAGE_FILES = (WEIGHTS_FILE, ONNX_FILE, CARD_FILE)


@dataclass(frozen=True)
class Said:
    """What one network says of the validation images: logits float32 [n, k], and how they are calibrated."""

    logits: NDArray[np.float32]
    calibration: Calibration

    def held_out(self, val: LabelledImages, seed: int) -> NDArray[np.float64]:
        """Probabilities float64 [n, k] by calibrations of the same kind that have not seen each image."""
        fit = fitter(self.calibration.kind)
        return cross_fitted_probabilities(self.logits, val.labels, groups=val.groups, seed=seed, fit=fit)


def cascade_key(workspace: Workspace, large: Member, first: Member, max_loss: float) -> str:
    """24 hex digits that name this cascade and no other."""
    content = [CASCADE_FORMAT, large.sha256, first.sha256, max_loss, workspace.profile.content_hash]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Pair:
    """Two models that can become one cascade.

    Attributes:
        large: answers what the other leaves.
        first: the small one.
        columns: where each class of the large one is among the small one's.
        dataset: what the large one learned from.
        manifest: of that.
        val: its validation images, as the large model wants them.
    """

    large: Member
    first: Member
    columns: tuple[int, ...]
    dataset: DatasetVersion
    manifest: pd.DataFrame
    val: LabelledImages


def matched(workspace: Workspace, large: Member, first: Member, progress: Progress = SILENT) -> Pair:
    """See that two models can be one cascade, and read what its threshold is chosen on.

    Raises:
        NotFound: the dataset version that the large one learned from is gone.
        BadInput: they cannot; the sentence says how to train a small model that can.
        Refused: nobody knows what the large one learned from, or no image of that is for validation.
    """
    dataset, manifest = learned_from(workspace, large)
    columns = columns_of_first(large, first, dataset)
    require_reducible(first.card.preprocessing, large.card.preprocessing)
    return Pair(large, first, columns, dataset, manifest, _validation(workspace, manifest, large, progress))


def _validation(workspace: Workspace, manifest: pd.DataFrame, large: Member, progress: Progress) -> LabelledImages:
    rows = manifest[manifest["split"] == Split.VAL.value]
    if rows.empty:
        raise Refused(
            f"Dataset version {large.card.dataset_version} has no validation images to choose a threshold on."
        )
    return LabelledImages.of_manifest(rows, prepared_images(workspace, rows, large.card.preprocessing, progress))


def cascade_card(
    workspace: Workspace, pair: Pair, max_loss: float, runtime: Runtime, progress: Progress = SILENT
) -> ModelCard:
    """The large model's card, with threshold and rules of the cascade.

    Args:
        workspace: whose profile decides.
        pair: the two models.
        max_loss: of macro-F1, as a share.
        runtime: what both compute with.
        progress: told of each step.

    Raises:
        Refused: no threshold keeps the loss.
    """
    large, first, val, columns = pair.large, pair.first, pair.val, pair.columns
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
                f"No threshold keeps macro-F1 within {100 * max_loss:g} points while {first.told} answers anything"
                f" before {large.told}; nothing was registered.",
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
        profile = workspace.profile.under(pair.dataset.taxonomy)
        figures = validation_figures(val, held_out, costs, own.classes, pair.manifest, profile, seed=own.seed)
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


def first_named(card: ModelCard, version: str) -> ModelCard:
    """The card of a cascade that was made before its small model had a version."""
    assert card.cascade is not None
    made = card.cascade.model_copy(update={"first": version})
    choices = (*card.choices[:-1], made.in_words)
    return card.model_copy(update={"cascade": made, "parents": (made.large, version), "choices": choices})


def _logits(compute: Compute, val: LabelledImages, progress: Progress, which: str) -> NDArray[np.float32]:
    parts = []
    with progress.step(f"Predicting with the {which} model", total=len(val)) as step:
        for start in range(0, len(val), _BATCH):
            parts.append(compute(val.images[start : start + _BATCH]))
            step.advance(len(parts[-1]))
    return np.concatenate(parts)


def write_package(folder: Path, large: Member, first: Member, card: ModelCard) -> Path:
    """Both packages in one folder; the cascade's card comes last, so a folder with it is whole."""
    shutil.rmtree(folder, ignore_errors=True)
    for source, target in ((first.package, folder / FIRST_FOLDER), (large.package, folder)):
        target.mkdir(parents=True, exist_ok=True)
        for name in _PACKAGE_FILES:
            if (source / name).is_file() and (target, name) != (folder, CARD_FILE):
                shutil.copyfile(source / name, target / name)
    write_atomically(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    return folder
