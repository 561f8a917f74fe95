"""Where images lie in a network's embedding space: computed once for each image and network, and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.blobs import Blobs
from data_contracts.errors import TailsightError
from data_contracts.profile import Profile
from data_contracts.progress import Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from domain_models.backbones import Architecture, Classifier, WeightSource, build_network
from domain_models.heads import HeadKind
from domain_models.image_cache import CachedImages, build_image_cache
from domain_models.inference import ImageRows, embed
from domain_models.preprocessing import Preprocessing
from domain_models.presets import DataFacts, Preset, choose
from pipelines.steps.predictions import image_cache_folder

_CHUNK = 1024
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
    """Embeddings of images, float32 [n, d] in the order given; a row of NaN where the image cannot be read any more.

    Killed at any moment, the next call goes on where this one stopped.
    """
    folder = workspace.cache / "embeddings" / embedder.key
    known = _read_parts(folder)
    missing = [item for item in dict(items).items() if item[0] not in known]
    if missing:
        cached, readable = prepared_images(workspace, blobs, embedder.spec, missing, progress)
        for start in range(0, len(readable), _CHUNK):
            ids = [image_id for image_id, _ in readable[start : start + _CHUNK]]
            rows = ImageRows(cached.array, cached.rows(ids))
            values = embed(embedder.network, rows, embedder.spec, progress=progress)
            _write_part(folder, ids, values)
            known |= dict(zip(ids, values, strict=True))
    width = next((len(value) for value in known.values()), 0)
    out = np.full((len(items), width), np.nan, dtype=np.float32)
    for row, (image_id, _) in enumerate(items):
        if image_id in known:
            out[row] = known[image_id]
    return out


def prepared_images(
    workspace: Workspace, blobs: Blobs, spec: Preprocessing, items: Sequence[Item], progress: Progress
) -> tuple[CachedImages, list[Item]]:
    """Prepared images of those items that can be read, and which these are."""
    folder, processes = image_cache_folder(workspace), read_settings().processes
    there = [item for item in items if _is_there(blobs, item[1])]
    try:
        return build_image_cache(folder, there, blobs, spec, processes=processes, progress=progress), there
    except TailsightError:  # at least one file is not what was ingested: find out which
        whole = [item for item in there if _is_whole(blobs, item)]
        return build_image_cache(folder, whole, blobs, spec, processes=processes, progress=progress), whole


def _is_there(blobs: Blobs, uri: str) -> bool:
    try:
        return blobs.path(uri).is_file()
    except TailsightError:
        return False


def _is_whole(blobs: Blobs, item: Item) -> bool:
    from data_contracts.blobs import frame_of
    from data_contracts.imaging import decode

    try:
        decode(blobs.read(item[1], item[0]), max_megapixels=float("inf"), frame=frame_of(item[0]))
    except TailsightError:
        return False
    return True


def _read_parts(folder: Path) -> dict[str, NDArray[np.float32]]:
    known: dict[str, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as part:
            known |= dict(zip(part["ids"].tolist(), part["values"], strict=True))
    return known


def _write_part(folder: Path, ids: Sequence[str], values: NDArray[np.float32]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:24]
    temporary = folder / f".{name}.{os.getpid()}"
    with temporary.open("wb") as file:
        np.savez(file, ids=np.asarray(ids), values=values)
    temporary.replace(folder / f"{name}.npz")
