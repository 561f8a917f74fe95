"""Near-duplicates: a 64-bit perceptual hash proposes pairs, a comparison of aligned pixels confirms them.

The hash is the signs of the 64 lowest AC coefficients of a 32 x 32 cosine transform (Zauner 2010, with the sign in
place of the median). Mirroring an image flips the sign of exactly the odd coefficients, so the hash of each mirrored
variant is the hash with a fixed mask: one stored hash finds flipped copies too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from data_contracts.imaging import to_8bit
from data_contracts.pixels import Pixels

MAX_DISTANCE = 4
"""Hash distance up to which a pair is proposed (of 64 bits)."""

MIN_CORRELATION = 0.98
"""Correlation of aligned pixels from which a proposed pair counts as the same picture."""

MIN_BINDING_SIDE = 64
"""Shorter side in px below which pairs are only reported: so few pixels look alike by chance."""

COMPARISON_SIDE = 256
"""Longer side in px at which pixels are compared."""

_SIDE = 32
_BANDS = 5  # distance 4 leaves at least one of five bands untouched
_BLOCK = 1 << 18


class Transform(StrEnum):
    """How the second image of a pair must be mirrored to lie on the first."""

    NONE = "none"
    FLIP_HORIZONTAL = "flip_horizontal"
    FLIP_VERTICAL = "flip_vertical"
    ROTATE_180 = "rotate_180"


def _coefficients() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Vertical and horizontal frequency of each hash bit: the 64 lowest by their sum, without the mean."""
    order = sorted(((v, h) for v in range(12) for h in range(12) if v + h), key=lambda c: (sum(c), max(c), c[0]))[:64]
    return np.array([c[0] for c in order]), np.array([c[1] for c in order])


_V, _H = _coefficients()
_BASIS = np.cos(np.pi * (2 * np.arange(_SIDE) + 1) * np.arange(12)[:, None] / (2 * _SIDE)).astype(np.float32)


def _mask(odd: npt.NDArray[np.bool_]) -> np.uint64:
    return np.packbits(odd).view(">u8").astype(np.uint64)[0]  # type: ignore[no-any-return]


_MASKS: dict[Transform, np.uint64] = {
    Transform.NONE: np.uint64(0),
    Transform.FLIP_HORIZONTAL: _mask(_H % 2 == 1),
    Transform.FLIP_VERTICAL: _mask(_V % 2 == 1),
    Transform.ROTATE_180: _mask((_V + _H) % 2 == 1),
}


def grey_thumbnail(image: Pixels, width: int, height: int) -> npt.NDArray[np.uint8]:
    """A grey copy of [H, W, C] pixels, averaged down (or up) to uint8 [height, width]."""
    shown = to_8bit(image)
    picture = Image.fromarray(shown[..., 0] if shown.shape[2] == 1 else shown)
    # reducing first makes the grey conversion cheap on large images; "box" averages, so nothing aliases
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX).convert("L"))


def perceptual_hash(image: Pixels) -> int:
    """The image's hash as a signed 64-bit integer; 0 where the image is (almost) one flat tone.

    Args:
        image: uint8 or uint16 [H, W, C], as decoded.
    """
    return hash_and_brightness(image)[0]


def hash_and_brightness(image: Pixels) -> tuple[int, float]:
    """The hash, and the mean of every second pixel's stored value, from 0 (black) to 1 (the most that its depth holds).

    The stored value, because an image of more than 8 bits is shown stretched to its own darkest and brightest.
    """
    small = grey_thumbnail(image, _SIDE, _SIDE).astype(np.float32)
    brightness = float(image[::2, ::2].mean(dtype=np.float64)) / float(np.iinfo(image.dtype).max)
    if float(small.std()) < 1.0:
        return 0, brightness
    spectrum = _BASIS @ small @ _BASIS.T
    bits = spectrum[_V, _H] > 0
    return int(np.packbits(bits).view(">i8")[0]), brightness


