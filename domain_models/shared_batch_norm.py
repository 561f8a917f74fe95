"""Batch normalisation over the parts of a batch that lie on several GPUs."""

from __future__ import annotations

import copy

from torch import nn

from domain_models.backbones import Classifier
from domain_models.timm_models import timm


def with_shared_statistics(part: Classifier) -> Classifier:
    """A twin of a network whose batch normalisation sees the whole batch, wherever its parts lie.

    The twin has modules of its own and shares every parameter and every running statistic, so what it learns the
    network has learned, and the network can be kept, exported and used on one device as if there had been no twin.
    """
    twin: Classifier = timm().layers.convert_sync_batchnorm(_twin_of(part))
    return twin


def _twin_of(module: nn.Module) -> nn.Module:
    twin = copy.copy(module)
    twin._modules = {name: None if child is None else _twin_of(child) for name, child in module._modules.items()}
    return twin
