"""Training, calibrating and registering a candidate: killed at any moment, the same command goes on.

Everything that decides the result (data, configuration, seed, code format) makes the run key. The run folder, the
checkpoints in it and the registered version are all named by that key, so nothing is trained or registered twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.blobs import Blobs
from data_contracts.errors import BadInput
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.profile import Profile
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Alias, Split
from data_contracts.workspace import Workspace
from domain_models import conformal
from domain_models.calibration import cross_fitted_probabilities, fit_temperature
from domain_models.evaluation import Evaluation
from domain_models.image_cache import build_image_cache
from domain_models.model_package import ModelCard, read_card, save_package
from domain_models.presets import Preset, choose, data_facts
from domain_models.tracking import Registry
from domain_models.training import train as train_network
from domain_models.training_config import TrainingConfig, with_overrides
from domain_models.training_data import TrainedModel, TrainingData
from domain_models.triage import fit_triage
from pipelines.steps.dataset import load_dataset
from pipelines.steps.decisions import card_triage
from pipelines.steps.evaluate import figures_of
from pipelines.steps.ledger import open_ledger
from pipelines.steps.predictions import Predictions, image_cache_folder
from pipelines.steps.registry import open_registry

RUN_FORMAT = 2
"""Rises when the same configuration would train to something else, so that old runs are not taken for new ones."""


class TrainRequest(BaseModel):
    """How much work to spend, single settings that differ from the preset, and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = "standard"
    overrides: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0, lt=2**32)


class TrainReport(BaseModel):
    """What was trained. ``validation`` holds the figures on the validation images, with cross-fitted temperature."""

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


def train(workspace: Workspace, request: TrainRequest, progress: Progress = SILENT) -> TrainReport:
    """Train what the preset chooses for the newest dataset version and register it as the candidate.

    Raises:
        NotFound: nothing was curated yet.
        BadInput: the preset or a setting is unknown, or the data cannot be trained on.
        Busy: the same training is under way in another process.
    """
    began = time.monotonic()
    dataset, manifest = load_dataset(workspace)
    profile = workspace.profile
    config, choices = plan(workspace, request, manifest, profile)
    key = run_key(dataset, config)
    with workspace.lock(f"train-{key}"):
        with open_registry(workspace) as registry:
            known = _registered(registry, key)
        if known is None:
            for sentence in choices:
                progress.say(sentence)
            package = _train_package(workspace, request, dataset, manifest, config, choices, key, progress)
            with progress.step("Registering"), open_registry(workspace) as registry:
                version = _register(registry, package, key, workspace.runs / key)
        else:
            version = known
        with open_registry(workspace) as registry:
            registry.set_alias(Alias.CANDIDATE, version)
            card = read_card(registry.package(version))
    return _report(card, version, key, reused=known is not None, seconds=time.monotonic() - began)


def plan(
    workspace: Workspace, request: TrainRequest, manifest: pd.DataFrame, profile: Profile
) -> tuple[TrainingConfig, list[str]]:
    """What will be trained and why, before any work is done.

    Raises:
        BadInput: the preset or a setting is unknown.
    """
    try:
        preset = Preset(request.preset)
    except ValueError:
        raise BadInput(
            f"There is no preset {request.preset!r}.", remedy=f"Presets: {', '.join(item.value for item in Preset)}."
        ) from None
    with open_ledger(workspace) as ledger:
        images = images_frame(ledger)
    facts = data_facts(manifest, images, profile, device=_device(), processes=read_settings().processes)
    config, choices = choose(preset, facts)
    changed = with_overrides(config, [f"seed={request.seed}", *request.overrides])
    by_hand = [f"Set by hand, instead of what the preset says: {', '.join(request.overrides)}."]
    return changed, [*choices, *(by_hand if request.overrides else [])]


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def run_key(dataset: DatasetVersion, config: TrainingConfig) -> str:
    """24 hex digits that name this training and no other."""
    content = json.dumps([RUN_FORMAT, dataset.dataset_version, config.key])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _registered(registry: Registry, key: str) -> str | None:
    return next((info.version for info in registry.versions() if info.run_key == key), None)


