"""A look at some images of a folder, seeded: sizes, depth, colour, what cannot be read, and which way up they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import UnreadableImage
from data_contracts.imaging import DecodedImage, decode, probe
from data_contracts.label_rules import printable
from data_contracts.perceptual import grey_thumbnail
from data_contracts.progress import SILENT, Progress
from pipelines.steps.ingest_discovery import Discovery
from pipelines.steps.ingest_reading import read_regular_file

LOOKED_AT = 200
"""How many files are opened, spread over the folders that hold images."""

DECODED_MEGAPIXELS = 600.0
"""How many pixels are decoded for the look at colour and orientation, in all."""

_LARGEST_SEEN = 2000.0  # megapixels in a header; more is no camera
_SIDE = 24
_FLIPS = 499
_COLOUR_DIFFERENCE = 3.0  # grey levels between channels, on average, below which a picture is grey to the eye


@dataclass(frozen=True)
class ImageSurvey:
    """What the images that were opened are like.

    ``widths`` and ``heights`` in px and ``megapixels`` are per image; ``formats`` and ``modes`` count them.
    ``coloured`` is the share of decoded images with visible colour. ``upright`` and ``sided`` say whether top and
    bottom, left and right differ in the same way from image to image (beyond chance, p below 0.01).
    """

    files: int
    looked_at: int
    unreadable: tuple[tuple[str, str], ...]
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    formats: Mapping[str, int]
    modes: Mapping[str, int]
    depths: Mapping[int, int]
    decoded: int
    coloured: float
    stored_in_colour: float
    upright: bool
    sided: bool

    @property
    def readable(self) -> int:
        """How many of the files that were opened are images."""
        return len(self.widths)


def survey_images(found: Discovery, *, seed: int = 0, progress: Progress = SILENT) -> ImageSurvey:
    """Open up to :data:`LOOKED_AT` files, the same ones for the same folder and seed; never raises for a bad file."""
    chosen = sample_files(list(found.files), LOOKED_AT, seed)
    unreadable: list[tuple[str, str]] = []
    sizes: list[tuple[int, int]] = []
    formats: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    depths: Counter[int] = Counter()
    thumbnails: list[NDArray[np.float64]] = []
    coloured: list[bool] = []
    stored: list[bool] = []
    left = DECODED_MEGAPIXELS
    with progress.step("Looking at images", len(chosen)) as step:
        for path in chosen:
            step.advance(1)
            try:
                data = read_regular_file(Path(found.folder) / path)[0]
                facts = probe(data, max_megapixels=_LARGEST_SEEN)
                megapixels = facts.width * facts.height / 1e6
                if megapixels <= min(left, 120.0):
                    left -= megapixels
                    image = decode(data)
                    thumbnails.append(_thumbnail(image))
                    coloured.append(_has_colour(image))
                    stored.append(image.array.shape[2] == 3)
            except (UnreadableImage, MemoryError) as error:
                unreadable.append((printable(path), getattr(error, "what", "It does not fit into memory.")))
                continue
            sizes.append((facts.width, facts.height))
            formats[facts.format.value] += 1
            modes[facts.mode] += 1
            depths[facts.bit_depth] += 1
    sizes_array = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    stack = np.array(thumbnails).reshape(-1, _SIDE, _SIDE)
    return ImageSurvey(
        files=len(found.files),
        looked_at=len(chosen),
        unreadable=tuple(unreadable),
        widths=sizes_array[:, 0],
        heights=sizes_array[:, 1],
        formats=formats,
        modes=modes,
        depths=depths,
        decoded=len(thumbnails),
        coloured=float(np.mean(coloured)) if coloured else 0.0,
        stored_in_colour=float(np.mean(stored)) if stored else 0.0,
        upright=has_direction(stack, axis=1, seed=seed),
        sided=has_direction(stack, axis=2, seed=seed),
    )


def sample_files(paths: Sequence[str], size: int, seed: int) -> list[str]:
    """Up to ``size`` paths, as many from each folder as there are, small folders whole; sorted."""
    if len(paths) <= size:
        return sorted(paths)
    chance = np.random.default_rng(seed)
    folders: dict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        folders[path.rpartition("/")[0]].append(path)
    queues = [[members[i] for i in chance.permutation(len(members))] for _, members in sorted(folders.items())]
    if len(queues) > size:
        queues = [queues[i] for i in chance.permutation(len(queues))[:size]]
    chosen: list[str] = []
    depth = 0
    while len(chosen) < size:
        chosen += [queue[depth] for queue in queues if depth < len(queue)][: size - len(chosen)]
        depth += 1
    return sorted(chosen)


def has_direction(pictures: NDArray[np.float64], *, axis: int, seed: int = 0) -> bool:
    """Whether one side of the pictures differs from the other in the same way from picture to picture.

    A sign-flip test: under no direction, each picture's difference from its mirror image is as likely as its negative.

    Args:
        pictures: float [n, h, w].
        axis: 1 top and bottom, 2 left and right.
        seed: of the test.
    """
    if len(pictures) < 8:
        return False
    difference = (pictures - np.flip(pictures, axis=axis)).reshape(len(pictures), -1)
    norms = np.linalg.norm(difference, axis=1, keepdims=True)
    difference = np.divide(difference, norms, out=np.zeros_like(difference), where=norms > 0)
    gram = difference @ difference.T
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_FLIPS, len(pictures)))
    by_chance = np.einsum("fi,ij,fj->f", signs, gram, signs)
    seen = float(gram.sum())
    return bool((1 + (by_chance >= seen - 1e-9).sum()) / (_FLIPS + 1) < 0.01 and seen / len(pictures) ** 2 > 0.03)


def _thumbnail(image: DecodedImage) -> NDArray[np.float64]:
    return grey_thumbnail(image.array, _SIDE, _SIDE).astype(np.float64)


def _has_colour(image: DecodedImage) -> bool:
    if image.array.shape[2] == 1:
        return False
    step = max(1, max(image.array.shape[:2]) // 128)
    small = image.array[::step, ::step].astype(np.float64)
    if image.array.dtype == np.uint16:
        small /= 257.0
    return bool((small.max(axis=2) - small.min(axis=2)).mean() > _COLOUR_DIFFERENCE)
