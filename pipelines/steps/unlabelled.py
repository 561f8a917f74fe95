"""Which images without a label may teach: those of the pool that no later measurement rests on.

Left out are images that belong together with a validation or test image (a patient, a part, a duplicate), groups that
were set aside for the test edition before anybody looked, and images that people have marked as bad.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pandas as pd

from data_contracts.errors import BadInput
from data_contracts.ledger.fold import image_answers
from data_contracts.progress import SILENT, Progress
from data_contracts.set_aside import components_set_aside
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.training_config import TrainingConfig
from domain_models.training_data import UnlabelledImages
from pipelines.steps.ledger import open_ledger
from pipelines.steps.prepared_images import prepared_images


@dataclass(frozen=True)
class Unlabelled:
    """Manifest rows of images without a label that may teach, by image id, and how many may not, by reason."""

    rows: pd.DataFrame
    left_out: dict[str, int]

    @property
    def sentence(self) -> str:
        """How many there are, and what became of the others."""
        others = [f"{count:,} {reason}" for reason, count in self.left_out.items() if count]
        left = f" Left out of the pool: {', '.join(others)}." if others else ""
        return f"{len(self.rows):,} images without a label.{left}"


def unlabelled(workspace: Workspace, manifest: pd.DataFrame) -> Unlabelled:
    """The images of a dataset version's pool that may teach.

    Args:
        workspace: whose ledger says which images are bad.
        manifest: frames.MANIFEST, all of it.
    """
    with open_ledger(workspace) as ledger:
        answers = image_answers(ledger)
    bad = set(answers.loc[answers["bad_image"], "image_id"])
    component_of = dict(zip(manifest["image_id"], manifest["component"], strict=True))
    groups = {
        image: group if isinstance(group, str) else None
        for image, group in zip(manifest["image_id"], manifest["group"], strict=True)
    }
    measured = manifest["split"].isin([Split.VAL.value, Split.TEST.value])
    reasons = {
        "of groups that were set aside for the test": components_set_aside(component_of, groups),
        "that belong to a validation or test image": set(manifest.loc[measured, "component"]),
    }
    rows = manifest[manifest["split"] == Split.POOL.value].sort_values("image_id")
    left_out = {}
    for reason, components in reasons.items():
        out = rows["component"].isin(components)
        left_out[reason], rows = int(out.sum()), rows[~out]
    marked = rows["image_id"].isin(bad)
    return Unlabelled(rows[~marked].reset_index(drop=True), left_out | {"marked as bad": int(marked.sum())})


def with_pool(workspace: Workspace, manifest: pd.DataFrame, config: TrainingConfig) -> tuple[TrainingConfig, list[str]]:
    """The configuration with the pool that it learns from named by content, and a sentence about it.

    Raises:
        BadInput: it asks for unlabelled images, and there are none that may teach.
    """
    if not config.pool.ratio:
        return config, []
    found = unlabelled(workspace, manifest)
    if found.rows.empty:
        raise BadInput(
            f"pool.ratio={config.pool.ratio} asks for images without a label. There are {found.sentence}",
            remedy="Ingest images without labels and run `tailsight curate` again, or leave pool.ratio at 0.",
        )
    rows = _needed(found, manifest, config)
    content = hashlib.sha256("\0".join(rows["image_id"]).encode()).hexdigest()
    pool = config.pool.model_copy(update={"content": content})
    how = (
        f", after classes are given the shares that they have among the labels (to the power {pool.prior_power:g}), "
        "because a network names rare classes more rarely than they occur"
        if pool.alignment
        else ""
    )
    drawn = (
        f" {len(rows):,} of them are used: training will not get to see more." if len(rows) < len(found.rows) else ""
    )
    sentence = (
        f"FixMatch on {found.sentence}{drawn} An epoch sees at most {pool.ratio} of them for each labelled one; one "
        f"teaches where a class has a probability of at least {pool.threshold:g}{how}."
    )
    return config.model_copy(update={"pool": pool}), [sentence]


def pool_images(
    workspace: Workspace, manifest: pd.DataFrame, config: TrainingConfig, progress: Progress = SILENT
) -> UnlabelledImages | None:
    """The images without a label that a configuration learns from; ``None`` where it uses none.

    Args:
        workspace: where the images are.
        manifest: frames.MANIFEST, all of it.
        config: from :func:`with_pool`.
        progress: told of each image decoded.
    """
    if not config.pool.ratio:
        return None
    rows = _needed(unlabelled(workspace, manifest), manifest, config)
    return UnlabelledImages.of_manifest(rows, prepared_images(workspace, rows, config.preprocessing, progress))


def _needed(found: Unlabelled, manifest: pd.DataFrame, config: TrainingConfig) -> pd.DataFrame:
    """As many of the images as all epochs together can see, so that no more are decoded and kept.

    An image id is the hash of its bytes, so the first ones are as good as drawn by lot, and always the same.
    """
    labelled = int(((manifest["split"] == Split.TRAIN.value) & (manifest["weight"] > 0)).sum())
    return found.rows.head(config.pool.ratio * labelled * config.epochs)
