"""What the ledger has learned since the champion: two dataset versions compared image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import LABELLED_SPLITS, Split
from domain_models.replay import plan_replay


class Change(StrEnum):
    """What happened to a labelled image since the champion."""

    NEW = "new"
    CORRECTED = "corrected"
    UNCHANGED = "unchanged"


class SplitChanges(BaseModel):
    """Images of one split: labelled since, labelled otherwise, as before, and no longer used."""

    model_config = ConfigDict(frozen=True)

    new: int = 0
    corrected: int = 0
    unchanged: int = 0
    removed: int = 0

    @property
    def changed(self) -> int:
        """New and corrected."""
        return self.new + self.corrected


class Changes(BaseModel):
    """What changed, per split. ``new_classes`` gives the training images of each class the champion does not know;
    ``gone_classes`` are classes of the champion that the taxonomy no longer has (or has joined with another)."""

    model_config = ConfigDict(frozen=True)

    train: SplitChanges
    val: SplitChanges
    test: SplitChanges
    new_classes: dict[str, int]
    gone_classes: tuple[str, ...]

    @property
    def anything_to_learn(self) -> bool:
        """Whether a training or validation image changed, or a class did; test images teach nothing."""
        parts = (self.train, self.val)
        moved = any(part.changed or part.removed for part in parts)
        return moved or bool(self.gone_classes) or any(self.new_classes.values())


@dataclass(frozen=True)
class Compared:
    """The comparison: its counts, and the :class:`Change` of each image of the later manifest's labelled splits."""

    changes: Changes
    kinds: dict[str, Change]


def meanings(taxonomy: Taxonomy, classes: Sequence[str], version: int | None) -> dict[str, str]:
    """What a model's classes are called now; classes that mean none, or one that another already means, are left out.

    Args:
        taxonomy: as it is now.
        classes: of the model.
        version: of the taxonomy that the model was trained under.
    """
    found: dict[str, str] = {}
    for name in classes:
        possible = taxonomy.possible(name, version=version)
        if len(possible) == 1 and not possible & set(found.values()):
            found[name] = next(iter(possible))
    return found


def compare(
    before: pd.DataFrame,
    after: pd.DataFrame,
    names_now: Mapping[str, str],
    classes: Sequence[str],
    known: Sequence[str],
) -> Compared:
    """Compare two manifests (frames.MANIFEST).

    Args:
        before: of the dataset version that the champion was trained on.
        after: of the newest version.
        names_now: see :func:`meanings`.
        classes: of the newest taxonomy.
        known: classes of the champion, by the names of its time.
    """
    old, new = (frame[frame["split"] != Split.POOL.value] for frame in (before, after))
    old_labels = {i: names_now.get(label) for i, label in zip(old["image_id"], old["label"], strict=True)}
    kinds = {
        image_id: _kind(image_id in old_labels, old_labels.get(image_id), label)
        for image_id, label in zip(new["image_id"], new["label"], strict=True)
    }
    parts = {}
    for split in LABELLED_SPLITS:
        now = new[new["split"] == split.value]
        counts = now["image_id"].map(kinds).value_counts()
        gone = set(old.loc[old["split"] == split.value, "image_id"]) - set(now["image_id"])
        parts[split.value] = SplitChanges(
            **{kind.value: int(counts.get(kind, 0)) for kind in Change}, removed=len(gone)
        )
    training = new.loc[new["split"] == Split.TRAIN.value, "label"].value_counts()
    return Compared(
        Changes(
            **parts,
            new_classes={name: int(training.get(name, 0)) for name in classes if name not in set(names_now.values())},
            gone_classes=tuple(name for name in known if name not in names_now),
        ),
        kinds,
    )


def _kind(known: bool, old_label: str | None, label: str) -> Change:
    if not known:
        return Change.NEW
    return Change.UNCHANGED if old_label == label else Change.CORRECTED


@dataclass(frozen=True)
class Sample:
    """What an incremental training looks at.

    Attributes:
        manifest: changed and replayed training images with their weights, and all validation images.
        changed: bool, one for each training row of ``manifest``.
        fine_tuning_weights: float64, one for each training row of ``manifest``: fine-tuning sees fewer old images than
            the classifier does; 0 is one that it does not see.
        class_counts: int64 [k], training images of each class in the whole manifest.
        replayed: how many old images are seen again.
    """

    manifest: pd.DataFrame
    changed: NDArray[np.bool_]
    fine_tuning_weights: NDArray[np.float64]
    class_counts: NDArray[np.int64]
    replayed: int


def sample(manifest: pd.DataFrame, compared: Compared, classes: int, *, seed: int) -> Sample:
    """Choose the old images that are seen again, and weigh all.

    Args:
        manifest: the newest.
        compared: with the champion's.
        classes: how many there are.
        seed: of the replay.
    """
    train = manifest[(manifest["split"] == Split.TRAIN.value) & (manifest["weight"] > 0)].sort_values("image_id")
    is_changed = (train["image_id"].map(compared.kinds) != Change.UNCHANGED).to_numpy(dtype=bool)
    labels = train["class_index"].to_numpy(dtype=np.int64)
    plan = plan_replay(labels, is_changed, seed)
    parts = [train.iloc[plan.positions].assign(weight=plan.weights), manifest[manifest["split"] == Split.VAL.value]]
    return Sample(
        pd.concat([part for part in parts if len(part)], ignore_index=True),
        plan.changed,
        plan.fine_tuning_weights,
        np.bincount(labels, minlength=classes).astype(np.int64),
        int((~plan.changed).sum()),
    )
