"""When one camera always sees the same scene, all its images correlate: what differs from the scene must decide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data_contracts.perceptual import MIN_CORRELATION, Transform, apply_transform, grey_thumbnail

_SIDE = 32
_BLOCK = 4096
_NOISE_RMS = 1.0
_NOISE_PEAK = 6.0


def same_beyond_scene(
    copies: Sequence[npt.NDArray[np.uint8] | None],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    transforms: Sequence[Transform],
) -> npt.NDArray[np.bool_]:
    """Whether pairs of images of one scene are the same picture, and not just of the same scene.

    They are if their differences from the mean picture correlate by 0.98, or if they differ from each other by no
    more than compression does (1 grey level on average, 6 at most, in 32 x 32 averaged cells).

    Args:
        copies: comparison copies of all images of the scene, uint8 [h, w, 1]; None where a file is gone.
        first: int64 [pairs], index into ``copies``.
        second: likewise; mirrored by the pair's transform before it is compared.
        transforms: one per pair.

    Returns:
        bool [pairs]; False where a copy is missing.
    """
    cells = np.zeros((len(copies), _SIDE * _SIDE), np.float32)
    present = np.array([copy is not None for copy in copies], bool)
    for row, copy in enumerate(copies):
        if copy is not None:
            cells[row] = grey_thumbnail(copy, _SIDE, _SIDE).ravel()
    scene = cells[present].mean(axis=0) if present.any() else cells.sum(axis=0)
    residuals = _normalised(cells - scene)
    kinds = np.array([kind.value for kind in transforms])
    same = np.zeros(len(first), bool)
    for kind in set(transforms):
        places = apply_transform(np.arange(_SIDE * _SIDE).reshape(_SIDE, _SIDE), kind).ravel()
        mirrored = cells[:, places]
        mirrored_residuals = _normalised(mirrored - scene)
        chosen = np.flatnonzero(kinds == kind.value)
        for start in range(0, len(chosen), _BLOCK):
            block = chosen[start : start + _BLOCK]
            a, b = first[block], second[block]
            alike = np.einsum("pk,pk->p", residuals[a], mirrored_residuals[b])
            difference = np.abs(cells[a] - mirrored[b])
            noise = (np.sqrt((difference**2).mean(axis=1)) <= _NOISE_RMS) & (difference.max(axis=1) <= _NOISE_PEAK)
            same[block] = (alike >= MIN_CORRELATION) | noise
    both: npt.NDArray[np.bool_] = same & present[first] & present[second]
    return both


def _normalised(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = rows - rows.mean(axis=1, keepdims=True)
    norm = np.sqrt((centred * centred).sum(axis=1, keepdims=True))
    return np.asarray(centred / np.where(norm > 0, norm, 1), np.float32)
