"""What training learns from: prepared images with their labels, and what it gives back."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.errors import BadInput
from domain_models.backbones import Classifier
from domain_models.calibration import fit_temperature, softmax
from domain_models.decision_costs import DecisionCosts
from domain_models.image_cache import CachedImages
from domain_models.inference import ImageRows
from domain_models.training_config import TrainingConfig


@dataclass(frozen=True)
class LabelledImages:
    """Images of one split, in one order.

    Attributes:
        images: uint8 [n, H, W, C].
        labels: int64 [n], index into the classes.
        image_ids: n ids.
        groups: n components; images of one group are never on both sides of a fold.
        weights: float64 [n]; how much an image counts in the loss (1 is ordinary, 0 not at all).
    """

    images: ImageRows
    labels: NDArray[np.int64]
    image_ids: tuple[str, ...]
    groups: tuple[str, ...]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        sizes = {len(self.images), len(self.labels), len(self.image_ids), len(self.groups), len(self.weights)}
        if len(sizes) != 1:
            raise ValueError(f"images, labels, ids, groups and weights differ in number: {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self, classes: int) -> NDArray[np.int64]:
        """int64 [classes]: images of each class that count at all."""
        return np.bincount(self.labels[self.weights > 0], minlength=classes).astype(np.int64)

    def subset(self, positions: NDArray[np.int64]) -> LabelledImages:
        """The images at these positions."""
        return LabelledImages(
            self.images.subset(positions),
            self.labels[positions],
            tuple(self.image_ids[i] for i in positions),
            tuple(self.groups[i] for i in positions),
            self.weights[positions],
        )

    def joined(self, other: LabelledImages) -> LabelledImages:
        """These images and then the others."""
        if self.images.array is other.images.array:
            images = ImageRows(self.images.array, np.concatenate([self.images.rows, other.images.rows]))
        else:
            pixels = np.concatenate([self.images[:], other.images[:]])
            images = ImageRows(pixels, np.arange(len(pixels)))
        return LabelledImages(
            images,
            np.concatenate([self.labels, other.labels]),
            self.image_ids + other.image_ids,
            self.groups + other.groups,
            np.concatenate([self.weights, other.weights]),
        )

    @classmethod
    def of_manifest(cls, rows: pd.DataFrame, cache: CachedImages) -> LabelledImages:
        """The images of some manifest rows (frames.MANIFEST; all with a class) from the image cache."""
        ids = tuple(str(image_id) for image_id in rows["image_id"])
        return cls(
            ImageRows(cache.array, cache.rows(ids)),
            rows["class_index"].to_numpy(dtype=np.int64),
            ids,
            tuple(str(component) for component in rows["component"]),
            rows["weight"].to_numpy(dtype=np.float64),
        )


@dataclass(frozen=True)
class UnlabelledImages:
    """Images that nobody has labelled (or that nobody could decide), in one order.

    Attributes:
        images: uint8 [n, H, W, C].
        image_ids: n ids.
        groups: n components.
    """

    images: ImageRows
    image_ids: tuple[str, ...]
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        if len({len(self.images), len(self.image_ids), len(self.groups)}) != 1:
            raise ValueError("images, ids and groups differ in number")

    def __len__(self) -> int:
        return len(self.image_ids)

    def without(self, groups: Collection[str]) -> UnlabelledImages:
        """The images of all other groups."""
        kept = np.asarray([i for i, group in enumerate(self.groups) if group not in groups], dtype=np.int64)
        ids, components = (tuple(names[i] for i in kept) for names in (self.image_ids, self.groups))
        return UnlabelledImages(self.images.subset(kept), ids, components)

    @classmethod
    def of_manifest(cls, rows: pd.DataFrame, cache: CachedImages) -> UnlabelledImages:
        """The images of some manifest rows (frames.MANIFEST) from the image cache; whatever labels they have."""
        ids = tuple(str(image_id) for image_id in rows["image_id"])
        return cls(ImageRows(cache.array, cache.rows(ids)), ids, tuple(str(one) for one in rows["component"]))


@dataclass(frozen=True)
class TrainingData:
    """Training and validation images; the test images are not here, so nothing can be chosen by them.

    Attributes:
        classes: k names.
        train: what is learned from.
        val: what choices are made by.
        teacher_logits: float32 [n_train, k], what a teacher says of the training images as they are, in the order of
            the classes; ``None`` where nobody teaches.
        pool: images without a label, none of them of a group of a validation image; ``None``: they are not used.

    Raises:
        BadInput: fewer than two classes, no training or no validation image, or a class without training images.
    """

    classes: tuple[str, ...]
    train: LabelledImages
    val: LabelledImages
    teacher_logits: NDArray[np.float32] | None = None
    pool: UnlabelledImages | None = None

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise BadInput("Training needs at least two classes.", remedy="Label images of a second class.")
        if len(self.train) == 0 or len(self.val) == 0:
            raise BadInput(
                f"There are {len(self.train)} training and {len(self.val)} validation images; both are needed.",
                remedy="Ingest more labelled images, then curate again.",
            )
        missing = [self.classes[i] for i in np.flatnonzero(self.class_counts == 0)]
        if len(self.classes) - len(missing) < 2:
            raise BadInput("The training images are all of one class.", remedy="Label images of a second class.")
        if self.teacher_logits is not None and self.teacher_logits.shape != (len(self.train), len(self.classes)):
            raise ValueError("teacher_logits do not match the training images and classes")
        if self.pool is not None and not set(self.pool.groups).isdisjoint(self.val.groups):
            raise ValueError("an image of the pool belongs to a validation image, by which choices are made")

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """int64 [k]: training images (with weight) of each class."""
        used = self.train.labels[self.train.weights > 0]
        return np.bincount(used, minlength=len(self.classes)).astype(np.int64)

    @classmethod
    def of_manifest(cls, manifest: pd.DataFrame, classes: tuple[str, ...], cache: CachedImages) -> TrainingData:
        """Training and validation images of a dataset version."""
        parts = {
            split: LabelledImages.of_manifest(manifest[manifest["split"] == split], cache) for split in ("train", "val")
        }
        return cls(classes, parts["train"], parts["val"])


def training_key(data: TrainingData, config: TrainingConfig) -> str:
    """16 hex digits that change with the configuration, the classes, any image, label, weight, split or teacher."""
    digest = hashlib.sha256(config.key.encode())
    digest.update("\0".join(data.classes).encode())
    for part in (data.train, data.val):
        digest.update(b"\1" + "\0".join(part.image_ids).encode() + b"\1" + "\0".join(part.groups).encode())
        digest.update(part.labels.tobytes() + part.weights.tobytes())
    if data.teacher_logits is not None:
        digest.update(b"\2" + data.teacher_logits.tobytes())
    if data.pool is not None:
        digest.update(b"\3" + "\0".join((*data.pool.image_ids, *data.pool.groups)).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class CrossFit:
    """Predictions for images by models that never saw them or their group.

    Attributes:
        image_ids: n ids of training and validation images; empty where no cross-fitting was done.
        logits: float32 [n, k].
        labels: int64 [n].
        groups: n components.
    """

    image_ids: tuple[str, ...]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]

    @classmethod
    def none(cls, classes: int) -> CrossFit:
        """No predictions: triage rests on the validation images."""
        return cls((), np.zeros((0, classes), dtype=np.float32), np.zeros(0, dtype=np.int64), ())


@dataclass(frozen=True)
class TrainedModel:
    """What training made.

    Attributes:
        network: on the CPU, in evaluation mode.
        config: what it was trained with.
        history: one row per epoch: phase, epoch, train_loss, val_loss, val_macro_f1, val_accuracy, learning_rate,
            seconds, images_per_second. The probe is epoch 0.
        val_logits: float32 [n_val, k], in the order of the validation images.
        decision_weights: float64 [k], what a mistake on each class counts when the class to predict is chosen;
            ``None``: the same.
        cross_fit: see :class:`CrossFit`.
        seconds: of training, all runs of a killed and resumed training together.
        images_per_second: trained images a second in the fine-tuning epochs (0 without any).
        sentences: what was decided on the way, in words (best epoch, second stage, where triage data come from).
    """

    network: Classifier
    config: TrainingConfig
    history: pd.DataFrame
    val_logits: NDArray[np.float32]
    cross_fit: CrossFit
    seconds: float
    images_per_second: float
    sentences: tuple[str, ...] = field(default=())
    decision_weights: NDArray[np.float64] | None = None

    @property
    def decision_costs(self) -> DecisionCosts:
        """What mistakes count when the class to predict is chosen."""
        return DecisionCosts.weighing(self.decision_weights)

    def val_predicted(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The predicted classes int64 [n_val] of the validation images, whose labels int64 [n_val] calibrate."""
        return self.decision_costs.predicted(softmax(self.val_logits, fit_temperature(self.val_logits, labels)))
