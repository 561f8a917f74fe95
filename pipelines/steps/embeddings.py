"""Where images lie in a network's embedding space: computed once for each image and network, and kept."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.blobs import Blobs
from data_contracts.errors import NotFound, TailsightError, Unreachable, UnreadableImage
from data_contracts.profile import Profile
from data_contracts.progress import Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from domain_models.activation_cache import cached_maps, kept_maps, kept_names
from domain_models.architecture import Architecture, HeadKind
from domain_models.backbones import Classifier, WeightSource, build_network
from domain_models.image_cache import CachedImages, build_image_cache
from domain_models.inference import ImageRows, embed
from domain_models.preprocessing import Preprocessing
from domain_models.presets import DataFacts, Preset, choose
from domain_models.selection.mapped_embeddings import MappedEmbeddings
from pipelines.steps.prepared_images import image_cache_folder

MOST_PREPARED = 20_000
"""Of more images than that, prepared pixels are not kept."""

_PORTION = 8192
_LARGEST = float(np.finfo(np.float16).max)
_COLD_BACKBONE = "tf_efficientnet_lite0"

Item = tuple[str, str]
"""(image id, uri)."""


@dataclass(frozen=True)
class Embedder:
    """A network that says where images lie. ``key`` names it: the same key always means the same numbers."""

    key: str
    network: Classifier
    spec: Preprocessing

    @classmethod
    def of(cls, network: Classifier, spec: Preprocessing) -> Embedder:
        """The embedder named by its weights: models that differ in their classifier alone share what was computed."""
        digest = hashlib.sha256(f"{spec.model_dump_json()}\0{network.architecture.backbone}".encode())
        if network.architecture.head is HeadKind.COSINE:  # the same weights place images otherwise
            digest.update(network.architecture.head.encode())
        last = {id(parameter) for parameter in network.classifier.parameters()}
        for name, value in sorted(network.state_dict(keep_vars=True).items()):
            if id(value) not in last:
                digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return cls(digest.hexdigest()[:24], network, spec)


def bundled_embedder(images: pd.DataFrame, profile: Profile) -> Embedder:
    """The bundled backbone as it came, which no label has shaped; preprocessing as the quick preset would choose.

    Args:
        images: frames.IMAGES of what will be embedded.
        profile: of the workspace.
    """
    grey = images["mode"].isin(["1", "L", "LA", "I", "F"]) | images["mode"].str.startswith("I;")
    facts = DataFacts(
        class_counts={},
        validation_count=0,
        median_height=int(images["height"].median()),
        median_width=int(images["width"].median()),
        grey_share=float(grey.mean()),
        channels=profile.input.channels,
        size=profile.input.size,
        window_centre=profile.input.window_centre,
        window_width=profile.input.window_width,
        max_megapixels=profile.input.max_megapixels,
    )
    spec = choose(Preset.QUICK, facts)[0].preprocessing
    network = build_network(Architecture(backbone=_COLD_BACKBONE, classes=2), WeightSource.BUNDLED)
    return Embedder.of(network, spec)


def embeddings_of(
    workspace: Workspace, blobs: Blobs, embedder: Embedder, items: Sequence[Item], progress: Progress
) -> NDArray[np.float32]:
    """Embeddings of images, float32 [n, d] in the order given; a row of NaN where the image cannot be read any more."""
    return mapped_embeddings_of(workspace, blobs, embedder, items, progress)[:]


def mapped_embeddings_of(
    workspace: Workspace, blobs: Blobs, embedder: Embedder, items: Sequence[Item], progress: Progress
) -> MappedEmbeddings:
    """The same as they are kept, float16 in a file: a million images take no more memory than a thousand.

    Killed at any moment, the next call goes on where this one stopped.
    """
    folder = workspace.cache / "embeddings" / embedder.key
    shape = (embedder.network.classifier.in_features,)
    known = kept_names(folder)
    missing = [item for item in dict(items).items() if item[0] not in known]
    # Of so many images the prepared pixels would be a hundred times larger than what they are prepared for.
    passing = workspace.cache / "embeddings" / "passing" if len(missing) > MOST_PREPARED else None
    for start in range(0, len(missing), _PORTION):
        portion = missing[start : start + _PORTION]
        cached, readable = prepared_images(workspace, blobs, embedder.spec, portion, progress, passing)
        ids = [image_id for image_id, _ in readable]
        pixels = ImageRows(cached.array, cached.rows(ids))

        def compute(positions: NDArray[np.int64], pixels: ImageRows = pixels) -> NDArray[np.float16]:
            values = embed(embedder.network, pixels.subset(positions), embedder.spec)
            return values.clip(-_LARGEST, _LARGEST).astype(np.float16)

        cached_maps(folder, ids, shape, compute, progress=progress, what="Extracting features")
        if passing is not None:
            del cached, pixels, compute
            shutil.rmtree(passing, ignore_errors=True)
    kept = kept_maps(folder, [image_id for image_id, _ in items], shape)
    return MappedEmbeddings(kept.array, kept.rows)


def prepared_images(
    workspace: Workspace,
    blobs: Blobs,
    spec: Preprocessing,
    items: Sequence[Item],
    progress: Progress,
    folder: Path | None = None,
) -> tuple[CachedImages, list[Item]]:
    """Prepared images of those items that can be read, and which these are; ``folder``: where they are kept."""
    folder, processes = folder or image_cache_folder(workspace), read_settings().processes
    with ThreadPoolExecutor(max_workers=blobs.reads_at_once(1)) as pool:
        found = pool.map(lambda item: _is_there(blobs, item[1]), items)
        there = [item for item, is_there in zip(items, found, strict=True) if is_there]
    try:
        return build_image_cache(folder, there, blobs, spec, processes=processes, progress=progress), there
    except Unreachable:
        raise
    except TailsightError:  # at least one file is not what was ingested: find out which
        whole = [item for item in there if _is_whole(blobs, item)]
        return build_image_cache(folder, whole, blobs, spec, processes=processes, progress=progress), whole


def _is_there(blobs: Blobs, uri: str) -> bool:
    try:
        return blobs.is_there(uri)
    except (NotFound, UnreadableImage):
        return False


def _is_whole(blobs: Blobs, item: Item) -> bool:
    from data_contracts.blobs import frame_of
    from data_contracts.imaging import decode

    try:
        decode(blobs.read(item[1], item[0]), max_megapixels=float("inf"), frame=frame_of(item[0]))
    except Unreachable:
        raise
    except TailsightError:
        return False
    return True
