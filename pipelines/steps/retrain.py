"""A new candidate from what the ledger has learned since the champion: incrementally, or from the start.

The run key is made of the two dataset versions, the champion and the configuration, so the same command after a kill
goes on where it stopped, and after success finds what it registered.
"""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput, NotFound
from data_contracts.ledger.datasets import latest_dataset
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.workspace import Workspace
from domain_models.backbones import Classifier
from domain_models.device import compute_device
from domain_models.incremental import Champion, Increment, learn_increment
from domain_models.incremental_config import incremental_config
from domain_models.model_package import load_package
from domain_models.presets import Preset
from domain_models.retraining_choice import Mode
from domain_models.training_config import TrainingConfig
from pipelines.steps.candidate import (
    CandidateReport,
    name_candidate,
    prepared_data,
    register_candidate,
    registered_version,
    write_candidate,
)
from pipelines.steps.curate import CurateRequest, curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.learning_data import activation_cache
from pipelines.steps.ledger import open_ledger
from pipelines.steps.retrain_changes import Changes, Compared, Sample, sample
from pipelines.steps.retrain_choice import FormerChampion, chosen_mode, compared_with, former_champion, parse_mode
from pipelines.steps.train import TrainRequest, train

RETRAIN_FORMAT = 4
"""Rises when the same changes would train to something else, so that old runs are not taken for new ones."""