@dataclass(frozen=True)
class ProposedPairs:
    """Pairs of row numbers with ``first < second``, their hash distance and how the second must be mirrored.

    ``cut`` says that a limit narrowed the search to ``max_distance``, or to the first pairs at distance 0.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    distance: npt.NDArray[np.int64]
    transform: tuple[Transform, ...]
    max_distance: int = MAX_DISTANCE
    cut: bool = False

    def __len__(self) -> int:
        return len(self.first)

    def subset(self, chosen: npt.NDArray[np.int64]) -> ProposedPairs:
        """The pairs at the given positions."""
        transforms = tuple(self.transform[int(i)] for i in chosen)
        return ProposedPairs(
            self.first[chosen], self.second[chosen], self.distance[chosen], transforms, self.max_distance, self.cut
        )


def propose_pairs(
    hashes: npt.NDArray[np.int64],
    *,
    new: npt.NDArray[np.bool_] | None = None,
    max_distance: int = MAX_DISTANCE,
    limit: int | None = None,
) -> ProposedPairs:
    """Find all pairs within ``max_distance``, mirrored ones included, by looking up equal bands of the hash.

    Args:
        hashes: int64 [n]; 0 (a flat image) never pairs.
        new: bool [n]; with it, only pairs with at least one new image are proposed.
        max_distance: at most 4, the most that the bands are certain to find.
        limit: about how many pairs are too many; the distance is then lowered step by step.

    Each pair appears once, with its smallest distance; pairs come in order of distance.
    """
    if not 0 <= max_distance < _BANDS:
        raise ValueError(f"max_distance is 0 to {_BANDS - 1}, not {max_distance}")
    values = np.ascontiguousarray(hashes, dtype=np.int64).view(np.uint64)
    fresh = np.ones(len(values), bool) if new is None else np.asarray(new, bool)
    for reach in range(max_distance, -1, -1):
        table, overflow = _pairs_within(values, fresh, reach, limit)
        if not overflow:
            break
    order = np.lexsort((table[3], table[2], table[1], table[0]))
    table = table[:, order]
    repeated = np.zeros(table.shape[1], bool)
    repeated[1:] = (np.diff(table[0]) == 0) & (np.diff(table[1]) == 0)
    table = table[:, ~repeated]
    table = table[:, np.argsort(table[2], kind="stable")]
    kinds = list(_MASKS)
    transforms = tuple(kinds[int(number)] for number in table[3])
    return ProposedPairs(table[0], table[1], table[2], transforms, reach, overflow or reach < max_distance)


def _pairs_within(
    values: npt.NDArray[np.uint64], fresh: npt.NDArray[np.bool_], max_distance: int, limit: int | None
) -> tuple[npt.NDArray[np.int64], bool]:
    """int64 [4, pairs]: first, second, distance, number of the transform; and whether the limit cut it short."""
    usable = np.flatnonzero(values != 0)
    found = [np.empty((4, 0), np.int64)]
    total = 0
    for number, mask in enumerate(_MASKS.values()):
        variants = values ^ mask
        for shift, bits in _bands():
            for left, right in _equal_keys(values, variants, usable, shift, bits):
                keep = (left < right) & (fresh[left] | fresh[right])
                left, right = left[keep], right[keep]
                distance = np.bitwise_count(values[left] ^ variants[right])
                near = distance <= max_distance
                rows = np.stack([left[near], right[near], distance[near].astype(np.int64)])
                found.append(np.vstack([rows, np.full((1, rows.shape[1]), number)]))
                total += rows.shape[1]
                if limit is not None and total > _BANDS * limit:  # a close pair is found in up to every band
                    return np.concatenate(found, axis=1), True
    return np.concatenate(found, axis=1), False


def apply_transform(image: npt.NDArray[Any], transform: Transform) -> npt.NDArray[Any]:
    """Mirror [H, W, ...] pixels."""
    match transform:
        case Transform.FLIP_HORIZONTAL:
            return image[:, ::-1]
        case Transform.FLIP_VERTICAL:
            return image[::-1]
        case Transform.ROTATE_180:
            return image[::-1, ::-1]
        case Transform.NONE:
            return image


def aligned_correlation(first: Pixels, second: Pixels, transform: Transform) -> float:
    """Pearson correlation of the grey pixels of two images laid on each other, -1 to 1.

    The larger is averaged down to the smaller's size (at most 256 px on the longer side). Images whose aspect ratios
    differ by more than 3% are not the same picture: 0. A flat image correlates with nothing: 0.

    Args:
        first: uint8 or uint16 [H, W, C].
        second: likewise; mirrored by ``transform`` before it is compared.
        transform: from :func:`propose_pairs`.
    """
    ratio = (first.shape[1] / first.shape[0]) / (second.shape[1] / second.shape[0])
    if not 1 / 1.03 <= ratio <= 1.03:
        return 0.0
    height, width = min(first.shape[:2], second.shape[:2])
    scale = min(1.0, COMPARISON_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    a = grey_thumbnail(first, *size)
    return correlation(a, apply_transform(grey_thumbnail(second, *size), transform))


def correlation(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Pearson correlation of two arrays of one shape; 0 where one of them is constant."""
    a = first.astype(np.float64).ravel()
    b = second.astype(np.float64).ravel()
    a -= a.mean()
    b -= b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def comparison_copy(image: Pixels) -> npt.NDArray[np.uint8]:
    """A grey copy for :func:`aligned_correlation`: uint8 [h, w, 1], the longer side at most 256 px."""
    height, width = image.shape[:2]
    scale = min(1.0, COMPARISON_SIDE / max(height, width))
    return grey_thumbnail(image, max(1, round(width * scale)), max(1, round(height * scale)))[..., None]


def _bands() -> list[tuple[int, int]]:
    """Shift and width in bits of each band."""
    edges = [round(64 * band / _BANDS) for band in range(_BANDS + 1)]
    return [(low, high - low) for low, high in itertools.pairwise(edges)]


def _equal_keys(
    values: npt.NDArray[np.uint64],
    variants: npt.NDArray[np.uint64],
    usable: npt.NDArray[np.int64],
    shift: int,
    bits: int,
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Blocks of (row, row) whose band is equal in ``values`` and ``variants``; memory is bounded by the block."""
    mask = np.uint64((1 << bits) - 1)
    left_keys = (values[usable] >> np.uint64(shift)) & mask
    right_keys = (variants[usable] >> np.uint64(shift)) & mask
    order = np.argsort(right_keys, kind="stable")
    right_sorted = right_keys[order]
    start = np.searchsorted(right_sorted, left_keys, "left")
    count = np.searchsorted(right_sorted, left_keys, "right") - start
    ends = np.cumsum(count)
    row = 0
    while row < len(usable):
        before = int(ends[row - 1]) if row else 0
        stop = max(row + 1, int(np.searchsorted(ends, before + _BLOCK, "right")))
        sizes = count[row:stop]
        total = int(sizes.sum())
        if total:
            left = np.repeat(np.arange(row, stop), sizes)
            offset = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            right = order[start[left] + offset]
            yield usable[left], usable[right]
        row = stop
