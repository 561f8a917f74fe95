"""From a trained network to a registered candidate: the same way for a full and an incremental training.

The card, the package and the registered version are all made here, and named by the run key, so that nothing is
registered twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.profile import Profile
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.vocabulary import Alias, DecideBy, Split
from data_contracts.workspace import Workspace
from domain_models import conformal
from domain_models.calibration import cross_fitted_probabilities
from domain_models.calibrators import choose_calibration, fitter
from domain_models.decision_costs import EQUAL_COSTS, DecisionCosts, cost_matrix
from domain_models.evaluation import Evaluation
from domain_models.model_card import ModelCard, RetrainedFrom, read_card
from domain_models.model_package import save_package
from domain_models.passing import fit_pass_rule
from domain_models.preprocessing import Preprocessing
from domain_models.run_profile import ProfileReport
from domain_models.tracking import Registry
from domain_models.training_data import LabelledImages, TrainedModel, TrainingData
from domain_models.triage import fit_triage
from pipelines.steps.decisions import PASSING, card_triage
from pipelines.steps.evaluate import figures_of
from pipelines.steps.predictions import Predictions
from pipelines.steps.prepared_images import prepared_images
from pipelines.steps.registry import open_registry

CASCADE_TAG = "cascade"
"""Tag of a registered version that is a cascade, with its sentence."""


class CandidateReport(BaseModel):
    """What was trained. ``validation`` holds the figures on the validation images, with cross-fitted calibration;
    ``profile`` says where the time went, where that was asked for."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    run_key: str
    reused: bool
    preset: str
    dataset_version: str
    choices: list[str]
    temperature: float
    share_automatic: float
    expected_error: float | None
    expected_error_ci: tuple[float, float] | None
    triage_sentences: list[str]
    validation: dict[str, Any]
    training_seconds: float
    images_per_second: float
    seconds: float
    profile: ProfileReport | None = None


def prepared_data(
    workspace: Workspace,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    spec: Preprocessing,
    progress: Progress = SILENT,
) -> TrainingData:
    """The training and validation images of manifest rows, decoded as far as they are not in the image cache."""
    labelled = manifest[manifest["split"].isin([Split.TRAIN.value, Split.VAL.value])]
    cache = prepared_images(workspace, labelled, spec, progress)
    return TrainingData.of_manifest(manifest, dataset.taxonomy.names, cache)


