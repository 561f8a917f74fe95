"""Attention gates that can be put behind any stage of a pretrained CNN without disturbing it.

Every gate multiplies its input by ``2 * sigmoid(z)`` where the last layer that makes ``z`` starts at zero: at the
start each factor is exactly 1, the network computes what it computed before, and the gate learns from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from domain_models.architecture import AttentionKind


class ChannelAttention(nn.Module):
    """Weighs channels from their average and maximum over the image (Woo et al., CBAM, ECCV 2018, eq. 2).

    Args:
        channels: of the feature map.
        reduction: channels / reduction is the width of the shared two-layer network, at least 4.
        use_maximum: also look at the maximum; without it this is squeeze-and-excitation (Hu et al., CVPR 2018).
    """

    def __init__(self, channels: int, reduction: int = 16, *, use_maximum: bool = True) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.use_maximum = use_maximum
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)  # type: ignore[arg-type]

    def _shared(self, pooled: Tensor) -> Tensor:
        out: Tensor = self.excite(torch.relu(self.squeeze(pooled)))
        return out

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        z = self._shared(features.mean((2, 3), keepdim=True))
        if self.use_maximum:
            z = z + self._shared(features.amax((2, 3), keepdim=True))
        return features * (2.0 * torch.sigmoid(z))


class EfficientChannelAttention(nn.Module):
    """Weighs each channel from its average and those of its neighbours (ECA, Wang et al., CVPR 2020, eq. 5 and 12).

    Args:
        channels: of the feature map; its neighbours follow from it, ``|log2(channels) / 2 + 1 / 2|`` made odd.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        near = int(abs(math.log2(channels) / 2 + 0.5))
        size = near if near % 2 else near + 1
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        nn.init.zeros_(self.conv.weight)

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        pooled = features.mean((2, 3)).unsqueeze(1)  # [n, 1, c]
        z = self.conv(pooled).squeeze(1)[:, :, None, None]
        return features * (2.0 * torch.sigmoid(z))


class SpatialAttention(nn.Module):
    """Weighs places from the average and maximum over channels (Woo et al., CBAM, ECCV 2018, eq. 3)."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        summary = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)  # [n, 2, h, w]
        return features * (2.0 * torch.sigmoid(self.conv(summary)))


class CBAM(nn.Sequential):
    """Convolutional block attention module: channels first, then places."""

    def __init__(self, channels: int) -> None:
        super().__init__(ChannelAttention(channels), SpatialAttention())


class AttendedStage(nn.Module):
    """A stage of a network followed by a gate; the stage itself is the same object as before."""

    def __init__(self, stage: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.stage = stage
        self.gate = gate

    def forward(self, *inputs: Tensor) -> Tensor:
        """Whatever the stage takes; the gated output of the stage."""
        out: Tensor = self.gate(self.stage(*inputs))
        return out


GATES: dict[AttentionKind, Callable[[int], nn.Module] | None] = {
    AttentionKind.NONE: None,
    AttentionKind.CBAM: CBAM,
    AttentionKind.SQUEEZE_EXCITATION: lambda channels: ChannelAttention(channels, use_maximum=False),
    AttentionKind.EFFICIENT_CHANNEL: EfficientChannelAttention,
}
"""How a gate for a number of channels is made; ``None`` puts nothing."""


def insert_attention(body: nn.Module, stages: list[tuple[str, int]], kind: AttentionKind) -> None:
    """Put a gate behind each stage, in place.

    Args:
        body: the network.
        stages: (module path, output channels) of each stage, such as ``("blocks.4", 112)``.
        kind: which gate.
    """
    gate = GATES[kind]
    if gate is None:
        return
    for path, channels in stages:
        parent_path, _, name = path.rpartition(".")
        parent = body.get_submodule(parent_path)
        setattr(parent, name, AttendedStage(parent.get_submodule(name), gate(channels)))
