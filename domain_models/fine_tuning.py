"""The epoch loop: fine-tunes a network, checkpoints each epoch, stops early, keeps the best epoch.

Everything random in an epoch comes from (seed, epoch), so a training that was killed in any epoch and run again ends
with the weights of one that was not.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress
from domain_models.architecture import HeadKind
from domain_models.backbones import Classifier
from domain_models.batches import Batches
from domain_models.checkpoints import load_checkpoint, save_checkpoint
from domain_models.fine_tuned import AfterEpoch, FineTuned, Memory, Validation
from domain_models.heads import to_unit_rows
from domain_models.pool_learning import PoolLearner
from domain_models.run_profile import RunProfile
from domain_models.team import ALONE, Team
from domain_models.team_job import write_job
from domain_models.training_config import TrainingConfig
from domain_models.training_data import UnlabelledImages
from domain_models.training_run import TrainingRun


def fine_tune(
    network: Classifier,
    frozen: list[str],
    batches: Batches,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    config: TrainingConfig,
    *,
    inputs_are_maps: bool,
    epochs: int,
    validate: Validation | None,
    memory: Memory | None = None,
    pool: UnlabelledImages | None = None,
    give_up_above: float | None = None,
    checkpoint: Path | None = None,
    owner: str = "",
    progress: Progress = SILENT,
    what: str = "Training",
    after_epoch: AfterEpoch | None = None,
    profile: RunProfile | None = None,
    team: Team = ALONE,
) -> FineTuned:
    """Train in place; at the end the network has the weights of its best epoch.

    Args:
        network: with its first classifier.
        frozen: paths of modules that do not learn; see :func:`~domain_models.stage_split.freeze_stages`.
        batches: gives the inputs.
        labels: int64 [n].
        weights: float64 [n].
        config: how.
        inputs_are_maps: the inputs are outputs of the frozen stages, not images.
        epochs: how many at most.
        validate: scores the network after each epoch; ``None`` keeps the last epoch.
        memory: added to the loss of each image; not with MixUp or CutMix, whose inputs are no image's.
        pool: images without a label that are learned as well, see :mod:`~domain_models.pool_learning`.
        give_up_above: training ends after its first epoch where the calibrated log-loss of ``validate`` is above this.
        checkpoint: where to save each epoch; ``None`` does not.
        owner: key of configuration and data; see :mod:`~domain_models.checkpoints`.
        progress: told of each image, with loss and images per second.
        what: name of the step.
        after_epoch: told of each epoch; may raise to end training.
        profile: measures where the time goes.
        team: the processes that train together; several take neither a memory nor a pool.
    """
    torch.manual_seed(config.seed)
    network.to(device=config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = TrainingRun(
        network, frozen, batches, labels, weights, config, inputs_are_maps, epochs, memory, give_up_above, profile, team
    )
    if pool is not None:
        classes = network.architecture.classes
        run.pool = PoolLearner(pool, labels, weights, classes, config, inputs_are_maps=inputs_are_maps)
    state = load_checkpoint(checkpoint, owner) if checkpoint is not None else None
    if state is not None:
        run.restore(state)
    elif config.probe and not config.keeps_pretrained_statistics:
        # The probe was fitted under the pretrained batch statistics and is worth nothing under those of each batch
        # (x-sdd, its own first batch: loss 2.5 instead of 0.006).
        network.classifier.reset_parameters()
    if state is None and config.head is HeadKind.COSINE:
        if not bool(network.classifier.weight.any()):
            network.classifier.reset_parameters()
        to_unit_rows(network.classifier)
    used = int((weights > 0).sum())
    steps = (epochs - run.epoch) * run.steps_per_epoch
    watching = profile.watching(steps, config.device) if profile is not None else contextlib.nullcontext()
    start = checkpoint if state is not None else None

    def describe(folder: Path) -> Path:
        return write_job(
            folder,
            network.architecture,
            config,
            batches,
            labels,
            weights,
            inputs_are_maps=inputs_are_maps,
            epochs=epochs,
            checkpoint=start,
            owner=owner,
        )

    with team.leading(describe), watching, progress.step(what, total=epochs * used) as step:
        run.join()
        step.advance(run.epoch * used)
        while run.epoch < epochs and run.epochs_without_gain < config.early_stopping and not run.hopeless:
            started = time.perf_counter()
            with team.epoch():
                loss = run.train_epoch(lambda n, note: step.advance(n, note))
            seconds = time.perf_counter() - started
            run.end_epoch(loss, seconds, validate)
            if checkpoint is not None:
                save_checkpoint(checkpoint, run.state(), owner)
            if after_epoch is not None:
                after_epoch(run.history[-1])
    run.take_best()
    return FineTuned(run.history, run.best_epoch, run.best_score[0], sum(row["seconds"] for row in run.history))
