"""The parts of a profile that say how images are read, and what may be changed about one without changing its label."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """A part of the profile: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSettings(Section):
    """How image files are read before any model sees them."""

    channels: int | None = Field(default=None, description="1 grey, 3 colour; null takes what most images have")
    size: int | None = Field(default=None, ge=16, le=1024, description="longer side in px; null lets the preset choose")
    max_megapixels: float = Field(default=120.0, gt=0, le=2000, description="larger images are quarantined as bombs")
    window_centre: float | None = Field(
        default=None, description="16-bit images: centre of the window shown to the model"
    )
    window_width: float | None = Field(default=None, gt=0)

    @field_validator("channels")
    @classmethod
    def _one_or_three(cls, value: int | None) -> int | None:
        if value not in (None, 1, 3):
            raise ValueError("channels is 1, 3 or null")
        return value


class AugmentationSettings(Section):
    """Changes that never change the label of an image in this domain."""

    flip_horizontal: bool = True
    flip_vertical: bool = False
    rotate_quarter_turns: bool = False
    rotate_degrees: float = Field(default=10.0, ge=0, le=180)
    scale: float = Field(default=0.1, ge=0, le=0.5, description="random zoom, share of the size")
    translate: float = Field(default=0.05, ge=0, le=0.3, description="random shift, share of the size")
    brightness: float = Field(default=0.15, ge=0, le=0.9)
    contrast: float = Field(default=0.15, ge=0, le=0.9)
    hue_saturation: float = Field(default=0.0, ge=0, le=0.5, description="colour images only")
    blur_probability: float = Field(default=0.1, ge=0, le=1)
    noise_probability: float = Field(default=0.1, ge=0, le=1)
    erase_probability: float = Field(default=0.0, ge=0, le=1)