def write_candidate(
    workspace: Workspace,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    data: TrainingData,
    trained: TrainedModel,
    folder: Path,
    *,
    preset: str,
    choices: Sequence[str],
    retrained_from: RetrainedFrom | None = None,
    parents: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Path:
    """Calibrate, set the triage rule, measure on validation and write the package; returns its folder.

    Args:
        workspace: whose profile sets the limits.
        dataset: what the model was trained on.
        manifest: the whole manifest of ``dataset``, for the counts of its classes.
        data: the images that it learned and validates on.
        trained: the network.
        folder: of the run.
        preset: what the card calls the way it was trained.
        choices: what was chosen before training, in words.
        retrained_from: the champion that training went on from, if it did.
        parents: further model versions that it was made of.
        progress: told of each step.
    """
    with progress.step("Calibrating and setting the triage rule"):
        card = _card(workspace, dataset, manifest, data, trained, preset, choices, retrained_from)
        card = card.model_copy(update={"parents": (*card.parents, *parents)})
        folder.mkdir(parents=True, exist_ok=True)
        trained.history.to_csv(folder / "history.csv", index=False)
    with progress.step("Writing the model package"):
        return save_package(folder / "package", trained.network, card)


def registered_version(workspace: Workspace, key: str) -> str | None:
    """The version that the run with this key registered, if it got so far."""
    with open_registry(workspace) as registry:
        return next((info.version for info in registry.versions() if info.run_key == key), None)


def register_candidate(workspace: Workspace, package: Path, key: str, progress: Progress = SILENT) -> str:
    """Register a package (once per run key, however often this is repeated or killed); returns the version."""
    with progress.step("Registering"), open_registry(workspace) as registry:
        return _register(registry, package, key, package.parent)


def name_candidate(workspace: Workspace, version: str, key: str, *, reused: bool, seconds: float) -> CandidateReport:
    """Give a version the alias candidate, and say what it is."""
    with open_registry(workspace) as registry:
        registry.set_alias(Alias.CANDIDATE, version)
        card = read_card(registry.package(version))
    rule = card.triage["rule"]
    validation = card.metrics["validation"]
    shown = ("n", "accuracy", "balanced_accuracy", "macro_f1", "ece", "nll")
    return CandidateReport(
        model_version=version,
        run_key=key,
        reused=reused,
        preset=card.preset or "",
        dataset_version=card.dataset_version or "",
        choices=list(card.choices),
        temperature=card.temperature,
        share_automatic=rule["share_automatic"],
        expected_error=rule["expected_error"],
        expected_error_ci=rule["expected_error_ci"],
        triage_sentences=[*rule["sentences"], *card.triage.get(PASSING, {}).get("sentences", [])],
        validation={k: validation.get(k) for name in shown for k in (name, f"{name}_ci") if k in validation},
        training_seconds=card.metrics["training_seconds"],
        images_per_second=card.metrics["images_per_second"],
        seconds=seconds,
    )


def _card(
    workspace: Workspace,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    data: TrainingData,
    trained: TrainedModel,
    preset: str,
    choices: Sequence[str],
    retrained_from: RetrainedFrom | None,
) -> ModelCard:
    profile, classes, seed = workspace.profile.under(dataset.taxonomy), data.classes, trained.config.seed
    costs = trained.decision_costs
    how: tuple[str, ...] = ()
    if profile.decide_by is DecideBy.COST:
        costs = DecisionCosts.of(cost_matrix(classes, profile.costs))
        how = ("The profile says what mistakes cost: the class that is expected to cost least is predicted.",)
    calibration, why = choose_calibration(
        trained.val_logits, data.val.labels, groups=data.val.groups, keep_decisions=costs == EQUAL_COSTS, seed=seed
    )
    fit = fitter(calibration.kind)
    held_out = cross_fitted_probabilities(
        trained.val_logits, data.val.labels, groups=data.val.groups, seed=seed, fit=fit
    )
    figures = validation_figures(data.val, held_out, costs, classes, manifest, profile, seed=seed)
    probabilities, labels, groups = held_out, data.val.labels, data.val.groups
    if trained.cross_fit.image_ids:
        labels, groups = trained.cross_fit.labels, trained.cross_fit.groups
        probabilities = cross_fitted_probabilities(trained.cross_fit.logits, labels, groups=groups, seed=seed, fit=fit)
    return ModelCard(
        architecture=trained.network.architecture,
        classes=classes,
        preprocessing=trained.config.preprocessing,
        temperature=calibration.temperature,
        calibration=calibration,
        decision_costs=costs,
        triage=rules(probabilities, labels, groups, costs, classes, profile),
        dataset_version=dataset.dataset_version,
        taxonomy_version=dataset.taxonomy.version,
        profile_hash=workspace.profile.content_hash,
        config=trained.config.model_dump(mode="json"),
        preset=preset,
        choices=(*choices, *trained.sentences, *how, why),
        seed=seed,
        parents=(retrained_from.champion,) if retrained_from else (),
        retrained_from=retrained_from,
        metrics={
            "validation": figures.model_dump(mode="json"),
            "training_seconds": trained.seconds,
            "images_per_second": trained.images_per_second,
        },
    )


def validation_figures(
    val: LabelledImages,
    held_out: NDArray[np.float64],
    costs: DecisionCosts,
    classes: tuple[str, ...],
    manifest: pd.DataFrame,
    profile: Profile,
    *,
    seed: int,
) -> Evaluation:
    """All metrics on the validation images, of probabilities float64 [n, k] whose calibration has not seen them."""
    predicted = costs.predicted(held_out)
    said = Predictions(list(val.image_ids), val.labels, list(val.groups), held_out, predicted, classes)
    return figures_of(said, manifest, profile, seed=seed)


def rules(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: Sequence[str],
    costs: DecisionCosts,
    classes: tuple[str, ...],
    profile: Profile,
) -> dict[str, Any]:
    """Triage, passing and conformal rules as a card keeps them, set on probabilities float64 [n, k] of held-out images.

    Args:
        probabilities: calibrated.
        labels: int64 [n].
        groups: n components.
        costs: what decides.
        classes: k names.
        profile: sets the limits.
    """
    rule = fit_triage(
        probabilities,
        labels,
        profile.limits,
        classes=classes,
        groups=groups,
        predicted=costs.predicted(probabilities),
        seconds_per_image=profile.review.seconds_per_image,
    )
    passing = fit_pass_rule(probabilities, labels, classes, profile.pass_class, profile.limits, groups=groups)
    sets = conformal.fit(probabilities, labels, coverage=profile.limits.confidence, groups=groups)
    return card_triage(rule, sets, passing)


def _register(registry: Registry, package: Path, key: str, folder: Path) -> str:
    card = read_card(package)
    figures = Evaluation.model_validate(card.metrics["validation"]).flat()
    lineage = card.retrained_from.model_dump(mode="json") if card.retrained_from else {}
    return registry.register(
        package,
        run_key=key,
        params={"preset": card.preset, **_flat(card.config)},
        metrics={
            **{f"val.{name}": value for name, value in figures.items()},
            "training_seconds": card.metrics["training_seconds"],
            "temperature": card.temperature,
        },
        tags={
            "preset": card.preset or "",
            "dataset_version": card.dataset_version or "",
            "profile_hash": card.profile_hash or "",
            **({CASCADE_TAG: card.cascade.in_words} if card.cascade else {}),
            **{f"retrained_from.{name}": str(value) for name, value in lineage.items() if value is not None},
        },
        artifacts=[path for path in (folder / "history.csv",) if path.is_file()],
    )


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