class RetrainRequest(BaseModel):
    """How to retrain. ``preset`` and ``overrides`` are for a full training; no preset: that of the champion's last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: str = Mode.AUTO.value
    seed: int = Field(default=0, ge=0, lt=2**32)
    preset: str | None = None
    overrides: tuple[str, ...] = ()


class RetrainReport(BaseModel):
    """What was learned and how. ``mode`` is ``None``, and there is no model, where there was nothing new to learn.

    ``replayed`` counts old images that were seen again; ``activations_computed`` of ``activations_used`` maps were not
    in the cache yet (all three ``None`` unless something was trained incrementally now).
    """

    model_config = ConfigDict(frozen=True)

    mode: str | None
    requested: str
    reasons: list[str]
    champion: str | None
    champion_dataset_version: str | None
    dataset_version: str
    changes: Changes | None
    model_version: str | None
    reused: bool
    replayed: int | None = None
    activations_used: int | None = None
    activations_computed: int | None = None
    candidate: CandidateReport | None
    seconds: float


def retrain(
    workspace: Workspace, request: RetrainRequest, progress: Progress = SILENT, *, now: datetime | None = None
) -> RetrainReport:
    """Curate, see what changed since the champion, learn it, and register the result as the candidate.

    Args:
        workspace: with a champion, unless a full training is asked for or may be chosen.
        request: what to do.
        progress: told of each step.
        now: for tests; decides how long ago the last full training was.

    Raises:
        BadInput: there is no such mode, or nothing has a label.
        NotFound: an incremental training is asked for and there is no champion, or its data are gone.
        Busy: the same training is under way in another process.
    """
    began = time.monotonic()
    wanted = parse_mode(request.mode)
    if request.overrides and wanted is not Mode.FULL:
        raise BadInput("Settings can be given by hand for a full training only.", remedy="Add --mode full.")
    before = former_champion(workspace)
    if before is None and wanted is Mode.INCREMENTAL:
        raise NotFound(
            "There is no champion that an incremental training could go on from.",
            remedy="Run `tailsight train`, then `tailsight promote`; or retrain with --mode full.",
        )
    dataset, manifest = _curated(workspace, progress)
    compared = compared_with(before, dataset, manifest)
    mode, reasons = chosen_mode(wanted, before, compared, manifest, now or datetime.now(UTC))
    report = RetrainReport(
        mode=mode.value if mode else None,
        requested=wanted.value,
        reasons=reasons,
        champion=before.version if before else None,
        champion_dataset_version=before.card.dataset_version if before else None,
        dataset_version=dataset.dataset_version,
        changes=compared.changes if compared else None,
        model_version=None,
        reused=False,
        candidate=None,
        seconds=0.0,
    )
    if before is not None and before.card.cascade is not None and mode is not None:
        reasons.append(
            f"The champion, model version {before.version}, is a cascade: training goes on from its large network and"
            " gives a single one. Ask for `tailsight cascade` (or `compress`) again afterwards."
        )
    for reason in reasons:
        progress.say(reason)
    found: dict[str, object] = {}
    if mode is Mode.FULL:
        preset = request.preset or (before.full_preset if before else None) or Preset.STANDARD.value
        full = TrainRequest(preset=preset, overrides=request.overrides, seed=request.seed)
        candidate = train(workspace, full, progress)
        found = {"candidate": candidate, "model_version": candidate.model_version, "reused": candidate.reused}
    elif mode is Mode.INCREMENTAL:
        if before is None or compared is None:
            assert before is not None  # refused above
            load_dataset(workspace, before.card.dataset_version)  # says what is wrong with it
            raise NotFound(f"It is not known what model version {before.version} was trained on.")
        found = _learn(workspace, request, before, dataset, manifest, compared, reasons, progress)
    return report.model_copy(update={**found, "seconds": time.monotonic() - began})


def _curated(workspace: Workspace, progress: Progress) -> tuple[DatasetVersion, pd.DataFrame]:
    """A dataset version of the ledger as it stands; images keep their splits."""
    with open_ledger(workspace) as ledger:
        last = latest_dataset(ledger)
    curate(workspace, CurateRequest(seed=last.seed if last else 0), progress)
    return load_dataset(workspace)


def _learn(
    workspace: Workspace,
    request: RetrainRequest,
    before: FormerChampion,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    compared: Compared,
    reasons: list[str],
    progress: Progress,
) -> dict[str, object]:
    began = time.monotonic()
    network, card = load_package(before.package)
    base = TrainingConfig.model_validate(card.config)
    config = incremental_config(base, network, seed=request.seed, device=compute_device())
    key = retrain_key(before.run_key, before.card.dataset_version, dataset.dataset_version, config)
    found: dict[str, object] = {}
    with workspace.lock(f"train-{key}"):
        known = registered_version(workspace, key)
        version = known
        if version is None:
            chosen = sample(manifest, compared, len(dataset.taxonomy.names), seed=request.seed)
            version, used, computed = _train(
                workspace, before, network, dataset, manifest, chosen, compared, config, reasons, key, progress
            )
            found = {
                "replayed": chosen.replayed,
                "activations_used": used,
                "activations_computed": computed,
            }
        candidate = name_candidate(workspace, version, key, reused=known is not None, seconds=time.monotonic() - began)
    return {**found, "candidate": candidate, "model_version": version, "reused": known is not None}


def retrain_key(champion: str, champion_dataset: str | None, dataset: str, config: TrainingConfig) -> str:
    """24 hex digits that name this retraining and no other: champion's run, both dataset versions, configuration."""
    content = json.dumps([RETRAIN_FORMAT, champion, champion_dataset, dataset, config.key])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _train(
    workspace: Workspace,
    before: FormerChampion,
    network: Classifier,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    chosen: Sample,
    compared: Compared,
    config: TrainingConfig,
    reasons: list[str],
    key: str,
    progress: Progress,
) -> tuple[str, int, int]:
    changes, card = compared.changes, before.card
    sentence = (
        f"Incremental training from model version {before.version}: {changes.train.new} new and "
        f"{changes.train.corrected} corrected training images, with {chosen.replayed} of "
        f"{changes.train.unchanged} old ones seen again."
    )
    progress.say(sentence)
    data = prepared_data(workspace, dataset, chosen.manifest, config.preprocessing, progress)
    names_now = before.names_now(dataset)
    # a class that is no more keeps a name that no class has, so that its output is left behind
    classes = tuple(names_now.get(name, f"\0{name}") for name in card.classes)
    learned = learn_increment(
        Champion(network, classes, before.run_key),
        Increment(data, chosen.changed, chosen.fine_tuning_weights, chosen.class_counts),
        config,
        workspace.runs / key,
        activation_cache(workspace),
        progress,
    )
    package = write_candidate(
        workspace,
        dataset,
        manifest,
        data,
        learned.trained,
        workspace.runs / key,
        preset=Mode.INCREMENTAL.value,
        choices=(*reasons, sentence),
        retrained_from=before.origin(changes, chosen.replayed),
        progress=progress,
    )
    version = register_candidate(workspace, package, key, progress)
    return version, learned.maps_wanted, learned.maps_computed