def _train_package(
    workspace: Workspace,
    request: TrainRequest,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    config: TrainingConfig,
    choices: list[str],
    key: str,
    progress: Progress,
) -> Path:
    labelled = manifest[manifest["split"].isin([Split.TRAIN.value, Split.VAL.value])]
    with open_ledger(workspace) as ledger:
        blobs = Blobs(registered_roots(ledger))
    cache = build_image_cache(
        image_cache_folder(workspace),
        list(zip(labelled["image_id"], labelled["uri"], strict=True)),
        blobs,
        config.preprocessing,
        processes=read_settings().processes,
        progress=progress,
    )
    data = TrainingData.of_manifest(manifest, dataset.taxonomy.names, cache)
    folder = workspace.runs / key
    trained = train_network(data, config, folder, progress)
    with progress.step("Calibrating and setting the triage rule"):
        card = _card(workspace, request, dataset, manifest, data, trained, choices)
        trained.history.to_csv(folder / "history.csv", index=False)
    with progress.step("Writing the model package"):
        return save_package(folder / "package", trained.network, card)


def _card(
    workspace: Workspace,
    request: TrainRequest,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    data: TrainingData,
    trained: TrainedModel,
    choices: list[str],
) -> ModelCard:
    profile, classes, seed = workspace.profile, data.classes, trained.config.seed
    held_out = cross_fitted_probabilities(trained.val_logits, data.val.labels, groups=data.val.groups, seed=seed)
    figures = figures_of(
        Predictions(list(data.val.image_ids), data.val.labels, list(data.val.groups), held_out, classes),
        manifest,
        profile,
        seed=seed,
    )
    probabilities, labels, groups = held_out, data.val.labels, data.val.groups
    if trained.cross_fit.image_ids:
        labels, groups = trained.cross_fit.labels, trained.cross_fit.groups
        probabilities = cross_fitted_probabilities(trained.cross_fit.logits, labels, groups=groups, seed=seed)
    rule = fit_triage(
        probabilities,
        labels,
        profile.limits,
        classes=classes,
        groups=groups,
        seconds_per_image=profile.review.seconds_per_image,
    )
    sets = conformal.fit(probabilities, labels, coverage=profile.limits.confidence, groups=groups)
    return ModelCard(
        architecture=trained.network.architecture,
        classes=classes,
        preprocessing=trained.config.preprocessing,
        temperature=fit_temperature(trained.val_logits, data.val.labels),
        triage=card_triage(rule, sets),
        dataset_version=dataset.dataset_version,
        taxonomy_version=dataset.taxonomy.version,
        profile_hash=profile.content_hash,
        config=trained.config.model_dump(mode="json"),
        preset=request.preset,
        choices=(*choices, *trained.sentences),
        seed=seed,
        metrics={
            "validation": figures.model_dump(mode="json"),
            "training_seconds": trained.seconds,
            "images_per_second": trained.images_per_second,
        },
    )


def _register(registry: Registry, package: Path, key: str, folder: Path) -> str:
    card = read_card(package)
    figures = Evaluation.model_validate(card.metrics["validation"]).flat()
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
        },
        artifacts=[folder / "history.csv"],
    )


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _report(card: ModelCard, version: str, key: str, *, reused: bool, seconds: float) -> TrainReport:
    rule = card.triage["rule"]
    validation = card.metrics["validation"]
    shown = ("n", "accuracy", "balanced_accuracy", "macro_f1", "ece", "nll")
    return TrainReport(
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
        triage_sentences=list(rule["sentences"]),
        validation={k: validation.get(k) for name in shown for k in (name, f"{name}_ci") if k in validation},
        training_seconds=card.metrics["training_seconds"],
        images_per_second=card.metrics["images_per_second"],
        seconds=seconds,
    )
