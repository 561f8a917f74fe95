"""Structured pruning: whole channels leave a network, the least important first, so that it is smaller and faster.

Channels that depend on one another (through residual additions, depthwise convolutions, squeeze-and-excitation) leave
together; the library torch-pruning finds which do (Fang et al.: DepGraph, CVPR 2023). Important is what has large
weights: the mean L1 norm over all layers of a group (Li et al.: Pruning Filters for Efficient ConvNets, ICLR 2017).
What is left has to be fine-tuned before it is worth anything.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from importlib.util import find_spec

import torch
from torch import nn

from data_contracts.errors import BadInput
from domain_models.attention import AttendedStage
from domain_models.backbones import Classifier
from domain_models.widths import narrowed, widths_of

MULTIPLE = 8
"""Widths are multiples of so many channels: what vector instructions take at once, so others would gain nothing."""

TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest, between the network as it was pruned and as it is built."""


def require_pruning() -> None:
    """See that the library is there.

    Raises:
        BadInput: it is not.
    """
    if find_spec("torch_pruning") is None:
        raise BadInput(
            "Pruning needs the package torch-pruning, which is not installed.",
            remedy='Install it with `pip install -c constraints.txt "tailsight[compress]"`.',
        )


def pruned(network: Classifier, keep: float, height: int, width: int) -> Classifier:
    """A narrower copy of a network, with the weights of the channels that stay; to be fine-tuned.

    Each group of layers that belong together keeps a share of its channels, to the nearest multiple of `MULTIPLE`. The
    classes stay, and so do channels that an attention gate weighs, because a gate is made for them.

    Args:
        network: any network of convolutions, linear layers and batch normalisation; unchanged.
        keep: share of the channels, above 0 and below 1.
        height: of its images, px.
        width: of its images, px.

    Returns:
        In evaluation mode, on the CPU; its architecture says its widths.

    Raises:
        BadInput: the library is missing, or this kind of network cannot be pruned.
        ValueError: ``keep`` is no share.
    """
    if not 0 < keep < 1:
        raise ValueError(f"keep is {keep}, and has to lie between 0 and 1")
    require_pruning()
    body = copy.deepcopy(network.body).to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    architecture = network.architecture
    gates, markers = _without_gates(body, dict(network.stages))
    try:
        _remove_channels(body, keep, markers, torch.zeros((2, 3, height, width)))
    except Exception as error:  # the library stumbles in its own ways over what it does not know
        raise _impossible(architecture.backbone, f"torch-pruning: {type(error).__name__}: {error}") from None
    for stage, gate in gates.items():
        stage.gate = gate
    whole = Classifier(architecture.model_copy(update={"widths": {}}))
    result = Classifier(architecture.model_copy(update={"widths": narrowed(body, whole.body)}))
    try:
        result.body.load_state_dict(body.state_dict(), strict=True)
    except RuntimeError:
        raise _impossible(architecture.backbone, "its layers do not fit together afterwards") from None
    _check_same(result.eval(), body, height, width)
    return result


def _without_gates(
    body: nn.Module, channels: Mapping[str, int]
) -> tuple[dict[AttendedStage, nn.Module], list[nn.Module]]:
    """Put a layer that may not be pruned in the place of each gate, so that the channels before it stay too."""
    gates: dict[AttendedStage, nn.Module] = {}
    for path, module in list(body.named_modules()):
        if isinstance(module, AttendedStage):
            gates[module], count = module.gate, channels[path]
            module.gate = nn.Conv2d(count, count, 1, groups=count, bias=False)
    return gates, [stage.gate for stage in gates]


def _remove_channels(body: nn.Module, keep: float, markers: list[nn.Module], example: torch.Tensor) -> None:
    import torch_pruning

    stays = [body.get_classifier(), *markers]  # type: ignore[operator]
    modules = dict(body.named_modules())
    shares = {
        modules[path]: _share_to_remove(outputs, keep)
        for path, (_, outputs) in widths_of(body).items()
        if isinstance(modules[path], nn.Conv2d | nn.Linear)
    }
    for parameter in body.parameters():
        parameter.requires_grad_(True)  # the library follows gradients from layer to layer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it cannot follow shows in the network that is built of the widths
        torch_pruning.pruner.BasePruner(
            body,
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=1),
            pruning_ratio=1.0 - keep,
            pruning_ratio_dict=shares,
            ignored_layers=stays,
        ).step()


def _share_to_remove(channels: int, keep: float) -> float:
    """So much of a layer's channels that a multiple of `MULTIPLE` stays, nearest to what was asked for."""
    left = min(channels, max(MULTIPLE, MULTIPLE * round(channels * keep / MULTIPLE)))
    return max(0.0, 1.0 - (left + 0.5) / channels)  # half a channel, because the library rounds down what stays


def _check_same(built: Classifier, body: nn.Module, height: int, width: int) -> None:
    chance = torch.Generator().manual_seed(0)
    images = torch.randn((2, 3, height, width), generator=chance)
    with torch.inference_mode():
        try:
            expected = body(images)
            difference = (built.body(images) - expected).abs().max()
        except RuntimeError:
            raise _impossible(built.architecture.backbone, "its layers do not fit together afterwards") from None
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise _impossible(built.architecture.backbone, "built anew from its widths, it computes something else")


def _impossible(backbone: str, why: str) -> BadInput:
    return BadInput(
        f"The backbone {backbone!r} cannot be pruned ({why}).",
        cause="Pruning knows networks of convolutions, linear layers and batch normalisation.",
        remedy="Train a smaller backbone, for example tf_efficientnet_lite0.",
    )
