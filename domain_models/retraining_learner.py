"""A learner that is trained as models are in production: fully at first, then incrementally from round to round.

Embeddings adapt as labels grow, so that a strategy which looks at them is judged as it will be used. A full training is
due where :func:`~domain_models.retraining_choice.choose_mode` says so and whenever the labels have doubled since the
last one: it stands for the monthly full training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress
from domain_models.backbones import Classifier
from domain_models.calibrators import choose_calibration
from domain_models.decision_costs import EQUAL_COSTS
from domain_models.incremental import Champion, Increment, class_counts, learn_increment
from domain_models.incremental_config import incremental_config
from domain_models.inference import embed
from domain_models.learners import Learned, everything_alike
from domain_models.presets import DataFacts, Preset, choose
from domain_models.replay import plan_replay
from domain_models.retraining_choice import ChangeFacts, Mode, choose_mode
from domain_models.selection.pool import Pool
from domain_models.selection_arms import Judges
from domain_models.training import train
from domain_models.training_config import TrainingConfig, with_overrides
from domain_models.training_data import LabelledImages, TrainedModel, TrainingData
from domain_models.training_phases import classifier_of

FULL_AGAIN_AFTER = 2.0
"""A full training is due once there are so many times the labels of the last one."""


@dataclass(frozen=True)
class ReplayImages:
    """The images of one replay, all prepared alike.

    Attributes:
        pool: aligned with the pool; its labels are not looked at.
        val: with their labels, which every strategy has.
        test: nobody trains on them.
        facts: of the whole data set; says how images are prepared.
    """

    pool: LabelledImages
    val: LabelledImages
    test: LabelledImages
    facts: DataFacts


class RetrainingLearner:
    """Trains a network in each round; a killed replay, begun again, finds the checkpoints of its rounds.

    Args:
        images: of the replay.
        judges: whose labels count.
        preset: of full trainings.
        folder: of this replay and of no other.
        seed: of all trainings.
        overrides: single settings of full trainings that differ from the preset, ``key=value``.
        progress: told of each round.
    """

    def __init__(
        self,
        images: ReplayImages,
        judges: Judges,
        preset: Preset,
        folder: Path,
        seed: int,
        overrides: tuple[str, ...] = (),
        progress: Progress = SILENT,
    ) -> None:
        self._images, self._judges, self._preset, self._overrides = images, judges, preset, overrides
        self._folder, self._seed, self._progress = folder, seed, progress
        self._preprocessing = with_overrides(choose(preset, images.facts)[0], overrides).preprocessing
        self._model: TrainedModel | None = None
        self._known = np.zeros(0, dtype=np.int64)
        self._full_at = self._round = 0

    def learn(self, pool: Pool) -> Learned:
        """Train on from the last round's model, or anew, and look at every image."""
        rows = np.flatnonzero(pool.labelled)
        labels = pool.labels[rows]
        self._round += 1
        if len(np.unique(labels)) < 2:
            return everything_alike(pool, self._judges, int(labels[0]))
        images = replace(self._images.pool.subset(rows), labels=labels)
        run_dir = self._folder / f"round-{self._round:03}"
        changed = ~np.isin(rows, self._known)
        full = self._model is None or self._mode(pool.classes, labels, changed) is Mode.FULL
        self._progress.say(f"Round {self._round}: {len(rows):,} labels, {'full' if full else 'incremental'} training.")
        if self._model is None or full:
            self._model, self._full_at = self._trained(pool.classes, images, run_dir), len(rows)
        else:
            self._model = self._retrained(pool.classes, images, changed, self._model, run_dir)
        self._known = rows
        return self._told(self._model, pool)

    def _mode(self, classes: tuple[str, ...], labels: NDArray[np.int64], changed: NDArray[np.bool_]) -> Mode:
        if len(labels) >= FULL_AGAIN_AFTER * self._full_at:
            return Mode.FULL
        new, old = np.unique(labels[changed]), np.unique(labels[~changed])
        counts = class_counts(labels, len(classes))
        facts = ChangeFacts(
            changed=int(changed.sum()),
            training_images=len(labels),
            new_classes={classes[i]: int(counts[i]) for i in np.setdiff1d(new, old)},
        )
        return choose_mode(facts).mode

    def _trained(self, classes: tuple[str, ...], images: LabelledImages, run_dir: Path) -> TrainedModel:
        counts = class_counts(images.labels, len(classes))
        facts = self._images.facts.model_copy(
            update={"class_counts": {name: int(n) for name, n in zip(classes, counts, strict=True) if n}}
        )
        config = choose(self._preset, facts)[0].model_copy(update={"preprocessing": self._preprocessing})
        config = with_overrides(config, [f"seed={self._seed}", "cross_fit_folds=0", *self._overrides])
        return train(TrainingData(classes, images, self._images.val), config, run_dir)

    def _retrained(
        self,
        classes: tuple[str, ...],
        images: LabelledImages,
        changed: NDArray[np.bool_],
        before: TrainedModel,
        run_dir: Path,
    ) -> TrainedModel:
        plan = plan_replay(images.labels, changed, self._seed)
        seen = replace(images.subset(plan.positions), weights=plan.weights)
        data = TrainingData(classes, seen, self._images.val)
        config = incremental_config(before.config, before.network, seed=self._seed, device=before.config.device)
        counts = class_counts(images.labels, len(classes))
        learned = learn_increment(
            Champion(before.network, classes, f"{self._folder.name}-{self._round - 1}"),
            Increment(data, plan.changed, plan.fine_tuning_weights, counts),
            config,
            run_dir,
            self._folder / "activations",
        )
        return learned.trained

    def _told(self, model: TrainedModel, pool: Pool) -> Learned:
        val = self._images.val
        calibration, _ = choose_calibration(
            model.val_logits,
            val.labels,
            groups=val.groups,
            keep_decisions=model.decision_costs == EQUAL_COSTS,
            seed=self._seed,
        )
        features = self._features(model.network, self._images.pool, model.config)
        said = calibration.probabilities(classifier_of(model.network).logits(features))
        probabilities = np.where(pool.labelled[:, None], pool.probabilities, said)  # what it has seen keeps its own
        test = classifier_of(model.network).logits(self._features(model.network, self._images.test, model.config))
        return Learned(
            probabilities,
            model.decision_costs.predicted(calibration.probabilities(model.val_logits)),
            model.decision_costs.predicted(calibration.probabilities(test)),
            features,
        )

    def _features(self, network: Classifier, images: LabelledImages, config: TrainingConfig) -> NDArray[np.float32]:
        return embed(network, images.images, self._preprocessing, device=config.device)
