"""The one door to timm.

timm imports torchvision, and torchvision beside a CPU build of torch from another index does not load its compiled
operators (``operator torchvision::nms does not exist``). Nothing here uses those operators, so where they are missing
their schemas are declared and the import goes on. On a normal installation this does nothing.
"""

from __future__ import annotations

import fnmatch
import sys
from functools import cache
from types import ModuleType
from typing import Any

import torch

from domain_models.shufflenet import NAMES as SHUFFLENETS
from domain_models.shufflenet import create_shufflenet

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_DECLARED: list[torch.library.Library] = []  # a Library that is collected takes its schemas with it


def _declare_missing_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)  # type: ignore[no-untyped-call]
    _DECLARED.append(library)


@cache
def timm() -> ModuleType:
    """The timm package, imported once.

    Raises:
        ImportError: timm or torchvision is not installed.
    """
    try:
        import torchvision  # type: ignore[import-untyped]  # noqa: F401
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
            del sys.modules[name]  # the half-imported package
        _declare_missing_operators()
    import timm as package

    module: ModuleType = package
    return module


def create_timm_model(name: str, **arguments: Any) -> torch.nn.Module:
    """``timm.create_model`` behind the import shim, and ShuffleNetV2, which timm lacks.

    Never reaches for the network unless ``pretrained=True``.
    """
    package = timm()  # also makes torchvision importable
    if name in SHUFFLENETS:
        return create_shufflenet(name, **arguments)
    network: torch.nn.Module = package.create_model(name, **arguments)
    return network


def takes_one_size(name: str) -> bool:
    """Whether a network is built for one size of images, as transformers are, and takes no other."""
    if name in SHUFFLENETS:
        return False
    timm()
    from timm.models import get_pretrained_cfg

    known = get_pretrained_cfg(name)
    return bool(known is not None and known.fixed_input_size)


def timm_model_names(pattern: str = "*") -> list[str]:
    """Names of the architectures that timm knows, for error messages."""
    return [*timm().list_models(pattern), *fnmatch.filter(SHUFFLENETS, pattern)]
