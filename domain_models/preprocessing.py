"""From a decoded image to the numbers a network sees: defined once, used by cache, training, scoring and export.

The specification travels with the model. Training and scoring call the same functions, so the pixels agree bit for
bit.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import torch

    from data_contracts.imaging import DecodedImage

PIXEL_ALGORITHM = 1
"""Rises when `prepare` changes what it returns, so that old caches are never mistaken for new ones."""


class ResizeMode(StrEnum):
    """How an image of another shape becomes height × width."""

    STRETCH = "stretch"
    PAD = "pad"
    CROP = "crop"


class Interpolation(StrEnum):
    """How pixels are resampled. ``area`` averages when it shrinks and is linear when it enlarges."""

    AREA = "area"
    LINEAR = "linear"
    CUBIC = "cubic"


_INTERPOLATION = {
    Interpolation.AREA: cv2.INTER_AREA,
    Interpolation.LINEAR: cv2.INTER_LINEAR,
    Interpolation.CUBIC: cv2.INTER_CUBIC,
}


class Preprocessing(BaseModel):
    """Everything that decides which numbers a network sees for an image.

    ``mean`` and ``std`` are in units of the 0..1 pixel range, one per RGB channel; a grey image (``channels`` 1) is
    repeated three times first, so that weights trained on colour images can be used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: int = Field(default=128, ge=16, le=1024, description="px")
    width: int = Field(default=128, ge=16, le=1024, description="px")
    channels: int = Field(default=3, description="stored channels: 1 grey, 3 RGB")
    resize: ResizeMode = ResizeMode.STRETCH
    interpolation: Interpolation = Interpolation.AREA
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    window_centre: float | None = Field(default=None, description="16-bit images only")
    window_width: float | None = Field(default=None, gt=0, description="16-bit images only")
    max_megapixels: float = Field(default=120.0, gt=0, le=2000, description="larger images are refused")
    reduced_from: tuple[int, int] | None = Field(
        default=None,
        description="height and width that images are brought to first; a smaller model then sees just what can be made"
        " of a larger one's pixels",
    )

    reduced_decoding: bool = Field(
        default=False,
        description="large JPEG files are decoded at the smallest of their sizes that is enough: sooner, and slightly"
        " other pixels",
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.reduced_from is not None and (
            self.reduced_from[0] < self.height or self.reduced_from[1] < self.width or min(self.reduced_from) > 1024
        ):
            raise ValueError("reduced_from is at least height and width, and at most 1024")
        if self.channels not in (1, 3):
            raise ValueError("channels is 1 or 3")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self

    def larger(self) -> Preprocessing:
        """The specification of the pixels that these are reduced from; itself where there is none."""
        if self.reduced_from is None:
            return self
        height, width = self.reduced_from
        return self.model_copy(update={"height": height, "width": width, "reduced_from": None})

    @property
    def pixel_key(self) -> str:
        """16 hex digits that change whenever the stored uint8 pixels would (not with mean and std)."""
        content: dict[str, Any] = self.model_dump(mode="json", exclude={"mean", "std", "max_megapixels"})
        content["algorithm"] = PIXEL_ALGORITHM
        if self.reduced_from is None:  # specifications of before this setting keep their key
            del content["reduced_from"]
        if not self.reduced_decoding:
            del content["reduced_decoding"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def prepare(image: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.uint8]:
    """Bring a decoded 8-bit image to the stored shape.

    Args:
        image: uint8 [H, W] or [H, W, C], C 1 (grey) or 3 (RGB).
        spec: the specification.

    Returns:
        uint8 [spec.height, spec.width, spec.channels], contiguous.

    Raises:
        ValueError: the array is not an 8-bit grey or RGB image.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f"expected uint8 [H, W, 1 or 3], got {image.dtype} {list(image.shape)}")
    pixels = image if image.ndim == 3 else image[:, :, None]
    # Resample before changing channels when that is less work: grey to RGB repeats, so it comes last.
    if pixels.shape[2] == 3 and spec.channels == 1:
        pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[:, :, None]
    pixels = reduced(_resized(pixels, spec.larger()), spec)
    if pixels.shape[2] == 1 and spec.channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def reduced(pixels: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.uint8]:
    """From pixels of ``spec.larger()`` to those of a specification that is reduced from it.

    Args:
        pixels: uint8 [H, W, C], prepared by ``spec.larger()``.
        spec: the smaller specification.

    Returns:
        uint8 [spec.height, spec.width, C].
    """
    if pixels.shape[:2] == (spec.height, spec.width):
        return pixels
    return _scaled(pixels, spec.height, spec.width, spec.interpolation)


def prepare_file(data: bytes, spec: Preprocessing, *, frame: int = 0) -> NDArray[np.uint8]:
    """Decode the bytes of an image file and bring them to the stored shape; see :func:`prepare`.

    Raises:
        UnreadableImage: the bytes are not an image that can be decoded.
    """
    return prepare_decoded(decoded(data, spec, frame=frame), spec)


def decoded(data: bytes, spec: Preprocessing, *, frame: int = 0) -> DecodedImage:
    """Decode the bytes of an image file as the specification says.

    Raises:
        UnreadableImage: the bytes are not an image that can be decoded, or it is larger than the specification allows.
    """
    from data_contracts.imaging import decode

    whole = spec.larger()
    at_least = (whole.height, whole.width) if spec.reduced_decoding else None
    return decode(data, max_megapixels=spec.max_megapixels, frame=frame, at_least=at_least)


def prepare_decoded(image: DecodedImage, spec: Preprocessing) -> NDArray[np.uint8]:
    """Bring what :func:`decoded` gave to the stored shape; see :func:`prepare`."""
    from data_contracts.imaging import to_8bit

    return prepare(to_8bit(image.array, spec.window_centre, spec.window_width), spec)


def normalise(batch: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """The network's input for stored pixels.

    Args:
        batch: uint8 [n, H, W, C], C 1 or 3.
        spec: whose mean and std are used.

    Returns:
        float32 [n, 3, H, W], ``(pixel / 255 - mean) / std``; a view of channels-last memory, which convolutions on a
        CPU prefer.
    """
    std = np.asarray(spec.std, dtype=np.float32)
    scale = np.float32(1.0) / (np.float32(255.0) * std)
    shift = -np.asarray(spec.mean, dtype=np.float32) / std
    out: NDArray[np.float32] = batch.astype(np.float32) * scale + shift  # one channel broadcasts to three
    return out.transpose(0, 3, 1, 2)


def to_tensor(batch: NDArray[np.uint8], spec: Preprocessing) -> torch.Tensor:
    """:func:`normalise` as a channels-last float32 tensor [n, 3, H, W]."""
    import torch  # takes a second to load, which scoring by another runtime does not need

    return torch.from_numpy(normalise(np.ascontiguousarray(batch), spec))


def _resized(pixels: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if (height, width) == (spec.height, spec.width):
        return pixels
    if spec.resize is ResizeMode.STRETCH:
        return _scaled(pixels, spec.height, spec.width, spec.interpolation)
    pick = min if spec.resize is ResizeMode.PAD else max
    scale = pick(spec.height / height, spec.width / width)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    inner = _scaled(pixels, inner_height, inner_width, spec.interpolation)
    if spec.resize is ResizeMode.CROP:
        top, left = (inner_height - spec.height) // 2, (inner_width - spec.width) // 2
        return inner[max(0, top) : max(0, top) + spec.height, max(0, left) : max(0, left) + spec.width]
    canvas = np.zeros((spec.height, spec.width, pixels.shape[2]), dtype=np.uint8)
    top, left = (spec.height - inner_height) // 2, (spec.width - inner_width) // 2
    canvas[top : top + inner_height, left : left + inner_width] = inner
    return canvas


def _scaled(pixels: NDArray[np.uint8], height: int, width: int, interpolation: Interpolation) -> NDArray[np.uint8]:
    scaled = cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=_INTERPOLATION[interpolation])
    out = np.asarray(scaled, dtype=np.uint8)
    return out if out.ndim == 3 else out[:, :, None]
