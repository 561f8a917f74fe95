"""Judging a registered model on a split of the newest dataset version."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.profile import Profile
from data_contracts.progress import SILENT, Progress
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.evaluation import Evaluation
from domain_models.metrics import evaluate as measure_predictions
from domain_models.model_card import read_card
from domain_models.passing import PassOutcome, measure_passing
from domain_models.triage_outcome import TriageOutcome
from domain_models.triage_outcome import measure as measure_triage
from pipelines.steps.dataset import load_dataset
from pipelines.steps.decisions import Decider
from pipelines.steps.model_classes import remarks_on_model
from pipelines.steps.predictions import Predictions, parse_split, predict_split
from pipelines.steps.registry import open_registry, resolve_model


class EvaluateRequest(BaseModel):
    """Which model (``None``: the champion, else the candidate), which split, and the seed of the bootstrap."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = None
    split: str = Split.TEST.value
    seed: int = Field(default=0, ge=0)


class EvaluateReport(BaseModel):
    """The figures of one model on one split, and what its triage rule does there.

    ``remarks`` say where the classes have changed since the model was trained, so that figures need care.
    """

    model_config = ConfigDict(frozen=True)

    model_version: str
    dataset_version: str
    split: str
    figures: Evaluation
    triage: TriageOutcome
    passing: PassOutcome | None = None
    remarks: list[str] = []

    def as_one(self) -> dict[str, Any]:
        """One flat object: the JSON of ``tailsight evaluate``."""
        return {
            **self.model_dump(mode="json", exclude={"figures", "triage", "passing"}),
            **self.figures.model_dump(mode="json"),
            **self.triage.model_dump(mode="json"),
            **(self.passing.model_dump(mode="json") if self.passing else {}),
        }


def evaluate(workspace: Workspace, request: EvaluateRequest, progress: Progress = SILENT) -> EvaluateReport:
    """Predict the split with the stored package (once), and measure it with intervals.

    Raises:
        NotFound: there is no such model or no dataset version.
        BadInput: there is no such split, or it is empty.
    """
    split = parse_split(request.split)
    with open_registry(workspace) as registry:
        version = resolve_model(registry, request.model)
        dataset, manifest = load_dataset(workspace)
        predictions = predict_split(workspace, registry, version, dataset, manifest, split, progress)
        card = read_card(registry.package(version))
        decider = Decider.from_card(card)
        known = decider.passing is not None and decider.passing.pass_class in predictions.classes
        passing = decider.passing if known else None
        with progress.step("Measuring with intervals"):
            report = EvaluateReport(
                model_version=version,
                dataset_version=dataset.dataset_version,
                split=split.value,
                figures=figures_of(predictions, manifest, workspace.profile.under(dataset.taxonomy), seed=request.seed),
                triage=measure_triage(
                    predictions.probabilities,
                    predictions.labels,
                    decider.rule,
                    predictions.classes,
                    groups=predictions.components,
                    held_back=passing.holds_back(predictions.probabilities, predictions.classes, predictions.predicted)
                    if passing
                    else None,
                    predicted=predictions.predicted,
                ),
                passing=measure_passing(
                    predictions.probabilities,
                    predictions.labels,
                    passing,
                    predictions.classes,
                    groups=predictions.components,
                ),
                remarks=remarks_on_model(version, card.classes, card.taxonomy_version, dataset.taxonomy),
            )
        registry.log_metrics(version, {f"{split.value}.{k}": v for k, v in report.figures.flat().items()})
    return report


def figures_of(predictions: Predictions, manifest: pd.DataFrame, profile: Profile, *, seed: int) -> Evaluation:
    """All metrics of predictions, with the profile's pass class and costs."""
    return measure_predictions(
        predictions.probabilities,
        predictions.labels,
        predictions.classes,
        groups=predictions.components,
        train_counts=train_counts(manifest, len(predictions.classes)),
        pass_class=profile.pass_class if profile.pass_class in predictions.classes else None,
        costs=[c for c in profile.costs if {c.actual, c.predicted} <= set(predictions.classes)],
        predicted=predictions.predicted,
        seed=seed,
    )


def train_counts(manifest: pd.DataFrame, classes: int) -> list[int]:
    """Training images of each class index."""
    training = manifest.loc[manifest["split"] == Split.TRAIN.value, "class_index"].to_numpy(dtype=np.int64)
    return [int(count) for count in np.bincount(training, minlength=classes)]
