"""All that a full training learns from: labelled images, and what its configuration asks for besides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.workspace import Workspace
from domain_models.package_start import check_classes
from domain_models.pretrained_weights import read_record
from domain_models.training_config import TrainingConfig
from domain_models.training_data import TrainingData
from pipelines.steps.candidate import prepared_data
from pipelines.steps.teacher import teacher_logits, with_teacher
from pipelines.steps.unlabelled import pool_images, with_pool


def with_sources(
    workspace: Workspace, dataset: DatasetVersion, manifest: pd.DataFrame, config: TrainingConfig
) -> tuple[TrainingConfig, list[str]]:
    """The configuration with all that teaches besides labels found and named by content, and a sentence about each.

    Raises:
        BadInput: something that the configuration names is not there, or does not go with the dataset version.
    """
    config, teacher = with_teacher(workspace, dataset, config)
    config, pool = with_pool(workspace, manifest, config)
    record = read_record(config.weights)
    start = [record.sentence(config.weights)] if record is not None else []
    start += check_classes(config.weights, dataset.taxonomy.names, config.cross_fit_folds)
    return config, [*start, *teacher, *pool]


def learning_data(
    workspace: Workspace,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    config: TrainingConfig,
    progress: Progress = SILENT,
) -> TrainingData:
    """Training and validation images, and what else teaches.

    Args:
        workspace: where the images are.
        dataset: gives the classes.
        manifest: of ``dataset``.
        config: from :func:`with_sources`.
        progress: told of each step.
    """
    data = prepared_data(workspace, dataset, manifest, config.preprocessing, progress)
    said = teacher_logits(workspace, dataset, manifest, config, activation_cache(workspace), progress)
    return replace(data, teacher_logits=said, pool=pool_images(workspace, manifest, config, progress))


def activation_cache(workspace: Workspace) -> Path:
    """Where the maps of frozen stages are kept between trainings; may be deleted at any time."""
    return workspace.cache / "activations"
