"""Training from first to last: probe, fine-tuning, second stage, cross-fitting.

1. *Probe*: a softmax regression on the features of the untouched backbone becomes the first classifier, so that
   fine-tuning does not begin by tearing the features apart (Kumar et al., ICLR 2022).
2. *Fine-tuning*: as many stages as the configuration lets learn; frozen stages may be computed once. It has to beat
   the probe on validation, or the backbone stays untouched: on few images fine-tuning may only do harm.
3. *Second stage*: the classifier alone, rebalanced, kept if validation agrees.
4. *Cross-fitting*: predictions by fold models, for triage thresholds.

Everything random follows from the seed; each epoch, phase and fold is checkpointed in the run's folder.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress
from domain_models.backbones import Classifier
from domain_models.batches import AugmentedImages, Batches, compute_views
from domain_models.calibration import calibrated_nll
from domain_models.checkpoints import load_checkpoint, save_checkpoint
from domain_models.cross_fitting import cross_fit
from domain_models.fine_tuning import FineTuned, fine_tune
from domain_models.inference import embed, predict_logits
from domain_models.linear_probe import LinearProbe, choose_linear_probe, validation_score
from domain_models.processor_memory import keep_freed_memory
from domain_models.stage_split import freeze_stages, splits_exactly
from domain_models.training_config import SecondStageKind, TrainingConfig
from domain_models.training_data import CrossFit, TrainedModel, TrainingData
from domain_models.training_phases import (
    Recipe,
    Views,
    classifier_of,
    fresh_network,
    logits_of_views,
    loss_prior,
    set_classifier,
    view_features,
)
from domain_models.two_stage import SECOND_STAGES, best_on_validation


def train(data: TrainingData, config: TrainingConfig, run_dir: Path, progress: Progress = SILENT) -> TrainedModel:
    """Train a classifier; killed at any moment and called again, it ends where an uninterrupted run ends.

    Args:
        data: training and validation images.
        config: every knob.
        run_dir: holds the checkpoints of this training and of no other.
        progress: told of images, loss and speed.

    Raises:
        BadInput: the backbone or its weights do not exist, or do not go with the settings.
        IntegrityError: ``run_dir`` belongs to another training, or a checkpoint is damaged.
    """
    keep_freed_memory()
    return _Training(data, config, run_dir, progress).run()


def training_key(data: TrainingData, config: TrainingConfig) -> str:
    """16 hex digits that change with the configuration, the classes, or any image, label, weight or split."""
    digest = hashlib.sha256(config.key.encode())
    digest.update("\0".join(data.classes).encode())
    for part in (data.train, data.val):
        digest.update(b"\1" + "\0".join(part.image_ids).encode() + b"\1" + "\0".join(part.groups).encode())
        digest.update(part.labels.tobytes() + part.weights.tobytes())
    return digest.hexdigest()[:16]


class _Training:
    def __init__(self, data: TrainingData, config: TrainingConfig, run_dir: Path, progress: Progress) -> None:
        self.data, self.config, self.run_dir, self.progress = data, config, run_dir, progress
        self.owner = training_key(data, config)
        self.classes = len(data.classes)
        self.sentences: list[str] = []
        self.rows: list[dict[str, object]] = []
        self.seconds = 0.0
        self.probe: dict[str, Any] = {}
        self.all_features: list[NDArray[np.float32]] | None = None

    def run(self) -> TrainedModel:
        config, data = self.config, self.data
        network = fresh_network(config, self.classes)
        penalty = self._probe(network) if config.probe else None
        tuned, views = self._fine_tune(network) if config.epochs > 0 else (None, None)
        kept = tuned
        if tuned and config.probe and self._probe_is_better(network):
            network, kept, views = fresh_network(config, self.classes), None, None
            set_classifier(network, _probe_of(self.probe))
        strength = self._second_stage(network) if config.second_stage is not SecondStageKind.NONE else None
        val_logits = predict_logits(network, data.val.images, config.preprocessing, device=config.device)
        recipe = Recipe(penalty, kept.best_epoch if kept else 0, strength, views, self.all_features)
        folds = self._cross_fit(recipe)
        for path in self.run_dir.glob("*.views"):
            path.unlink()  # large, and computed again if this training is ever repeated
        network.to("cpu").eval()
        speed = float(np.median([row["images_per_second"] for row in tuned.history])) if tuned else 0.0
        history = pd.DataFrame(self.rows)
        return TrainedModel(network, config, history, val_logits, folds, self.seconds, speed, tuple(self.sentences))

    def _val_logits(self, network: Classifier) -> NDArray[np.float32]:
        config = self.config
        return predict_logits(network, self.data.val.images, config.preprocessing, device=config.device)

    def _probe(self, network: Classifier) -> float:
        """Give the network its first classifier; returns the penalty that validation chose."""
        config, data, path = self.config, self.data, self.run_dir / "probe.pt"
        state = load_checkpoint(path, self.owner)
        if state is None:
            started = time.perf_counter()
            views, val_features = self._features(network)
            labels, weights = data.train.labels, data.train.weights
            probe = choose_linear_probe(
                np.concatenate(views),
                np.tile(labels, len(views)),
                np.tile(weights, len(views)),
                self.classes,
                val_features,
                data.val.labels,
                prior=loss_prior(config, labels, weights, self.classes),
            )
            state = _tensors(probe) | {
                "val_logits": torch.from_numpy(probe.logits(val_features)),
                "seconds": time.perf_counter() - started,
            }
            save_checkpoint(path, state, self.owner)
        self.probe = state
        set_classifier(network, _probe_of(state))
        logits = state["val_logits"].numpy()
        score, minus_loss = validation_score(logits, data.val.labels)
        accuracy = float((logits.argmax(axis=1) == data.val.labels).mean())
        self.rows.append(
            {"phase": "probe", "epoch": 0, "val_loss": -minus_loss, "val_macro_f1": score, "val_accuracy": accuracy}
            | {"seconds": state["seconds"]}
        )
        self.seconds += state["seconds"]
        self.sentences.append(f"Linear classifier on the untouched backbone: validation macro-F1 {score:.3f}.")
        return float(state["penalty"])

    def _features(self, network: Classifier) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        """Features of the training images (every view) and of the validation images (as they are).

        Where folds follow, they need every view of the validation images too; then all are computed here, and kept.
        """
        config, data = self.config, self.data
        if config.cross_fit_folds == 0:
            val_features = embed(network, data.val.images, config.preprocessing, device=config.device)
            return view_features(network, data.train, config, self.progress), val_features
        self.all_features = view_features(network, data.train.joined(data.val), config, self.progress)
        return [view[: len(data.train)] for view in self.all_features], self.all_features[0][len(data.train) :]

    def _fine_tune(self, network: Classifier) -> tuple[FineTuned, Views | None]:
        config, data = self.config, self.data
        frozen = freeze_stages(network, config.frozen_stages)
        views = self._views(network, frozen) if config.cached_views else None
        batches: Batches = (
            AugmentedImages(data.train.images, data.train.image_ids, config) if views is None else views.train
        )
        everyone = np.arange(len(data.val))

        def validate() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            if views is None:
                return self._val_logits(network), data.val.labels
            return logits_of_views(network, frozen, views.val, everyone, config), data.val.labels

        tuned = fine_tune(
            network,
            frozen,
            batches,
            data.train.labels,
            data.train.weights,
            config,
            inputs_are_maps=views is not None,
            epochs=config.epochs,
            validate=validate,
            checkpoint=self.run_dir / "epoch.pt",
            owner=self.owner,
            progress=self.progress,
        )
        self.seconds += tuned.seconds
        self.rows += [{"phase": "fine_tuning", **row} for row in tuned.history]
        done = len(tuned.history)
        self.sentences.append(
            f"Epoch {tuned.best_epoch} of {done} was best on validation (macro-F1 {tuned.best_score:.3f})"
            + ("." if done == config.epochs else f"; stopped early ({config.epochs} were planned).")
        )
        return tuned, views

    def _probe_is_better(self, network: Classifier) -> bool:
        """Whether the untouched backbone predicts validation better than the fine-tuned one.

        Judged by the calibrated log-loss and not by macro-F1, which rests on the few images of the rarest class, and
        which the second stage changes afterwards.
        """
        labels = self.data.val.labels
        before = calibrated_nll(self.probe["val_logits"].numpy(), labels)
        after = calibrated_nll(self._val_logits(network), labels)
        better = before < after
        self.sentences.append(
            f"Calibrated log-loss on validation: {before:.3f} with the untouched backbone, {after:.3f} fine-tuned; "
            + ("the backbone stays untouched." if better else "fine-tuning is kept.")
        )
        return better

    def _views(self, network: Classifier, frozen: list[str]) -> Views | None:
        """Outputs of the frozen stages, or ``None`` where the network cannot be cut behind them."""
        config, data = self.config, self.data
        started = time.perf_counter()
        network.to(device=config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        source = AugmentedImages(data.val.images, data.val.image_ids, config)
        example = source.inputs(np.arange(min(2, len(data.val))), 0).to(config.device)
        if not splits_exactly(network, frozen, example, config.frozen_stages):
            self.sentences.append(
                f"{config.backbone} cannot be cut behind a stage; its frozen stages are computed in every epoch."
            )
            return None
        views = Views(
            compute_views(
                self.run_dir / "train.views", network, data.train, config, config.cached_views, self.progress
            ),
            compute_views(self.run_dir / "val.views", network, data.val, config, 1, self.progress),
        )
        self.seconds += time.perf_counter() - started
        return views

    def _second_stage(self, network: Classifier) -> float | None:
        """Rebalance the classifier if validation agrees; returns the strength, ``None`` if it stays as it was."""
        config, data, path = self.config, self.data, self.run_dir / "second_stage.pt"
        state = load_checkpoint(path, self.owner)
        if state is None:
            started = time.perf_counter()
            spec, before = config.preprocessing, classifier_of(network)
            features = embed(network, data.train.images, spec, device=config.device, progress=self.progress)
            val_features = embed(network, data.val.images, spec, device=config.device)
            candidates = SECOND_STAGES[config.second_stage](
                before, features, data.train.labels, data.train.weights, None
            )
            best, after_score = best_on_validation(candidates, val_features, data.val.labels)
            before_score, _ = validation_score(before.logits(val_features), data.val.labels)
            taken = after_score > before_score
            state = _tensors(best.classifier if taken else before) | {
                "scores": [before_score, after_score],
                "strength": best.strength if taken else None,
                "seconds": time.perf_counter() - started,
            }
            save_checkpoint(path, state, self.owner)
        self.seconds += state["seconds"]
        set_classifier(network, _probe_of(state))
        strength: float | None = state["strength"]
        before_score, after_score = state["scores"]
        self.sentences.append(
            f"Second stage ({config.second_stage.replace('_', ' ')}): validation macro-F1 {before_score:.3f} before,"
            f" {after_score:.3f} after; " + ("not kept." if strength is None else f"kept (strength {strength:g}).")
        )
        return strength

    def _cross_fit(self, recipe: Recipe) -> CrossFit:
        if self.config.cross_fit_folds:
            result, seconds, folds = cross_fit(self.data, self.config, recipe, self.run_dir, self.owner, self.progress)
            self.seconds += seconds
            if folds:
                self.sentences.append(
                    f"Triage thresholds rest on {len(result.labels)} training and validation images, each predicted by"
                    f" one of {folds} models that saw neither it nor its group."
                )
                return result
        self.sentences.append(f"Triage thresholds rest on the {len(self.data.val)} validation images.")
        nothing = np.zeros((0, self.classes), dtype=np.float32)
        return CrossFit((), nothing, np.zeros(0, dtype=np.int64), ())


def _tensors(classifier: LinearProbe) -> dict[str, Any]:
    return {
        "weight": torch.from_numpy(classifier.weight),
        "bias": torch.from_numpy(classifier.bias),
        "penalty": classifier.penalty,
    }


def _probe_of(state: dict[str, Any]) -> LinearProbe:
    return LinearProbe(state["weight"].numpy(), state["bias"].numpy(), float(state["penalty"]))
