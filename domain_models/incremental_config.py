"""How an incremental training goes on from a champion: a configuration that follows from the champion's own."""

from __future__ import annotations

import torch

from domain_models.architecture import HeadKind
from domain_models.backbones import Classifier
from domain_models.stage_split import freeze_stages, splits_exactly
from domain_models.supervision_settings import PoolSettings, TeacherSettings
from domain_models.training_config import LossKind, ReweightingKind, SamplerKind, SecondStageKind, TrainingConfig

EPOCHS = 3
VIEWS_OF_CHANGED = 3
LEARNING_RATE = 3e-4
BATCH_SIZE = 16
"""Small, so that few images still make enough steps."""

CHAMPION_WEIGHTS = "champion"
"""What a configuration says of its weights when training began with those of the champion."""


def incremental_config(champion: TrainingConfig, network: Classifier, *, seed: int, device: str) -> TrainingConfig:
    """How to go on from a champion: its network and preprocessing, the last stage learning for a few epochs.

    Where the champion's backbone was never fine-tuned, or cannot be cut behind a stage, the classifier alone learns
    (``epochs`` 0).

    Args:
        champion: configuration of the champion.
        network: of the champion.
        seed: of the new training.
        device: a torch device.
    """
    stages = max(0, len(network.stages) - 1)
    learns = champion.epochs > 0 and stages > 0 and _can_be_cut(network, stages, champion)
    return champion.model_copy(
        update={
            "seed": seed,
            "device": device,
            "weights": CHAMPION_WEIGHTS,
            "probe": not learns,
            "probe_views": 1,
            "epochs": EPOCHS if learns else 0,
            "frozen_stages": stages if learns else 0,
            "cached_views": VIEWS_OF_CHANGED if learns else 0,
            "keep_batch_statistics": True,
            "batch_size": BATCH_SIZE,
            "learning_rate": LEARNING_RATE,
            "warm_up_epochs": 0.3,
            "average_decay": 0.0,
            "early_stopping": EPOCHS,
            "mixup_alpha": 0.0,
            "cutmix_alpha": 0.0,
            "loss": LossKind.CROSS_ENTROPY,
            "levels": (),  # a class may be new
            "second_stage": SecondStageKind.LOGIT_ADJUSTMENT,
            "cross_fit_folds": 0,
            "reweighting": ReweightingKind.NONE,
            "sampler": SamplerKind.NATURAL,
            "later_sampler": None,
            "pool": PoolSettings(),
            "teacher": TeacherSettings(),  # the champion holds the network to what it knows
            "head": HeadKind.LINEAR,  # the network keeps its own, but a rebalanced classifier has no unit rows to hold
        }
    )


def _can_be_cut(network: Classifier, stages: int, config: TrainingConfig) -> bool:
    spec = config.preprocessing
    device = next(network.parameters()).device
    learning = [parameter.requires_grad for parameter in network.parameters()]
    frozen = freeze_stages(network, stages)
    example = torch.rand((2, 3, spec.height, spec.width), generator=torch.Generator().manual_seed(0)).to(device)
    exact = splits_exactly(network, frozen, example, stages)
    for parameter, wanted in zip(network.parameters(), learning, strict=True):
        parameter.requires_grad_(wanted)
    return exact
