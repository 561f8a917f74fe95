"""Incremental training: what people answered since the champion, learned in a small fraction of a full training.

1. The champion's network gets a row for each new class; its early stages stay as they are, and what they make of each
   image is kept between retrainings (:mod:`domain_models.frozen_part`).
2. A classifier is fitted to the end on the champion's features of new, corrected and (nearly) all old images, held to
   the champion's own; features are kept between retrainings (:mod:`domain_models.kept_features`). Where the champion's
   backbone was never fine-tuned, that is all, and the classifier is fitted from nothing.
3. New and corrected images are learned together with a weighted sample of the old ones (:mod:`domain_models.replay`),
   by the stages behind the frozen ones; on images whose label did not change the network is held to what the champion
   says (:mod:`domain_models.distillation`), so that old classes are not forgotten. Where validation finds the
   classifier alone better, the backbone stays as it was.
4. The classifier is rebalanced if validation agrees.

Everything random follows from the seed; each epoch is checkpointed in the run's folder.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress
from domain_models.backbones import Classifier
from domain_models.calibration import calibrated_nll
from domain_models.classifier_growth import columns_of, fit_new_rows, regrown
from domain_models.decision_weights import choose_decision_weights
from domain_models.distillation import remember
from domain_models.fine_tuned import FineTuned, validation_row
from domain_models.fine_tuning import fine_tune
from domain_models.frozen_part import ViewsOnceNeeded
from domain_models.increment_inputs import IncrementInputs
from domain_models.linear_probe import choose_linear_probe
from domain_models.processor_memory import keep_freed_memory
from domain_models.training_config import TrainingConfig
from domain_models.training_data import CrossFit, TrainedModel, TrainingData, training_key
from domain_models.training_phases import classifier_of, set_classifier

REACH = 1.1
"""Fine-tuning goes on after its first epoch where its calibrated log-loss is at most this many times what it has to
beat. On the sets that we tried, what was further away then never did better in the end."""


@dataclass(frozen=True)
class Champion:
    """The model that training goes on from: its network, its class names, and the run that made it."""

    network: Classifier
    classes: tuple[str, ...]
    run_key: str


@dataclass(frozen=True)
class Increment:
    """What is learned.

    Attributes:
        data: new, corrected and replayed training images (weights say how many images each stands for), and all
            validation images; the classes are those of the new model.
        changed: bool [n_train]; new or corrected since the champion.
        fine_tuning_weights: float64 [n_train]; the weights in fine-tuning, 0 for an image that it does not see.
        class_counts: int64 [k]; training images of each class, the ones that are not replayed included.
    """

    data: TrainingData
    changed: NDArray[np.bool_]
    fine_tuning_weights: NDArray[np.float64]
    class_counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        images = (len(self.data.train),)
        if self.changed.shape != images or self.fine_tuning_weights.shape != images:
            raise ValueError("changed and fine_tuning_weights do not match the training images")
        if self.class_counts.shape != (len(self.data.classes),):
            raise ValueError("class_counts do not match the classes")


@dataclass(frozen=True)
class IncrementalModel:
    """What incremental training made. ``maps_wanted`` activation maps were used, ``maps_computed`` of them made now."""

    trained: TrainedModel
    maps_wanted: int
    maps_computed: int


def learn_increment(
    champion: Champion,
    increment: Increment,
    config: TrainingConfig,
    run_dir: Path,
    cache: Path,
    progress: Progress = SILENT,
) -> IncrementalModel:
    """Train on from the champion; killed at any moment and called again, it ends where an uninterrupted run ends.

    Args:
        champion: not changed.
        increment: what to learn.
        config: from :func:`~domain_models.incremental_config.incremental_config`.
        run_dir: holds the checkpoints of this training and of no other.
        cache: folder of the activations that are kept between retrainings; may be deleted at any time.
        progress: told of images, loss and speed.

    Raises:
        IntegrityError: ``run_dir`` belongs to another training, or a checkpoint is damaged.
    """
    keep_freed_memory()
    return _Increment(champion, increment, config, run_dir, progress).run(cache)


def increment_key(champion: Champion, increment: Increment, config: TrainingConfig) -> str:
    """16 hex digits that change with the champion, the configuration, or any image, label or weight."""
    content = f"{champion.run_key}\0{training_key(increment.data, config)}".encode()
    arrays = (increment.changed, increment.fine_tuning_weights, increment.class_counts)
    return hashlib.sha256(content + b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


class _Increment:
    def __init__(
        self, champion: Champion, increment: Increment, config: TrainingConfig, run_dir: Path, progress: Progress
    ) -> None:
        self.champion, self.increment, self.config = champion, increment, config
        self.data, self.run_dir, self.progress = increment.data, run_dir, progress
        self.network = regrown(champion.network, champion.classes, self.data.classes)
        self.sentences: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.seconds_before = 0.0

    def run(self, cache: Path) -> IncrementalModel:
        started = time.perf_counter()
        config, data = self.config, self.data
        tuned_on = self.increment.fine_tuning_weights > 0
        inputs = IncrementInputs(self.network, data, tuned_on, config, cache, self.progress)
        tuned, val_features = self._learn(inputs)
        logits = classifier_of(self.network).logits(val_features)
        weights = choose_decision_weights(
            logits, data.val.labels, self.increment.class_counts, groups=data.val.groups, seed=config.seed
        )
        self.sentences.append(weights.sentence)
        self.sentences.append(
            f"Triage thresholds rest on the {len(data.val)} validation images: fold models that go on from the champion"
            " would have seen the images that they are asked about."
        )
        self.sentences.append(
            f"Activations of the frozen part: {inputs.wanted:,} used, {inputs.computed:,} of them computed now."
        )
        self.network.to("cpu").eval()
        seconds = time.perf_counter() - started + self.seconds_before
        speed = float(np.median([row["images_per_second"] for row in tuned.history])) if tuned else 0.0
        return IncrementalModel(
            TrainedModel(
                self.network,
                config,
                pd.DataFrame(self.rows),
                logits,
                CrossFit.none(len(data.classes)),
                seconds,
                speed,
                tuple(self.sentences),
                weights.weights,
            ),
            maps_wanted=inputs.wanted,
            maps_computed=inputs.computed,
        )

    def _learn(self, inputs: IncrementInputs) -> tuple[FineTuned | None, NDArray[np.float32]]:
        """Give the network its learned weights: of the last stage or of the classifier alone, as validation says.

        Returns the fine-tuning, if there was one, and the features of the validation images by those weights.
        """
        data, features, val_features = self.data, inputs.train_features, inputs.val_features
        labels, weights = data.train.labels, data.train.weights
        start = fit_new_rows(classifier_of(self.network), self._new_rows(), features, labels, weights)
        # A fine-tuned backbone has seen the old images: on its features a classifier fitted from nothing looks right on
        # them and is overconfident on all others. The champion's own was not fitted to such features.
        around = start if self.config.epochs > 0 else None
        with self.progress.step("Fitting the classifier"):
            head = choose_linear_probe(
                features, labels, weights, len(data.classes), val_features, data.val.labels, around=around
            )
        head_logits = head.logits(val_features)
        self._note("classifier", 0, head_logits)
        if self.config.epochs == 0:
            set_classifier(self.network, head)
            self.sentences.append("The backbone stays as it is; the classifier was fitted anew.")
            return None, val_features
        old_logits = classifier_of(self.champion.network).logits(features)
        set_classifier(self.network, start)
        before = calibrated_nll(head_logits, data.val.labels)
        tuned, tuned_features = self._fine_tune(inputs, old_logits, before)
        after = calibrated_nll(classifier_of(self.network).logits(tuned_features), data.val.labels)
        self.sentences.append(
            f"Calibrated log-loss on validation: {before:.3f} with a classifier fitted on the champion's features, "
            f"{after:.3f} with the last stage fine-tuned; "
            + ("the backbone stays as it is." if before < after else "fine-tuning is kept.")
            + (" Fine-tuning was given up after one epoch." if len(tuned.history) < self.config.epochs else "")
        )
        if before < after:
            self.network.load_state_dict(
                regrown(self.champion.network, self.champion.classes, data.classes).state_dict()
            )
            set_classifier(self.network, head)
            return tuned, val_features
        return tuned, tuned_features

    def _new_rows(self) -> NDArray[np.int64]:
        known = columns_of(self.champion.classes, self.data.classes)[1]
        return np.setdiff1d(np.arange(len(self.data.classes)), known).astype(np.int64)

    def _fine_tune(
        self, inputs: IncrementInputs, old_logits: NDArray[np.float32], to_beat: float
    ) -> tuple[FineTuned, NDArray[np.float32]]:
        """Fine-tune what is behind the frozen part; also the validation images' features by the best epoch.

        ``to_beat`` is the calibrated log-loss of the alternative.
        """
        data, config = self.data, self.config
        own, columns = columns_of(self.champion.classes, data.classes)
        memory = remember(old_logits[:, own], ~self.increment.changed, columns)

        seen: list[NDArray[np.float32]] = []

        def validate() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            seen[:] = [inputs.learned_val_features()]
            return classifier_of(self.network).logits(seen[0]), data.val.labels

        began = time.perf_counter()
        tuned = fine_tune(
            self.network,
            inputs.part.frozen,
            ViewsOnceNeeded(inputs.maps, lambda: inputs.views_of(self.increment.changed)),
            data.train.labels,
            self.increment.fine_tuning_weights,
            config,
            inputs_are_maps=True,
            epochs=config.epochs,
            validate=validate,
            memory=memory,
            give_up_above=REACH * to_beat,
            checkpoint=self.run_dir / "epoch.pt",
            owner=increment_key(self.champion, self.increment, config),
            progress=self.progress,
            what="Learning what changed",
        )
        self.seconds_before = max(0.0, tuned.seconds - (time.perf_counter() - began))  # epochs before a kill
        self.rows += [{"phase": "fine_tuning", **row} for row in tuned.history]
        old = int((self.increment.fine_tuning_weights[~self.increment.changed] > 0).sum())
        self.sentences.append(
            f"Fine-tuning saw {old:,} of the old images. Epoch {tuned.best_epoch} of {len(tuned.history)} was best on"
            f" validation (macro-F1 {tuned.best_score:.3f})."
        )
        if seen and tuned.best_epoch == len(tuned.history):
            return tuned, seen[0]
        return tuned, inputs.learned_val_features()

    def _note(self, phase: str, epoch: int, logits: NDArray[np.float32]) -> None:
        self.rows.append(validation_row(phase, epoch, logits, self.data.val.labels))


def class_counts(labels: Sequence[int] | NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """int64 [k]: how many images each class has."""
    return np.bincount(np.asarray(labels, dtype=np.int64), minlength=classes).astype(np.int64)
