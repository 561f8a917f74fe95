"""Calibrated predictions of a registered model on a split of a dataset version, computed once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.errors import BadInput, Refused
from data_contracts.frames import PREDICTIONS, read_table, write_table
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import LABELLED_SPLITS, Split
from data_contracts.workspace import Workspace
from domain_models.tracking import Registry
from pipelines.steps.model_classes import shares_today
from pipelines.steps.score_parts import PROBABILITY

BATCH = 64
PREDICTED = "predicted_index"


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model on one split.

    Attributes:
        image_ids: n ids, in the order of the rows below.
        labels: int64 [n], indices into ``classes``.
        components: n names of what was never split (group, duplicates): a bootstrap draws these.
        probabilities: float64 [n, k], rows summing to 1; a class the model has never heard of has 0.
        predicted: int64 [n], indices into ``classes``: what the model would call the images.
        classes: k names, of the dataset version's taxonomy.
    """

    image_ids: list[str]
    labels: NDArray[np.int64]
    components: list[str]
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]
    classes: tuple[str, ...]


def parse_split(name: str) -> Split:
    """A labelled split by name.

    Raises:
        BadInput: there is no such split.
    """
    if name not in {split.value for split in LABELLED_SPLITS}:
        raise BadInput(f"There is no split {name!r}.", remedy="Splits: train, val, test.")
    return Split(name)


def predict_split(
    workspace: Workspace,
    registry: Registry,
    model_version: str,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    split: Split,
    progress: Progress = SILENT,
) -> Predictions:
    """Predictions from the cache, else by running the stored package over the split's images.

    Args:
        workspace: where images and caches are.
        registry: where the package is.
        model_version: a version number.
        dataset: the dataset version.
        manifest: its manifest.
        split: which images.
        progress: told of decoding and predicting.

    Raises:
        BadInput: the split has no labelled images.
        Refused: the model names classes that the dataset version does not have.
    """
    rows = manifest[manifest["split"] == split.value].reset_index(drop=True)
    if rows.empty:
        raise BadInput(
            f"Dataset version {dataset.dataset_version} has no images in {split.value!r}.",
            cause="There are too few labelled images, or the split column names none.",
            remedy="Ingest more labelled images and run `tailsight curate` again.",
        )
    classes = dataset.taxonomy.names
    name = f"{model_version}-{dataset.dataset_version}-{split.value}.parquet"
    path = workspace.cache / "predictions" / name
    columns = [f"{PROBABILITY}{item}" for item in classes]
    if path.is_file():
        frame = read_table(path, PREDICTIONS)
        if list(frame["image_id"]) == list(rows["image_id"]) and {PREDICTED, *columns} <= set(frame.columns):
            return _of(frame, columns, classes)
    probabilities, predicted = _predict(workspace, registry, model_version, rows, dataset.taxonomy, progress)
    frame = pd.DataFrame(
        {
            "image_id": rows["image_id"],
            "class_index": rows["class_index"],
            "group": rows["component"],
            PREDICTED: predicted,
            **{column: probabilities[:, index] for index, column in enumerate(columns)},
        }
    )
    write_table(frame, path, PREDICTIONS)
    return _of(frame, columns, classes)


def _of(frame: pd.DataFrame, columns: list[str], classes: tuple[str, ...]) -> Predictions:
    return Predictions(
        image_ids=list(frame["image_id"]),
        labels=frame["class_index"].to_numpy(dtype=np.int64),
        components=list(frame["group"]),
        probabilities=frame[columns].to_numpy(dtype=np.float64),
        predicted=frame[PREDICTED].to_numpy(dtype=np.int64),
        classes=classes,
    )


def _predict(
    workspace: Workspace,
    registry: Registry,
    model_version: str,
    rows: pd.DataFrame,
    taxonomy: Taxonomy,
    progress: Progress,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from domain_models.inference import ImageRows
    from domain_models.model_card import read_card
    from domain_models.runtimes import Runtime, open_runtime, resolve_runtime
    from pipelines.steps.prepared_images import prepared_images

    package = registry.package(model_version)
    card = read_card(package)
    shares = shares_today(card.classes, card.taxonomy_version, taxonomy)
    unknown = [name for name, share in zip(card.classes, shares, strict=True) if not share.any()]
    if unknown:
        raise Refused(
            f"Model version {model_version} decides for classes that the dataset version does not have: "
            f"{', '.join(unknown)}.",
            cause="The taxonomy was changed since it was trained.",
            remedy="Train a new candidate.",
        )
    cached, ids = prepared_images(workspace, rows, card.preprocessing, progress), list(rows["image_id"])
    images = ImageRows(cached.array, cached.rows(ids))
    compute = open_runtime(resolve_runtime(Runtime.AUTO, package), package, card)  # as production scores
    logits = []
    with progress.step("Predicting", total=len(ids)) as step:
        for start in range(0, len(ids), BATCH):
            logits.append(compute(images[start : start + BATCH]))
            step.advance(len(logits[-1]))
    own = card.probabilities(np.concatenate(logits))
    return np.asarray(own @ shares), card.decision_costs.predicted(own, shares)


def joined(predictions: Predictions, groups: Sequence[Sequence[str]]) -> Predictions:
    """Predictions in which each group of classes is one class: probabilities added up, labels alike.

    Raises:
        Refused: fewer than two classes would be left, so there is nothing to compare.
    """
    names, columns = _joined_classes(predictions.classes, groups)
    if len(names) < 2:
        raise Refused(
            "The two models have no two classes in common that both can tell apart, so they cannot be compared.",
            cause="Classes were split since the older one was trained.",
            remedy="Promote with --override, and say why.",
        )
    probabilities = np.zeros((len(predictions.labels), len(names)))
    for index, column in enumerate(columns):
        probabilities[:, column] += predictions.probabilities[:, index]
    return replace(
        predictions,
        labels=columns[predictions.labels],
        probabilities=probabilities,
        predicted=columns[predictions.predicted],
        classes=tuple(names),
    )


def joined_costs(
    table: NDArray[np.float64], classes: Sequence[str], groups: Sequence[Sequence[str]]
) -> NDArray[np.float64]:
    """Costs float64 [k, k] of the classes, as costs [m, m] of what :func:`joined` makes of them.

    Of several costs that become one, the dearest holds; taking classes of one group for one another costs nothing.
    """
    names, columns = _joined_classes(classes, groups)
    merged = np.zeros((len(names), len(names)))
    np.maximum.at(merged, (columns[:, None], columns[None, :]), table)
    np.fill_diagonal(merged, 0.0)
    return merged


def _joined_classes(classes: Sequence[str], groups: Sequence[Sequence[str]]) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the classes once each group is one, and the place of each class among them, int64 [k]."""
    place_of = {name: number for number, group in enumerate(groups) for name in group}
    names: list[str] = []
    columns = np.zeros(len(classes), dtype=np.int64)
    for index, name in enumerate(classes):
        shown = " + ".join(groups[place_of[name]]) if name in place_of else name
        if shown not in names:
            names.append(shown)
        columns[index] = names.index(shown)
    return names, columns
