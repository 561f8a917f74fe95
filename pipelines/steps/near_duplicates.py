"""Find images that look the same: hashes propose, aligned pixels confirm, only confirmed pairs of 64 px and more bind.

What was searched is remembered in the workspace's cache, so that a second run compares new images only; a search that
was interrupted is done again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_contracts.blobs import Blobs, frame_of
from data_contracts.errors import TailsightError, Unreachable
from data_contracts.fixed_scenes import same_beyond_scene
from data_contracts.imaging import decode
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.near_duplicates import record_near_duplicates
from data_contracts.ledger.roots import registered_roots
from data_contracts.perceptual import (
    MIN_BINDING_SIDE,
    MIN_CORRELATION,
    ProposedPairs,
    aligned_correlation,
    comparison_copy,
    propose_pairs,
)
from data_contracts.progress import SILENT, Progress
from data_contracts.records import NearDuplicate
from data_contracts.splitting import Components
from data_contracts.workspace import Workspace, write_atomically

LARGE_SHARE = 0.01
"""A component that holds more than this share of all images is a warning."""

_LARGE_COUNT = 10  # in a small set, a few copies are more than 1%
_COPIES_IN_MEMORY = 1000
_PAIRS_EXPECTED = 250  # twice as many images fit into memory together
_STATE = "near_duplicates_searched.txt"


@dataclass(frozen=True)
class NearDuplicateSearch:
    """Pairs that were confirmed in this search, and sentences a person should read."""

    pairs: tuple[NearDuplicate, ...]
    warnings: tuple[str, ...]


def find_near_duplicates(
    workspace: Workspace, ledger: Ledger, *, max_megapixels: float, progress: Progress = SILENT
) -> NearDuplicateSearch:
    """Compare all images that were not compared yet with all others, and record the confirmed pairs.

    A component of more than 1% of the set usually means that all images show the same scene (a fixed camera). Its
    pairs are judged again by what differs from the component's mean picture; those that the scene alone made alike
    are not near-duplicates.
    """
    images = images_frame(ledger)
    state = workspace.cache / _STATE
    searched = set(state.read_text(encoding="utf-8").split()) if state.is_file() else set()
    new = ~images["image_id"].isin(searched).to_numpy()
    if not new.any():
        return NearDuplicateSearch((), ())
    proposed = propose_pairs(images["perceptual_hash"].to_numpy(), new=new, limit=10_000 + 10 * len(images))
    warnings = []
    if proposed.cut:
        warnings.append(
            "So many images look alike that the search for near-duplicates was narrowed to the most alike "
            f"(hash distance {proposed.max_distance})."
        )
    reader = _Reader(Blobs(registered_roots(ledger)), images, max_megapixels)
    pairs = _confirm(proposed, images, reader, progress)
    pairs, scenes = _judged_beyond_the_scene(pairs, proposed, images, reader)
    record_near_duplicates(ledger, pairs)
    write_atomically(state, "\n".join(images["image_id"]))
    return NearDuplicateSearch(tuple(pairs), tuple(warnings + scenes))


def large_component_warnings(pairs: list[tuple[str, str]], n_images: int) -> list[str]:
    """A sentence for each component that near-duplicates bind together beyond 1% of the set."""
    return [
        f"{len(members):,} of {n_images:,} images are bound together as near-duplicates "
        f"({len(members) / n_images:.1%}); they will all be in one split."
        for members in large_components(pairs, n_images)
    ]


class _Reader:
    """Grey comparison copies of images, the last few kept in memory."""

    def __init__(self, blobs: Blobs, images: pd.DataFrame, max_megapixels: float) -> None:
        self._blobs = blobs
        self._uris = images["uri"].to_list()
        self._max_megapixels = max_megapixels
        self._copies: OrderedDict[int, npt.NDArray[np.uint8] | None] = OrderedDict()

    def __call__(self, row: int) -> npt.NDArray[np.uint8] | None:
        """uint8 [h, w, 1] of one image; None where its file is gone or changed."""
        if row in self._copies:
            self._copies.move_to_end(row)
            return self._copies[row]
        copy = self._read(row)
        self._keep(row, copy)
        return copy

    def expect(self, rows: Iterable[int]) -> None:
        """Read several images at once where each read waits for a network; from disk each is read when it is needed."""
        missing = [row for row in dict.fromkeys(rows) if row not in self._copies]
        at_once = self._blobs.reads_at_once(1)
        if at_once == 1 or not missing:
            return
        with ThreadPoolExecutor(at_once, thread_name_prefix="read") as pool:
            for row, copy in zip(missing, pool.map(self._read, missing), strict=True):
                self._keep(row, copy)

    def _read(self, row: int) -> npt.NDArray[np.uint8] | None:
        uri = self._uris[row]
        try:
            data = self._blobs.read(uri)
            image = decode(data, max_megapixels=self._max_megapixels, frame=frame_of(uri))
            return comparison_copy(image.array)
        except Unreachable:
            raise
        except TailsightError:
            return None

    def _keep(self, row: int, copy: npt.NDArray[np.uint8] | None) -> None:
        self._copies[row] = copy
        if len(self._copies) > _COPIES_IN_MEMORY:
            self._copies.popitem(last=False)


def _confirm(proposed: ProposedPairs, images: pd.DataFrame, reader: _Reader, progress: Progress) -> list[NearDuplicate]:
    ids = images["image_id"].to_list()
    sides = images[["width", "height"]].min(axis=1).to_numpy()
    joined = Components(ids)
    sizes: Counter[str] = Counter()
    pairs = []
    with progress.step("Comparing look-alikes", len(proposed)) as step:
        for number, (a, b, distance, transform) in enumerate(
            zip(
                proposed.first.tolist(),
                proposed.second.tolist(),
                proposed.distance.tolist(),
                proposed.transform,
                strict=True,
            )
        ):
            if number % _PAIRS_EXPECTED == 0:
                coming = slice(number, number + _PAIRS_EXPECTED)
                reader.expect([*proposed.first[coming].tolist(), *proposed.second[coming].tolist()])
            step.advance()
            if sizes[ids[a]] > _LARGE_COUNT and sizes[ids[b]] > _LARGE_COUNT and joined.together(ids[a], ids[b]):
                continue  # both are bound already; in a burst of frames every pair would otherwise be compared
            first, second = reader(a), reader(b)
            if first is None or second is None:
                continue
            alike = aligned_correlation(first, second, transform)
            if alike < MIN_CORRELATION:
                continue
            binding = bool(min(sides[a], sides[b]) >= MIN_BINDING_SIDE)
            if binding:
                joined.join(ids[a], ids[b])
                sizes.update((ids[a], ids[b]))
            pairs.append(
                NearDuplicate(
                    image_a=ids[a],
                    image_b=ids[b],
                    hash_distance=distance,
                    correlation=round(alike, 6),
                    transform=transform.value,
                    binding=binding,
                )
            )
    return pairs


def _judged_beyond_the_scene(
    pairs: list[NearDuplicate], proposed: ProposedPairs, images: pd.DataFrame, reader: _Reader
) -> tuple[list[NearDuplicate], list[str]]:
    """Judge the pairs of large components again, by what differs from the component's mean picture."""
    ids = images["image_id"].to_numpy()
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    warnings = []
    for members in large_components([(p.image_a, p.image_b) for p in pairs if p.binding], len(images)):
        rows = np.array(sorted(row_of[image_id] for image_id in members))
        inside = np.isin(proposed.first, rows) & np.isin(proposed.second, rows)
        chosen = np.flatnonzero(inside)
        same = same_beyond_scene(
            [reader(row) for row in rows],
            np.searchsorted(rows, proposed.first[chosen]),
            np.searchsorted(rows, proposed.second[chosen]),
            [proposed.transform[i] for i in chosen],
        )
        narrowed = proposed.subset(chosen[same])
        outside = [pair for pair in pairs if not {pair.image_a, pair.image_b} <= members]
        kept = _confirm(narrowed, images, reader, SILENT)
        pairs = outside + kept
        if len({name for pair in kept for name in (pair.image_a, pair.image_b)}) == len(members):
            continue  # they really are copies of one picture
        warnings.append(
            f"{len(members):,} of {len(images):,} images are so alike that they would be bound into one lump, probably "
            f"because one camera always sees the same scene. They were compared again by what differs between them: "
            f"{len(kept):,} near-duplicate {'pair remains' if len(kept) == 1 else 'pairs remain'}."
        )
    return pairs, warnings


def large_components(pairs: list[tuple[str, str]], n_images: int) -> list[set[str]]:
    """Components of more than 1% of the set (and more than 10 images) that pairs bind, largest first."""
    joined = Components({image for pair in pairs for image in pair})
    for a, b in pairs:
        joined.join(a, b)
    members: dict[str, set[str]] = {}
    for image, name in joined.names().items():
        members.setdefault(name, set()).add(image)
    large = [m for m in members.values() if len(m) > max(_LARGE_COUNT, LARGE_SHARE * n_images)]
    return sorted(large, key=lambda m: (-len(m), min(m)))
