"""What a network is built from, without its weights. Knows no framework: who reads a card need not load one."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class AttentionKind(StrEnum):
    """What is put behind the chosen stages."""

    NONE = "none"
    CBAM = "cbam"
    SQUEEZE_EXCITATION = "squeeze_excitation"
    EFFICIENT_CHANNEL = "efficient_channel"


class HeadKind(StrEnum):
    """``linear``: a linear classifier. ``cosine``: one on directions; features have one length, classes have length 1.

    How long a feature vector is, and how large the weights of a frequent class grow, then say nothing of the class.
    """

    LINEAR = "linear"
    COSINE = "cosine"


class Mirror(StrEnum):
    """How the second look is turned."""

    NONE = "none"
    LEFT_RIGHT = "left_right"
    UPSIDE_DOWN = "upside_down"
    HALF_TURN = "half_turn"


Widths = dict[str, tuple[int, int]]
"""Module path within the body to (input channels, output channels), of layers that are narrower than they were."""


class Architecture(BaseModel):
    """All that is needed to build a network again, without its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    classes: int = Field(ge=2)
    attention: AttentionKind = AttentionKind.NONE
    attention_stages: tuple[int, ...] = Field(default=(-1,), description="which stages, counted as timm reports them")
    head: HeadKind = HeadKind.LINEAR
    dropout: float = Field(default=0.0, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    fine_stem: bool = Field(default=False, description="the first layer looks at every pixel, for tiny images")
    input_size: tuple[int, int] | None = Field(
        default=None, description="height and width, for backbones that are built for one size (transformers)"
    )
    mirror: Mirror = Field(default=Mirror.NONE, description="how images are turned for the second look of predictions")
    widths: Widths = Field(
        default_factory=dict, description="of a pruned network: channels into and out of each layer that is narrower"
    )
