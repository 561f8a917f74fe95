"""The teacher of a training: found in the registry or in a folder, and what it says of the training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.inference import ImageRows
from domain_models.model_card import CARD_FILE, ModelCard, read_card
from domain_models.model_package import load_package
from domain_models.teacher import Teacher, class_columns
from domain_models.tracking.artifacts import digest
from domain_models.training_config import TrainingConfig
from pipelines.steps.prepared_images import prepared_images
from pipelines.steps.registry import open_registry, resolve_model
from pipelines.steps.retrain_changes import meanings


def with_teacher(
    workspace: Workspace, dataset: DatasetVersion, config: TrainingConfig
) -> tuple[TrainingConfig, list[str]]:
    """The configuration with its teacher named for good (a version instead of an alias), and who teaches, in words.

    Raises:
        NotFound: there is no such model.
        BadInput: it decides for other classes than those of the dataset version.
    """
    if not config.teacher.model:
        return config, []
    name, package = _package(workspace, config.teacher.model)
    card = read_card(package)
    class_columns(_in_words(name), _names_now(card, name, dataset), dataset.taxonomy.names)
    teacher = config.teacher.model_copy(update={"model": name, "content": digest(package)})
    spec = card.preprocessing
    sentences = [
        f"Taught by {_in_words(name)} ({card.architecture.backbone} at {spec.width}×{spec.height} px): its answers,"
        f" brought to the class shares of the labels and softened by temperature {teacher.temperature:g}, weigh"
        f" {teacher.share:g} times as much as the labels."
    ]
    if not name.isdigit():
        sentences.append(
            "The teacher comes from outside this workspace. Whether it has learned from images of the validation or the"
            " test set cannot be known here; if it has, their figures are too good."
        )
    return config.model_copy(update={"teacher": teacher}), sentences


def teacher_logits(
    workspace: Workspace,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    config: TrainingConfig,
    cache: Path,
    progress: Progress = SILENT,
) -> NDArray[np.float32] | None:
    """What the teacher of a configuration says of the training images; ``None`` where nobody teaches.

    Args:
        workspace: where the images are.
        dataset: gives the classes.
        manifest: of ``dataset``.
        config: from :func:`with_teacher`.
        cache: folder of kept activations.
        progress: told of each image decoded and asked about.

    Returns:
        float32 [n, k], in the order of the manifest's training rows and of the classes.
    """
    if not config.teacher.model:
        return None
    name, package = _package(workspace, config.teacher.model)
    network, card = load_package(package, config.device)
    rows = manifest[manifest["split"] == Split.TRAIN.value]
    ids = [str(image_id) for image_id in rows["image_id"]]
    cached = prepared_images(workspace, rows, card.preprocessing, progress)
    teacher = Teacher(
        _in_words(name), network, _names_now(card, name, dataset), card.preprocessing, config.teacher.content
    )
    return teacher.logits(
        ImageRows(cached.array, cached.rows(ids)),
        ids,
        dataset.taxonomy.names,
        cache,
        device=config.device,
        progress=progress,
    )


def _package(workspace: Workspace, name: str) -> tuple[str, Path]:
    """What a model is called for good, and its folder."""
    folder = Path(name).expanduser()
    if (folder / CARD_FILE).is_file():
        return str(folder.absolute()), folder
    with open_registry(workspace) as registry:
        version = resolve_model(registry, name)
        return version, registry.package(version)


def _in_words(name: str) -> str:
    return f"model version {name}" if name.isdigit() else f"the model in {name}"


def _names_now(card: ModelCard, name: str, dataset: DatasetVersion) -> tuple[str, ...]:
    """The teacher's classes as they are called now; a class that means none any more keeps its name.

    Renames are recorded for models of this workspace only; those of others are known by the names they say.
    """
    if not name.isdigit():
        return card.classes
    now = meanings(dataset.taxonomy, card.classes, card.taxonomy_version)
    return tuple(now.get(one, one) for one in card.classes)
