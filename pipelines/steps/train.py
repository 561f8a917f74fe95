"""Training, calibrating and registering a candidate: killed at any moment, the same command goes on.

Everything that decides the result (data, configuration, seed, code format) makes the run key. The run folder, the
checkpoints in it and the registered version are all named by that key, so nothing is trained or registered twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput
from data_contracts.ledger.images import images_frame
from data_contracts.profile import Profile
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.settings import read_settings, read_torchrun
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.device import compute_device
from domain_models.hierarchy import levels_of
from domain_models.presets import Preset, choose, data_facts
from domain_models.run_profile import RunProfile
from domain_models.team import ALONE, Team
from domain_models.training import train as train_network
from domain_models.training_config import LossKind, TrainingConfig, with_overrides
from domain_models.training_format import in_fastest_format
from pipelines.steps.candidate import (
    CandidateReport,
    name_candidate,
    register_candidate,
    registered_version,
    write_candidate,
)
from pipelines.steps.dataset import load_dataset
from pipelines.steps.learning_data import activation_cache, learning_data, with_sources
from pipelines.steps.ledger import open_ledger
from pipelines.training_processes import refuse_unsuitable, team_of

RUN_FORMAT = 5
"""Rises when the same configuration would train to something else, so that old runs are not taken for new ones."""


class TrainRequest(BaseModel):
    """How much work to spend, single settings that differ from the preset, and the seed.

    ``minutes`` is what the preset ``auto`` may spend on trying settings; overrides hold for all that it tries.
    ``profile_run`` measures where the time of fine-tuning goes. It is no part of the run key: the weights are the same.
    Nor are ``processes``, which fine-tune together: a training that was killed goes on with any number of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = "standard"
    overrides: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0, lt=2**32)
    minutes: float = Field(default=60.0, gt=0)
    profile_run: bool = False
    processes: int = Field(default=1, ge=1)


def train(workspace: Workspace, request: TrainRequest, progress: Progress = SILENT) -> CandidateReport:
    """Train what the preset chooses for the newest dataset version and register it as the candidate.

    Raises:
        NotFound: nothing was curated yet.
        BadInput: the preset or a setting is unknown, or the data cannot be trained on.
        Busy: the same training is under way in another process.
        TailsightError: a process that trains with this one ended or failed.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        team = ALONE
        if read_torchrun() is not None:  # its other processes wait already, whatever comes of this
            team = stack.enter_context(team_of(workspace, request.processes, compute_device()))
        return _trained(workspace, request, progress, team, stack, began)


def _trained(
    workspace: Workspace,
    request: TrainRequest,
    progress: Progress,
    team: Team,
    stack: contextlib.ExitStack,
    began: float,
) -> CandidateReport:
    dataset, manifest = load_dataset(workspace)
    config, choices = plan(workspace, request, manifest, workspace.profile)
    config = with_levels(config, dataset.taxonomy, workspace.profile)
    config, sources = with_sources(workspace, dataset, manifest, config)
    choices = [*choices, *sources]
    processes = max(team.size, request.processes)
    if processes > 1 and request.preset == Preset.AUTO.value:
        raise BadInput("Preset auto tries settings in one process.", remedy="Train with --processes 1.")
    refuse_unsuitable(config, _training_images(manifest), processes)
    if request.preset == Preset.AUTO.value:
        from pipelines.steps.preset_search import searched

        key = run_key(dataset, config)
        with workspace.lock(f"search-{key}"):
            found = searched(workspace, dataset, manifest, config, key, request.minutes, request.overrides, progress)
        config, choices = found.config, [*choices, *found.sentences]
    config, format_choices = with_number_format(workspace, manifest, config, progress)
    choices = [*choices, *format_choices]
    key = run_key(dataset, config)
    profile = RunProfile(workspace.runs / key / "profile.json.gz") if request.profile_run else None
    with workspace.lock(f"train-{key}"):
        known = registered_version(workspace, key)
        version = known
        if version is None:
            for sentence in choices:
                progress.say(sentence)
            data = learning_data(workspace, dataset, manifest, config, progress)
            folder = workspace.runs / key
            if request.processes > 1:
                team = stack.enter_context(team_of(workspace, request.processes, config.device))
            trained = train_network(
                data, config, folder, progress, activations=activation_cache(workspace), profile=profile, team=team
            )
            package = write_candidate(
                workspace,
                dataset,
                manifest,
                data,
                trained,
                folder,
                preset=request.preset,
                choices=choices,
                progress=progress,
            )
            version = register_candidate(workspace, package, key, progress)
        report = name_candidate(workspace, version, key, reused=known is not None, seconds=time.monotonic() - began)
        return report if profile is None else report.model_copy(update={"profile": profile.report()})


def _training_images(manifest: pd.DataFrame) -> int:
    return int(((manifest["split"] == Split.TRAIN.value) & (manifest["weight"] > 0)).sum())


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
    facts = data_facts(manifest, images, profile, device=compute_device(), processes=read_settings().processes)
    config, choices = choose(preset, facts)
    changed = with_overrides(config, [f"seed={request.seed}", *request.overrides])
    by_hand = [f"Set by hand, instead of what the preset says: {', '.join(request.overrides)}."]
    return changed, [*choices, *(by_hand if request.overrides else [])]


def with_levels(config: TrainingConfig, taxonomy: Taxonomy, profile: Profile) -> TrainingConfig:
    """The configuration with the levels above the classes, where its loss asks for them.

    Raises:
        BadInput: the loss is hierarchical and there is only one level, or classes are each other's parents.
    """
    if config.loss is not LossKind.HIERARCHICAL:
        return config
    try:
        levels = levels_of(taxonomy.active, profile.under(taxonomy).pass_class)
    except ValueError as error:
        raise BadInput(f"The taxonomy is no tree: {error}.", remedy="Change `parent` in the profile.") from None
    if not levels:
        raise BadInput(
            "loss=hierarchical needs levels above the classes, and there are none.",
            cause="The profile names no pass class, and no class has a parent that others share.",
            remedy="Set `pass_class`, or `parent` of the classes, in the profile; or take another loss.",
        )
    return config.model_copy(update={"levels": levels})


def with_number_format(
    workspace: Workspace, manifest: pd.DataFrame, config: TrainingConfig, progress: Progress = SILENT
) -> tuple[TrainingConfig, list[str]]:
    """The configuration with the number format that is faster here, and what that says.

    It is measured once for a network on this machine, and only where it decides: see
    :func:`~domain_models.training_format.in_fastest_format`.
    """
    classes, folder = int(manifest["class_index"].max()) + 1, workspace.cache / "training-format"
    found, sentence = in_fastest_format(config, classes, _training_images(manifest), folder, progress)
    return found, [] if sentence is None else [sentence]


def run_key(dataset: DatasetVersion, config: TrainingConfig) -> str:
    """24 hex digits that name this training and no other."""
    content = json.dumps([RUN_FORMAT, dataset.dataset_version, config.key])
    return hashlib.sha256(content.encode()).hexdigest()[:24]
