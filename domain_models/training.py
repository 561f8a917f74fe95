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

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress
from domain_models.backbone_choice import untouched_is_better
from domain_models.backbones import Classifier
from domain_models.batches import AugmentedImages, Batches
from domain_models.checkpoints import load_checkpoint, save_checkpoint
from domain_models.cross_fitting import cross_fit
from domain_models.decision_weights import choose_decision_weights
from domain_models.distillation import taught
from domain_models.fine_tuned import AfterEpoch, FineTuned, validation_row
from domain_models.fine_tuning import fine_tune
from domain_models.frozen_views import Views, views_of
from domain_models.inference import predict_logits
from domain_models.kept_features import KeptFeatures
from domain_models.linear_probe import choose_linear_probe
from domain_models.processor_memory import keep_freed_memory
from domain_models.run_profile import RunProfile
from domain_models.stage_split import freeze_stages
from domain_models.supervision_settings import what_came_of_it
from domain_models.team import ALONE, Team
from domain_models.training_config import SecondStageKind, TrainingConfig
from domain_models.training_data import CrossFit, TrainedModel, TrainingData, training_key
from domain_models.training_phases import (
    Recipe,
    classifier_of,
    fresh_network,
    loss_prior,
    one_look,
    plain_features,
    probe_features,
    probe_of,
    probe_state,
    set_classifier,
)
from domain_models.two_stage import SECOND_STAGES, choose_rebalanced, in_words


def train(
    data: TrainingData,
    config: TrainingConfig,
    run_dir: Path,
    progress: Progress = SILENT,
    *,
    activations: Path | None = None,
    after_epoch: AfterEpoch | None = None,
    profile: RunProfile | None = None,
    team: Team = ALONE,
) -> TrainedModel:
    """Train a classifier; killed at any moment and called again, it ends where an uninterrupted run ends.

    Args:
        data: training and validation images.
        config: every knob.
        run_dir: holds the checkpoints of this training and of no other.
        progress: told of images, loss and speed.
        activations: cache in which maps of the frozen stages and features stay for incremental trainings.
        after_epoch: told of each epoch of fine-tuning; may raise to end training.
        profile: measures where the time of the model's own fine-tuning goes (not that of its folds).
        team: the processes that fine-tune together; the configuration names neither a teacher nor a pool for several.

    Raises:
        BadInput: the backbone or its weights do not exist, or do not go with the settings.
        IntegrityError: ``run_dir`` belongs to another training, or a checkpoint is damaged.
    """
    keep_freed_memory()
    return _Training(data, config, run_dir, progress, activations, after_epoch, profile, team).run()


