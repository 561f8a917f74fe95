"""What a network is built from, without its weights."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from domain_models.attention import AttentionKind
from domain_models.heads import HeadKind
from domain_models.mirroring import Mirror
from domain_models.widths import Widths


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
