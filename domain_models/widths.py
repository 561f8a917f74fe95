"""How wide the layers of a pruned network are: what pruning left, as plain numbers that a card can hold.

A pruned network is built by building the whole one and giving its layers their widths before weights are loaded, so
nothing of the pruning library is needed, and nothing is unpickled, where it is only used.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from data_contracts.errors import IntegrityError
from domain_models.architecture import Widths


def widths_of(body: nn.Module) -> Widths:
    """(inputs, outputs) of every convolution, linear layer and batch normalisation, by path."""
    return {path: _width(module) for path, module in body.named_modules() if _width(module) != (0, 0)}


def narrowed(body: nn.Module, whole: nn.Module) -> Widths:
    """The widths in which a body differs from the whole one that it came from."""
    usual = widths_of(whole)
    return {path: width for path, width in widths_of(body).items() if usual.get(path) != width}


def apply_widths(body: nn.Module, widths: Mapping[str, tuple[int, int]]) -> None:
    """Give layers their widths, in place; their weights are random afterwards.

    A convolution with a group for each channel keeps one for each channel that is left; with any other number of groups
    it keeps that number.

    Raises:
        IntegrityError: there is no such layer, or it has no width.
    """
    modules = dict(body.named_modules())
    for path, (inputs, outputs) in widths.items():
        module = modules.get(path)
        if isinstance(module, nn.Conv2d):
            if module.groups > 1 and module.groups == module.in_channels:
                module.groups = inputs
            module.in_channels, module.out_channels = inputs, outputs
            shape = (outputs, inputs // module.groups, *module.kernel_size)
            module.weight = nn.Parameter(torch.empty(shape))
        elif isinstance(module, nn.Linear):
            module.in_features, module.out_features = inputs, outputs
            module.weight = nn.Parameter(torch.empty((outputs, inputs)))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.num_features = outputs
            if module.affine:
                module.weight = nn.Parameter(torch.empty(outputs))
            if module.track_running_stats:
                module.running_mean, module.running_var = torch.zeros(outputs), torch.ones(outputs)
        else:
            raise IntegrityError(
                f"The card gives {path!r} a width of {outputs} channels, and the network has no such layer.",
                cause="It was written by another version of timm, or the card was edited.",
            )
        if getattr(module, "bias", None) is not None:
            module.bias = nn.Parameter(torch.empty(outputs))
        module.reset_parameters()


def _width(module: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a layer that has a width, (0, 0) of any other module."""
    if isinstance(module, nn.Conv2d):
        return module.in_channels, module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.num_features, module.num_features
    return 0, 0
