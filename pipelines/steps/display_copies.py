"""Making display copies of the images of a round, on all cores; what is there is not made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data_contracts.blobs import Blobs, frame_of
from data_contracts.display import SMALL_SIDE, DisplayCopies, small_size
from data_contracts.errors import BadInput, TailsightError, Unreachable
from data_contracts.imaging import decode
from data_contracts.progress import Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.steps.embeddings import Embedder, Item, prepared_images

_CHUNK = 64


@dataclass(frozen=True)
class Copied:
    """How many images got copies now, and why some could not (words by image id)."""

    made: int
    failed: dict[str, str]


def make_display_copies(
    workspace: Workspace, blobs: Blobs, items: Sequence[Item], max_megapixels: float, progress: Progress
) -> Copied:
    """Make the copies that are missing. Killed at any moment, the next call goes on with the images that lack theirs.

    Decoding, shrinking and encoding release the interpreter lock, so threads use every core.

    Args:
        workspace: whose display folder.
        blobs: where the bytes come from; their hash is checked against the image id.
        items: (image id, uri).
        max_megapixels: larger images are refused.
        progress: told of each image.
    """
    copies = DisplayCopies(workspace)
    missing = [item for item in dict(items).items() if not copies.has(item[0])]

    def make(item: Item) -> tuple[str, str | None]:
        image_id, uri = item
        try:
            picture = decode(blobs.read(uri, image_id), max_megapixels=max_megapixels, frame=frame_of(image_id))
        except Unreachable:
            raise
        except TailsightError as error:
            return image_id, error.what
        copies.write_copies(image_id, picture.array, display_of=uri)
        return image_id, None

    failed: dict[str, str] = {}
    if missing:
        threads_before = cv2.getNumThreads()
        cv2.setNumThreads(1)  # parallel over images, not inside one
        try:
            with (
                progress.step("Making display copies", total=len(missing)) as step,
                ThreadPoolExecutor(max_workers=blobs.reads_at_once(read_settings().processes)) as pool,
            ):
                for image_id, reason in pool.map(make, missing):
                    step.advance()
                    if reason is not None:
                        failed[image_id] = reason
        finally:
            cv2.setNumThreads(threads_before)
    return Copied(len(missing) - len(failed), failed)


def make_overlays(
    workspace: Workspace,
    blobs: Blobs,
    embedder: Embedder,
    items: Sequence[Item],
    explained: Mapping[str, tuple[str, int]],
    *,
    model_version: str,
    progress: Progress,
) -> set[str]:
    """Make the overlays that are missing, or are of another model or class; returns the ids that have theirs now.

    Args:
        workspace: whose display folder.
        blobs: where the bytes come from.
        embedder: the champion's network.
        items: (image id, uri) of images with display copies.
        explained: (class name, index in the network's classifier) that is explained, by image id.
        model_version: of the network.
        progress: told of each image.
    """
    from domain_models.explanations import class_activation, on_the_image

    copies = DisplayCopies(workspace)
    have: set[str] = set()
    wanted: list[Item] = []
    for image_id, uri in dict(items).items():
        if image_id not in explained or not copies.has(image_id):
            continue
        about = copies.about(image_id)
        if (about.overlay_of, about.overlay_class) == (model_version, explained[image_id][0]):
            have.add(image_id)
        else:
            wanted.append((image_id, uri))
    if not wanted:
        return have
    cached, readable = prepared_images(workspace, blobs, embedder.spec, wanted, progress)

    def keep(image_id: str, heat: NDArray[np.float32]) -> str:
        about = copies.about(image_id)
        side = min(SMALL_SIDE, max(small_size(about.width, about.height)))
        evidence = on_the_image(heat, embedder.spec, about.height, about.width, side)
        copies.write_overlay(image_id, evidence, model_version=model_version, class_name=explained[image_id][0])
        return image_id

    with (
        progress.step("Making overlays", total=len(readable)) as step,
        ThreadPoolExecutor(max_workers=blobs.reads_at_once(read_settings().processes)) as pool,
    ):
        for start in range(0, len(readable), _CHUNK):
            ids = [image_id for image_id, _ in readable[start : start + _CHUNK]]
            images = cached.array[cached.rows(ids)]
            classes = np.array([explained[image_id][1] for image_id in ids], dtype=np.int64)
            try:
                heats = class_activation(embedder.network, images, classes, embedder.spec)
            except BadInput as error:
                progress.say(f"There are no overlays: {error.what}")
                return have
            have.update(pool.map(keep, ids, heats))
            step.advance(len(ids))
    return have
