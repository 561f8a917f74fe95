"""What is compressed: the champion, the images that everything is judged on, and the settings that candidates share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.errors import BadInput
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from domain_models.model_card import CARD_FILE, ModelCard, read_card
from domain_models.preprocessing import Preprocessing
from domain_models.processor import processor_name
from domain_models.runtimes import Runtime, resolve_runtime
from domain_models.teacher import class_columns
from domain_models.training import train as train_network
from domain_models.training_config import TrainingConfig, with_overrides
from domain_models.training_data import TrainingData
from pipelines.steps.candidate import prepared_data, write_candidate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.learning_data import learning_data, with_sources
from pipelines.steps.registry import open_registry
from pipelines.steps.retrain_changes import meanings
from pipelines.steps.train import TrainRequest, plan, run_key, with_number_format

FORMAT = 1
"""Rises when the same champion would be compressed in another way."""

_DECIDED_HERE = ("backbone", "weights", "preprocessing", "teacher.model", "cross_fit_folds")
"""Settings that make one candidate differ from another, or that its place among them decides."""

PRESET = "standard"
"""How candidates are trained, and what a later full retraining of one begins with."""


@dataclass
class Subject:
    """The champion and all that its smaller forms are made of.

    Attributes:
        workspace: where.
        version: of the champion.
        package: its folder.
        sha256: content of that.
        card: its card.
        dataset: the newest dataset version, which everything learns from and is judged on.
        manifest: of it.
        epochs: of each training; ``None``: as many as the number of images asks for.
        overrides: ``key=value`` settings of each training.
        seed: of each training.
        cores: that may compute.
        runtime: what `score` would take here.
    """

    workspace: Workspace
    version: str
    package: Path
    sha256: str
    card: ModelCard
    dataset: DatasetVersion
    manifest: pd.DataFrame
    epochs: int | None
    overrides: tuple[str, ...]
    seed: int
    cores: int = 1
    runtime: Runtime = Runtime.AUTO
    _prepared: dict[Preprocessing, TrainingData] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of today, in index order."""
        return self.dataset.taxonomy.names

    @property
    def key(self) -> str:
        """16 hex digits that change with champion, data, settings and machine."""
        content = [FORMAT, self.sha256, self.dataset.dataset_version, self.epochs, self.overrides, self.seed]
        content += [self.cores, self.runtime.value, processor_name()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def data(self, spec: Preprocessing, progress: Progress = SILENT) -> TrainingData:
        """Training and validation images as a model wants them; one set is held at a time."""
        if spec not in self._prepared:
            self._prepared.clear()
            self._prepared[spec] = prepared_data(self.workspace, self.dataset, self.manifest, spec, progress)
        return self._prepared[spec]

    def in_order(self, card: ModelCard) -> NDArray[np.int64]:
        """int64 [k]: the index that each class of a card has today.

        Raises:
            BadInput: it decides for other classes.
        """
        now = meanings(self.dataset.taxonomy, card.classes, card.taxonomy_version)
        names = [now.get(name, name) for name in card.classes]
        return np.argsort(class_columns(f"model version {self.version}", names, self.classes))

    def config(self, **changed: object) -> TrainingConfig:
        """The standard preset's way of training, of the whole network, taught by the champion.

        Args:
            changed: what makes this candidate: backbone, weights, preprocessing ….
        """
        request = TrainRequest(preset=PRESET, seed=self.seed)
        usual, _ = plan(self.workspace, request, self.manifest, self.workspace.profile)
        images = int((self.manifest["split"] == "train").sum())
        fixed = {
            "epochs": self.epochs or int(np.clip(round(20_000 / max(1, images)), 8, 20)),
            "frozen_stages": 0,
            "cached_views": 0,
            "cross_fit_folds": 0,
            "mirrored_view": False,
            "teacher": {"model": self.version},
        }
        return with_overrides(TrainingConfig.model_validate(usual.model_dump() | fixed | changed), self.overrides)

    def trained(self, config: TrainingConfig, sentence: str, progress: Progress = SILENT) -> tuple[Path, str]:
        """The package of a training that is done or goes on, and the key under which it can be registered.

        Args:
            config: of the candidate.
            sentence: what it is, for its card.
            progress: told of each step.

        Raises:
            BadInput: the settings do not go together, or weights cannot be had.
        """
        config, sources = with_sources(self.workspace, self.dataset, self.manifest, config)
        config, format_choices = with_number_format(self.workspace, self.manifest, config, progress)
        key = run_key(self.dataset, config)
        folder = self.workspace.runs / key
        package = folder / "package"
        with self.workspace.lock(f"train-{key}"):
            if not (package / CARD_FILE).is_file():
                data = learning_data(self.workspace, self.dataset, self.manifest, config, progress)
                trained = train_network(data, config, folder, progress)
                write_candidate(
                    self.workspace,
                    self.dataset,
                    self.manifest,
                    data,
                    trained,
                    folder,
                    preset=PRESET,
                    choices=[sentence, *sources, *format_choices],
                    parents=(self.version,),
                    progress=progress,
                )
        return package, key


def find_subject(
    workspace: Workspace, model: str, *, epochs: int | None, overrides: Sequence[str], seed: int
) -> Subject:
    """The model that is compressed, and the newest dataset version.

    Raises:
        NotFound: there is no such model, or no dataset version.
        BadInput: the model decides for other classes than there are today or is a cascade, or a setting is none that
            can be given.
    """
    decided = [one for one in overrides if one.partition("=")[0].strip().startswith(_DECIDED_HERE)]
    if decided:
        raise BadInput(
            f"--set {decided[0]}: compress decides this itself for each candidate.",
            remedy="Give --student BACKBONE=WEIGHTS, or train by `tailsight train --set teacher.model=champion`.",
        )
    with open_registry(workspace) as registry:
        version = registry.resolve(model)
        package, sha256 = registry.package(version), registry.info(version).package_sha256
    card = read_card(package)
    if card.cascade is not None:
        raise BadInput(
            f"Model version {version} is a cascade, which is two models.",
            remedy=f"Make the large one of them smaller: --model {card.cascade.large}.",
        )
    dataset, manifest = load_dataset(workspace)
    subject = Subject(workspace, version, package, sha256, card, dataset, manifest, epochs, tuple(overrides), seed)
    subject.cores = read_settings().processes
    subject.runtime = resolve_runtime("auto", package)
    subject.in_order(card)
    subject.config()  # a mistake in a setting is told before any work
    return subject
