"""Folds for predictions by models that never saw an image or its group."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress
from domain_models.backbones import Classifier
from domain_models.batches import AugmentedImages, Batches
from domain_models.checkpoints import load_checkpoint, save_checkpoint
from domain_models.fine_tuning import fine_tune
from domain_models.inference import embed, predict_logits
from domain_models.linear_probe import LinearProbe, fit_linear_probe
from domain_models.stage_split import freeze_stages
from domain_models.team import ALONE, Team
from domain_models.training_config import TrainingConfig
from domain_models.training_data import CrossFit, LabelledImages, TrainingData
from domain_models.training_phases import (
    Recipe,
    classifier_of,
    fresh_network,
    loss_prior,
    probe_views,
    set_classifier,
    view_features,
)
from domain_models.two_stage import SECOND_STAGES


def group_folds(
    labels: NDArray[np.int64], groups: tuple[str, ...], folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split into folds: stratified by class, no group on both sides.

    Args:
        labels: int64 [n].
        groups: n groups.
        folds: how many; fewer come back where there are fewer groups.
        seed: decides who falls where.

    Returns:
        (training positions, held-out positions), int64 each, per fold.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    count = min(folds, int(numbers.max(initial=-1)) + 1)
    if count < 2:
        return []
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        pairs = list(splitter.split(np.zeros(len(labels)), labels, numbers))
    return [(train.astype(np.int64), held.astype(np.int64)) for train, held in pairs if len(train) and len(held)]


def cross_fit(
    data: TrainingData,
    config: TrainingConfig,
    recipe: Recipe,
    run_dir: Path,
    owner: str,
    progress: Progress = SILENT,
    team: Team = ALONE,
) -> tuple[CrossFit, float, int]:
    """Predict every training and validation image by a model that saw neither it nor its group.

    Fold models are made like the model itself, by its recipe, on the other folds of training and validation together;
    each fold is checkpointed.

    Args:
        data: training and validation images.
        config: of the model; ``cross_fit_folds`` says how many folds.
        recipe: what the model's own training found out.
        run_dir: for checkpoints.
        owner: key of configuration and data.
        progress: told of each fold.
        team: the processes that fine-tune together.

    Returns:
        The predictions (of images with a weight), the seconds they took, and the number of folds (0: impossible).
    """
    classes = len(data.classes)
    everything = data.train.joined(data.val)
    folds = group_folds(everything.labels, everything.groups, config.cross_fit_folds, config.seed)
    if not folds:
        return CrossFit.none(classes), 0.0, 0
    fitter = _FoldFitter(data, everything, config, recipe, progress, team)
    logits = np.zeros((len(everything), classes), dtype=np.float32)
    seconds = 0.0
    for number, (train, held) in enumerate(folds):
        path = run_dir / f"fold-{number}.pt"
        state = load_checkpoint(path, owner)
        if state is None:
            started = time.perf_counter()
            fitted = fitter.held_out_logits(train, held, f"Cross-fitting, fold {number + 1} of {len(folds)}")
            state = {"logits": torch.from_numpy(fitted), "seconds": time.perf_counter() - started}
            save_checkpoint(path, state, owner)
        logits[held] = state["logits"].numpy()
        seconds += state["seconds"]
    used = np.flatnonzero(everything.weights > 0)
    ids, groups = everything.image_ids, everything.groups
    return (
        CrossFit(tuple(ids[i] for i in used), logits[used], everything.labels[used], tuple(groups[i] for i in used)),
        seconds,
        len(folds),
    )


class _FoldFitter:
    """Makes fold models; the features of the untouched backbone are computed once for all of them."""

    def __init__(
        self,
        data: TrainingData,
        everything: LabelledImages,
        config: TrainingConfig,
        recipe: Recipe,
        progress: Progress,
        team: Team,
    ) -> None:
        self.team = team
        self.everything, self.config, self.recipe, self.progress = everything, config, recipe, progress
        self.classes, self.pool = len(data.classes), data.pool
        self._features = recipe.features

    def held_out_logits(self, train: NDArray[np.int64], held: NDArray[np.int64], name: str) -> NDArray[np.float32]:
        """Logits float32 [len(held), k] of a model trained on the other positions."""
        network = fresh_network(self.config, self.classes)
        starts_from_probe = self.recipe.epochs == 0 or self.config.keeps_pretrained_statistics
        if self.recipe.penalty is not None and starts_from_probe:
            set_classifier(network, self._probe(network, train, self.recipe.penalty))
        if self.recipe.epochs == 0 and self.recipe.strength is None:
            return classifier_of(network).logits(self._probe_features(network)[0][held])
        if self.recipe.epochs > 0:
            self._fine_tune(network, train, held, name)
        if self.recipe.strength is not None:
            self._rebalance(network, train, self.recipe.strength)
        spec, device = self.config.preprocessing, self.config.device
        if self.recipe.views is not None:
            return self.recipe.views.logits(network, held, device)
        return predict_logits(network, self.everything.images.subset(held), spec, device=device)

    def _probe_features(self, network: Classifier) -> list[NDArray[np.float32]]:
        views = self.recipe.views
        if self._features is None and views is not None and probe_views(self.config) == 1:
            everyone = np.arange(len(self.everything))
            self._features = [views.features(network, everyone, self.config.device, self.progress)]
        if self._features is None:
            self._features = view_features(network, self.everything, self.config, self.progress)
        return self._features

    def _probe(self, network: Classifier, train: NDArray[np.int64], penalty: float) -> LinearProbe:
        views = self._probe_features(network)
        labels, weights = self.everything.labels[train], self.everything.weights[train]
        return fit_linear_probe(
            np.concatenate([view[train] for view in views]),
            np.tile(labels, len(views)),
            np.tile(weights, len(views)),
            self.classes,
            penalty=penalty,
            prior=loss_prior(self.config, labels, weights, self.classes),
        )

    def _fine_tune(self, network: Classifier, train: NDArray[np.int64], held: NDArray[np.int64], name: str) -> None:
        frozen = freeze_stages(network, self.config.frozen_stages)
        views = self.recipe.views
        batches: Batches
        if views is None:
            batches = AugmentedImages(self.everything.images, self.everything.image_ids, self.config)
        else:
            batches = views.joined
        weights = np.zeros_like(self.everything.weights)
        weights[train] = self.everything.weights[train]
        fine_tune(
            network,
            frozen,
            batches,
            self.everything.labels,
            weights,
            self.config,
            inputs_are_maps=views is not None,
            epochs=self.recipe.epochs,
            validate=None,
            pool=self.pool.without({self.everything.groups[i] for i in held}) if self.pool is not None else None,
            progress=self.progress,
            what=name,
            team=self.team,
        )

    def _rebalance(self, network: Classifier, train: NDArray[np.int64], strength: float) -> None:
        images, device = self.everything.subset(train), self.config.device
        if self.recipe.views is not None:
            features = self.recipe.views.features(network, train, device)
        else:
            features = embed(network, images.images, self.config.preprocessing, device=device)
        candidates = SECOND_STAGES[self.config.second_stage](
            classifier_of(network), features, images.labels, images.weights, (strength,)
        )
        set_classifier(network, candidates[0].classifier)
