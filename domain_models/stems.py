"""Stems for tiny images: a first layer that looks at every pixel instead of every second one.

A backbone made for photographs halves its input in its first layer and again four times after it. Of an image of
24 x 40 px that leaves one place. With a first stride of 1 its weights stay as they are and every map is twice as large.
"""

from __future__ import annotations

from torch import nn

from data_contracts.errors import BadInput


def keep_resolution(body: nn.Module, backbone: str) -> None:
    """Give the first convolution a stride of 1, in place.

    Raises:
        BadInput: the first convolution has no stride of 2 (it cuts patches, for example).
    """
    first = next((module for module in body.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or tuple(first.stride) != (2, 2):
        stride = None if first is None else first.stride[0]
        raise BadInput(
            f"fine_stem: the first layer of {backbone!r} has no stride of 2"
            + ("." if stride is None else f", but one of {stride}."),
            remedy="Use another backbone (tf_efficientnet_lite0, resnet18), or enlarge the images instead.",
        )
    first.stride = (1, 1)
