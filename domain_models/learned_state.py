"""What an optimiser moves and a checkpoint keeps: parameters in groups, a network's state, its moving average."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from domain_models.backbones import Classifier
from domain_models.training_config import TrainingConfig


def parameter_groups(network: Classifier, config: TrainingConfig) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels only; the classifier at its own rate."""
    classifier = {id(p) for p in network.classifier.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            factor = config.classifier_rate_factor if id(parameter) in classifier else 1.0
            groups.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "rate_factor": factor}
        for (decay, factor), parameters in groups.items()
    ]


def learned_state(network: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and statistics by name."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def set_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Give a network the weights and statistics of :func:`learned_state`."""
    network.load_state_dict(state, strict=True)


def move_average(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    """Move an average of the weights a little, in place: ``decay`` of it and ``1 - decay`` of the network."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1.0 - decay)
            else:
                average[name].copy_(value)
