"""Cutting a network behind a stage: what comes before is computed once, what comes after is trained.

Works for any network whose stages run one after another. The cut is made by running the network once and noting which
modules have finished when the stage has; in the second part those modules are passed through. Whether the two parts
together compute what the whole computes is checked on a batch, not assumed.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from data_contracts.errors import BadInput
from domain_models.architecture import Mirror
from domain_models.backbones import Classifier
from domain_models.mirroring import both_looks, side_by_side


class _StageReached(Exception):
    pass


def freeze_stages(network: Classifier, count: int) -> list[str]:
    """Stop the first ``count`` stages (stem included) from learning; returns the paths of the frozen modules.

    Their parameters get no gradient. Call :func:`set_training_mode` instead of ``network.train()`` afterwards, so that
    their batch normalisation keeps its statistics and their dropout stays off.

    Raises:
        BadInput: the network has fewer stages.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    if count == 0:
        return []
    finished = _finished_modules(network, _stage_module(network, count))
    for path in finished:
        for parameter in network.body.get_submodule(path).parameters():
            parameter.requires_grad_(False)
    return finished


def set_training_mode(network: Classifier, frozen: list[str], *, keep_batch_statistics: bool = False) -> None:
    """Training mode for all but the frozen modules; with ``keep_batch_statistics``, for no batch normalisation."""
    network.train()
    for path in frozen:
        network.body.get_submodule(path).eval()
    if keep_batch_statistics:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


@contextlib.contextmanager
def prefix_of(network: Classifier, count: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """The first ``count`` stages as a function of normalised images, float32 [n, 3, H, W] to [n, c, h, w].

    Of a network that looks at each image twice, the maps of both looks are one row, [n, 2c, h, w]. It may be called
    from several threads at once.
    """
    mirror = network.architecture.mirror

    def reached(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        raise _StageReached(output)

    def prefix(images: Tensor) -> Tensor:
        try:
            network.body(images if mirror is Mirror.NONE else both_looks(images, mirror))
        except _StageReached as signal:
            output: Tensor = signal.args[0]
            return output if mirror is Mirror.NONE else side_by_side(output)
        raise AssertionError("the stage was never reached")

    handle = _stage_module(network, count).register_forward_hook(reached)
    try:
        yield prefix
    finally:
        handle.remove()


def suffix_of(network: Classifier, frozen: list[str]) -> Classifier:
    """The network without its frozen modules, sharing all other modules (and so their parameters) with it."""
    suffix: Classifier = _shallow(network)
    suffix._modules["body"] = _without(network.body, frozen)
    suffix.begins_with_maps = True
    return suffix


def splits_exactly(network: Classifier, frozen: list[str], images: Tensor, count: int) -> bool:
    """Whether the two parts one after the other give the whole network's logits on a batch (evaluation mode)."""
    network.eval()
    with torch.inference_mode():
        whole = network(images)
        with prefix_of(network, count) as prefix:
            maps = prefix(images)
        try:
            parts = suffix_of(network, frozen)(maps)
        except (RuntimeError, TypeError, ValueError, IndexError):
            return False  # the network is no plain chain of stages
    return bool(torch.allclose(whole, parts, rtol=1e-4, atol=1e-5))


def _stage_module(network: Classifier, count: int) -> nn.Module:
    if count > len(network.stages):
        raise BadInput(
            f"frozen_stages={count}: {network.architecture.backbone} has {len(network.stages)} stages.",
            remedy=f"Give at most {len(network.stages)}.",
        )
    return network.body.get_submodule(network.stages[count - 1][0])


def _finished_modules(network: Classifier, stage: nn.Module) -> list[str]:
    """Paths (within the body) of the outermost modules that are done once ``stage`` is, in order."""
    names = {module: name for name, module in network.body.named_modules() if name}
    done: list[str] = []

    def note(module: nn.Module, _inputs: Any, _output: Any) -> None:
        if module in names:
            done.append(names[module])
        if module is stage:
            raise _StageReached

    handles = [module.register_forward_hook(note) for module in names]
    modes = {module: module.training for module in network.modules()}
    device = next(network.parameters()).device
    network.eval()
    try:
        with torch.inference_mode():
            network(torch.zeros((1, 3, 64, 64), device=device))
    except _StageReached:
        pass
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    finished = set(done)
    return [name for name in done if not any(name.startswith(f"{other}.") for other in finished)]


def _shallow(module: nn.Module) -> Any:
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def _without(module: nn.Module, frozen: list[str], prefix: str = "") -> nn.Module:
    twin: nn.Module = _shallow(module)
    for name, child in module._modules.items():
        path = f"{prefix}{name}"
        if path in frozen:
            twin._modules[name] = nn.Identity()
        elif child is not None and any(other.startswith(f"{path}.") for other in frozen):
            twin._modules[name] = _without(child, frozen, f"{path}.")
    return twin
