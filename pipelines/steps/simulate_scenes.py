"""Where replays happen: all labelled images, split anew for each seed as `curate` splits.

One split of a long-tailed set has a handful of test images of its rarest class; which they are moves the number of
labels that a strategy needs more than the strategy does. What is compared must therefore be compared on many splits.
Nothing that serves is trained or chosen on them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.blobs import Blobs
from data_contracts.errors import BadInput
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.splitting import Candidate, split_images
from data_contracts.vocabulary import LABELLED_SPLITS
from data_contracts.workspace import Workspace
from domain_models.decision_costs import cost_matrix
from domain_models.selection.pool import Pool
from domain_models.selection_arms import Judges
from pipelines.steps.embeddings import bundled_embedder, embeddings_of
from pipelines.steps.ledger import open_ledger


@dataclass(frozen=True)
class Scene:
    """One split: the training images as if they had no label, the labels that they have, and who judges.

    ``rows`` are int64, those of the training, validation and test images among all.
    """

    pool: Pool
    truth: NDArray[np.int64]
    judges: Judges
    rows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class LabelledEmbeddings:
    """All labelled images of a dataset version.

    Attributes:
        image_ids: n ids.
        classes: k names.
        costs: float64 [k, k], of mistakes.
        embeddings: float32 [n, d]; NaN where an image could not be read.
        labels: int64 [n], class indices.
        components: n names of what is never split.
        fractions: shares of training, validation and test images in the dataset version.
        key: 16 hex digits; other images, labels, shares or costs have another one.
    """

    image_ids: tuple[str, ...]
    classes: tuple[str, ...]
    costs: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    components: tuple[str, ...]
    fractions: tuple[float, float, float]
    key: str

    def scene(self, seed: int) -> Scene:
        """The split of a seed: whole components, stratified by class.

        Raises:
            BadInput: the validation or test images would be of a single class.
        """
        candidates = [
            Candidate(f"{row:09}", component, self.classes[label])
            for row, (component, label) in enumerate(zip(self.components, self.labels, strict=True))
        ]
        splits = split_images(candidates, seed=seed, fractions=self.fractions).splits
        place = np.array([LABELLED_SPLITS.index(splits[one.image_id]) for one in candidates])
        train, val, test = (np.flatnonzero(place == number) for number in range(3))
        readable = np.asarray(np.isfinite(self.embeddings).all(axis=1))
        val, test = val[readable[val]], test[readable[test]]
        for name, rows in (("training", train), ("validation", val), ("test", test)):
            if len(np.unique(self.labels[rows])) < 2:
                raise BadInput(
                    f"The {name} images of a split of the labelled images are not of two classes.",
                    remedy="Ingest more labelled images, then curate again.",
                )
        pool = Pool.of(len(train), classes=self.classes, embeddings=self.embeddings[train], costs=self.costs)
        judges = Judges(self.embeddings[val], self.labels[val], self.embeddings[test], self.labels[test])
        return Scene(pool, self.labels[train], judges, (train, val, test))


def labelled_embeddings(
    workspace: Workspace, dataset: DatasetVersion, manifest: pd.DataFrame, progress: Progress = SILENT
) -> LabelledEmbeddings:
    """Where the bundled backbone, which has seen none of the labels, puts the labelled images.

    Args:
        workspace: where the images are.
        dataset: gives the classes.
        manifest: of ``dataset``.
        progress: told of images.

    Raises:
        BadInput: a split of the dataset version is empty.
    """
    classes = dataset.taxonomy.names
    labelled = manifest["split"].isin([split.value for split in LABELLED_SPLITS]) & (manifest["weight"] > 0)
    used = manifest[labelled].sort_values("image_id")
    counts = [int((used["split"] == split.value).sum()) for split in LABELLED_SPLITS]
    if not all(counts):
        raise BadInput(
            f"Dataset version {dataset.dataset_version} has {counts[0]} training, {counts[1]} validation and "
            f"{counts[2]} test images with a label; a replay needs all three.",
            remedy="Ingest more labelled images, then curate again.",
        )
    with open_ledger(workspace) as ledger:
        embedder = bundled_embedder(images_frame(ledger), workspace.profile)
        blobs = Blobs(registered_roots(ledger))
    items = [(str(i), str(uri)) for i, uri in zip(used["image_id"], used["uri"], strict=True)]
    costs = cost_matrix(classes, workspace.profile.under(dataset.taxonomy).costs)
    shares = np.array(counts) / sum(counts)
    content = json.dumps([dataset.dataset_version, embedder.key, costs.tolist(), counts])
    return LabelledEmbeddings(
        tuple(image_id for image_id, _ in items),
        classes,
        costs,
        embeddings_of(workspace, blobs, embedder, items, progress),
        used["class_index"].to_numpy(dtype=np.int64),
        tuple(str(component) for component in used["component"]),
        (float(shares[0]), float(shares[1]), float(shares[2])),
        hashlib.sha256(content.encode()).hexdigest()[:16],
    )
