"""Images of manifest rows, decoded and resized as a model wants them: once, into the workspace's image cache."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data_contracts.blobs import Blobs
from data_contracts.ledger.roots import registered_roots
from data_contracts.progress import SILENT, Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from domain_models.image_cache import CachedImages, build_image_cache
from domain_models.preprocessing import Preprocessing
from pipelines.steps.ledger import open_ledger


def image_cache_folder(workspace: Workspace) -> Path:
    """Where prepared images are kept."""
    return workspace.cache / "images"


def prepared_images(
    workspace: Workspace,
    rows: pd.DataFrame,
    spec: Preprocessing,
    progress: Progress = SILENT,
    folder: Path | None = None,
) -> CachedImages:
    """The images of some manifest rows (frames.MANIFEST), decoded as far as they are not in the image cache.

    Args:
        workspace: where images and caches are.
        rows: which images.
        spec: of the model.
        progress: told of decoding.
        folder: of another cache, where the workspace cannot be written.

    Raises:
        NotFound, IntegrityError: a file is gone or changed since it was ingested.
        UnreadableImage: a file cannot be decoded.
        OSError: the cache cannot be written.
    """
    with open_ledger(workspace) as ledger:
        blobs = Blobs(registered_roots(ledger))
    return build_image_cache(
        folder or image_cache_folder(workspace),
        list(zip(rows["image_id"], rows["uri"], strict=True)),
        blobs,
        spec,
        processes=read_settings().processes,
        progress=progress,
    )
