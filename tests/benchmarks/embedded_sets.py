"""A benchmark set in a workspace of its own, and where the untouched backbone puts its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmark_sets import BenchmarkSet, write_labels
from numpy.typing import NDArray

from data_contracts.blobs import Blobs
from data_contracts.errors import NotFound
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from pipelines.command_line.context import progress_on_stderr
from pipelines.steps.curate import CurateRequest, curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.embeddings import bundled_embedder, embeddings_of
from pipelines.steps.ingest import IngestRequest, ingest
from pipelines.steps.initialise import initialise

FRACTIONS = (0.64, 0.16, 0.20)


@dataclass(frozen=True)
class EmbeddedSet:
    """All labelled images of a set.

    Attributes:
        classes: k names.
        embeddings: float32 [n, d].
        labels: int64 [n]; the class that the set says.
        groups: n components: what must not be split, near duplicates included.
    """

    classes: tuple[str, ...]
    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: list[str]


def curated_set(data: BenchmarkSet, folder: Path, seed: int) -> Workspace:
    """The set ingested and split into 64% training, 16% validation and 20% test images; made once."""
    workspace = Workspace(folder.absolute())
    try:
        load_dataset(workspace)
        return workspace
    except NotFound:
        pass
    folder.mkdir(parents=True, exist_ok=True)
    progress = progress_on_stderr()
    if not workspace.profile_path.exists():
        initialise(workspace, data.profile)
    table = workspace.folder / "labels.csv"
    write_labels(table, data, {path: label for path, label, _ in data.rows})
    request = IngestRequest(
        images=data.images,
        labels=table,
        group_column="group",
        split_column="split" if data.splits else None,
        who="benchmark",
    )
    ingest(workspace, request, progress)
    curate(workspace, CurateRequest(seed=seed, fractions=FRACTIONS), progress)
    return workspace


def embedded_set(data: BenchmarkSet, folder: Path) -> EmbeddedSet:
    """Embeddings by the bundled backbone, computed once and kept in the workspace."""
    workspace = curated_set(data, folder, 0)
    dataset, manifest = load_dataset(workspace)
    used = manifest[manifest["split"] != Split.POOL.value].sort_values("image_id")
    with Ledger.open(workspace) as ledger:
        embedder = bundled_embedder(images_frame(ledger), workspace.profile)
        blobs = Blobs(registered_roots(ledger))
    items = [(str(i), str(uri)) for i, uri in zip(used["image_id"], used["uri"], strict=True)]
    return EmbeddedSet(
        dataset.taxonomy.names,
        embeddings_of(workspace, blobs, embedder, items, progress_on_stderr()),
        used["class_index"].to_numpy(dtype=np.int64),
        [str(component) for component in used["component"]],
    )