@dataclass
class _Training:
    data: TrainingData
    config: TrainingConfig
    run_dir: Path
    progress: Progress
    activations: Path | None
    after_epoch: AfterEpoch | None
    profile: RunProfile | None
    team: Team
    sentences: list[str] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)
    seconds: float = 0.0
    probe: dict[str, Any] = field(default_factory=dict)
    views: Views | None = None
    all_features: list[NDArray[np.float32]] | None = None
    learned: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def __post_init__(self) -> None:
        self.owner = training_key(self.data, self.config)
        self.classes = len(self.data.classes)

    def run(self) -> TrainedModel:
        config = self.config
        weighs = config.second_stage is SecondStageKind.LOGIT_ADJUSTMENT
        network = fresh_network(config, self.classes)
        if config.epochs > 0 and config.cached_views:
            self.views = self._compute_views(network)
        penalty = self._probe(network) if config.probe else None
        kept = tuned = self._fine_tune(network) if config.epochs > 0 else None
        if tuned and config.probe:
            before, after = self.probe["val_logits"].numpy(), self._val_logits(network)
            counts = self.data.train.counts(self.classes) if weighs else None
            better, sentence = untouched_is_better(before, after, self.data.val, counts, seed=config.seed)
            self.sentences.append(sentence)
            if better:
                network, kept = fresh_network(config, self.classes), None
                set_classifier(network, probe_of(self.probe))
        self.sentences += what_came_of_it(config.teacher, config.pool, kept=bool(kept), folds=config.cross_fit_folds)
        if kept is None and self.all_features is not None:
            count = len(self.data.train)
            self.learned = self.all_features[0][:count], self.all_features[0][count:]
        stays = weighs or config.second_stage is SecondStageKind.NONE
        strength = None if stays else self._second_stage(network)
        if self.activations is not None:
            ids = self.data.train.image_ids + self.data.val.image_ids
            cached = KeptFeatures(network, config.preprocessing, self.activations)
            cached.keep(ids, np.concatenate(self._learned_features(network)))
        val_logits = self._val_logits(network)
        decision_weights = self._decision_weights(val_logits) if weighs else None
        recipe = Recipe(penalty, kept.best_epoch if kept else 0, strength, self.views, self.all_features)
        folds = self._cross_fit(recipe)
        for path in self.run_dir.glob("*.views"):
            path.unlink()  # large, and computed again if this training is ever repeated
        network.to("cpu").eval()
        speed = float(np.median([row["images_per_second"] for row in tuned.history])) if tuned else 0.0
        if self.profile is not None:
            self.sentences.append(self.profile.report().sentence)
        history, said = pd.DataFrame(self.rows), tuple(self.sentences)
        return TrainedModel(network, config, history, val_logits, folds, self.seconds, speed, said, decision_weights)

    def _val_logits(self, network: Classifier) -> NDArray[np.float32]:
        config, val = self.config, self.data.val
        if self.views is not None:
            return self.views.logits(network, len(self.data.train) + np.arange(len(val)), config.device)
        return predict_logits(network, val.images, config.preprocessing, device=config.device)

    def _probe(self, network: Classifier) -> float:
        """Give the network its first classifier; returns the penalty that validation chose."""
        config, data, path = self.config, self.data, self.run_dir / "probe.pt"
        state = load_checkpoint(path, self.owner)
        if state is None:
            started = time.perf_counter()
            views, val_features, self.all_features = probe_features(network, data, config, self.views, self.progress)
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
            state = probe_state(probe) | {
                "val_logits": torch.from_numpy(probe.logits(val_features)),
                "seconds": time.perf_counter() - started,
            }
            save_checkpoint(path, state, self.owner)
        self.probe = state
        set_classifier(network, probe_of(state))
        logits = state["val_logits"].numpy()
        row = validation_row("probe", 0, logits, data.val.labels)
        self.rows.append(row | {"seconds": state["seconds"]})
        self.seconds += state["seconds"]
        self.sentences.append(
            f"Linear classifier on the untouched backbone: validation macro-F1 {row['val_macro_f1']:.3f}."
        )
        return float(state["penalty"])

    def _fine_tune(self, network: Classifier) -> FineTuned:
        config, data, views = self.config, self.data, self.views
        frozen = freeze_stages(network, config.frozen_stages)
        batches: Batches = (
            AugmentedImages(data.train.images, data.train.image_ids, config) if views is None else views.train
        )

        with one_look(network) if views is None else contextlib.nullcontext():  # kept maps are of both looks
            tuned = fine_tune(
                network,
                frozen,
                batches,
                data.train.labels,
                data.train.weights,
                config,
                inputs_are_maps=views is not None,
                epochs=config.epochs,
                validate=lambda: (self._val_logits(network), data.val.labels),
                memory=taught(data, config),
                pool=data.pool,
                checkpoint=self.run_dir / "epoch.pt",
                owner=self.owner,
                progress=self.progress,
                after_epoch=self.after_epoch,
                profile=self.profile,
                team=self.team,
            )
        self.seconds += tuned.seconds
        self.rows += [{"phase": "fine_tuning", **row} for row in tuned.history]
        self.sentences.append(tuned.sentence(config.epochs) + self.team.sentence)
        return tuned

    def _compute_views(self, network: Classifier) -> Views | None:
        """Outputs of the frozen stages, or ``None`` where the network cannot be cut behind them."""
        config, data = self.config, self.data
        started = time.perf_counter()
        views = views_of(network, data, config, self.run_dir, self.activations, self.progress)
        if views is None:
            self.sentences.append(
                f"{config.backbone} cannot be cut behind a stage; its frozen stages are computed in every epoch."
            )
        self.seconds += time.perf_counter() - started
        return views

    def _decision_weights(self, val_logits: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """What a mistake on each class counts when the class to predict is chosen, float64 [k]."""
        val, counts = self.data.val, self.data.train.counts(self.classes)
        found = choose_decision_weights(val_logits, val.labels, counts, groups=val.groups, seed=self.config.seed)
        self.sentences.append(found.sentence)
        return found.weights

    def _second_stage(self, network: Classifier) -> float | None:
        """Rebalance the classifier if validation agrees; returns the strength, ``None`` if it stays as it was."""
        config, data, path = self.config, self.data, self.run_dir / "second_stage.pt"
        state = load_checkpoint(path, self.owner)
        if state is None:
            started = time.perf_counter()
            before = classifier_of(network)
            features, val_features = self._learned_features(network)
            candidates = SECOND_STAGES[config.second_stage](
                before, features, data.train.labels, data.train.weights, None
            )
            found = choose_rebalanced(before, candidates, val_features, data.val.labels)
            state = probe_state(found.classifier) | {
                "figures": [*found.before, *found.after],
                "strength": found.strength,
                "seconds": time.perf_counter() - started,
            }
            save_checkpoint(path, state, self.owner)
        self.seconds += state["seconds"]
        set_classifier(network, probe_of(state))
        strength: float | None = state["strength"]
        kept = "not kept." if strength is None else f"kept (strength {strength:g})."
        self.sentences.append(
            f"Second stage ({config.second_stage.replace('_', ' ')}): {in_words(*state['figures'])}; {kept}"
        )
        return strength

    def _learned_features(self, network: Classifier) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features of the training and of the validation images as they are; the backbone learns no more after this."""
        if self.learned is None:
            self.learned = plain_features(network, self.data, self.config, self.views, self.progress)
        return self.learned

    def _cross_fit(self, recipe: Recipe) -> CrossFit:
        if self.config.cross_fit_folds:
            result, seconds, folds = cross_fit(
                self.data, self.config, recipe, self.run_dir, self.owner, self.progress, self.team
            )
            self.seconds += seconds
            if folds:
                self.sentences.append(
                    f"Triage thresholds rest on {len(result.labels)} training and validation images, each predicted by"
                    f" one of {folds} models that saw neither it nor its group."
                )
                return result
        self.sentences.append(f"Triage thresholds rest on the {len(self.data.val)} validation images.")
        return CrossFit.none(self.classes)
