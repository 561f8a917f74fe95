"""What changed between two dataset versions, and which old images are learned again beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from pipelines.steps.retrain_changes import Change, compare, meanings, sample


def frame(*rows: tuple[str, str, str | None]) -> pd.DataFrame:
    """image_id, split, label."""
    content = pd.DataFrame(rows, columns=["image_id", "split", "label"])
    return content.assign(class_index=content["label"].map({"a": 0, "b": 1, "c": 2}).fillna(-1).astype(int), weight=1.0)


def test_two_versions_are_compared_image_by_image() -> None:
    before = frame(("1", "train", "a"), ("2", "train", "b"), ("3", "val", "a"), ("4", "test", "a"), ("5", "pool", None))
    after = frame(
        ("1", "train", "a"), ("2", "train", "a"), ("3", "pool", None), ("4", "test", "b"), ("5", "train", "c")
    )
    result = compare(before, after, {"a": "a", "b": "b"}, ("a", "b", "c"), ("a", "b"))
    assert result.kinds == {
        "1": Change.UNCHANGED, "2": Change.CORRECTED, "4": Change.CORRECTED, "5": Change.NEW,
    }  # fmt: skip
    train_part = result.changes.train
    assert (train_part.new, train_part.corrected, train_part.unchanged, train_part.removed) == (1, 1, 1, 0)
    assert (result.changes.val.removed, result.changes.test.corrected) == (1, 1)
    assert result.changes.new_classes == {"c": 1}
    assert result.changes.anything_to_learn
    chosen = sample(after, result, 3, seed=0)
    assert chosen.class_counts.tolist() == [2, 0, 1]
    assert chosen.changed.tolist() == [True, True, False]
    assert list(chosen.manifest["image_id"]) == ["2", "5", "1"]
    assert chosen.fine_tuning_weights.tolist() == [1.0, 1.0, 1.0]


def test_the_classifier_sees_more_old_images_than_fine_tuning_and_both_stand_for_all() -> None:
    before = frame(*((f"{i:04}", "train", "ab"[i % 5 == 0]) for i in range(6000)))
    after = pd.concat([before, frame(*((f"new{i:02}", "train", "b") for i in range(40)))])
    result = compare(before, after, {"a": "a", "b": "b"}, ("a", "b"), ("a", "b"))
    chosen = sample(after, result, 2, seed=0)
    old = ~chosen.changed
    weights, tuned = chosen.manifest["weight"].to_numpy(), chosen.fine_tuning_weights
    assert (old.sum(), (tuned[old] > 0).sum(), chosen.replayed) == (4000, 256, 4000)
    labels = chosen.manifest["label"].to_numpy()
    for name, count in (("a", 4800), ("b", 1200)):
        assert weights[old & (labels == name)].sum() == pytest.approx(count)
        assert tuned[old & (labels == name)].sum() == pytest.approx(count, rel=0.02)
    assert set(weights[chosen.changed]) == {8.0}
    assert tuned[chosen.changed] == pytest.approx(np.full(40, 6000 / 256))


def test_a_renamed_class_is_the_same_and_a_gone_one_is_named() -> None:
    now = Taxonomy(version=3, classes=(TaxonomyClass(name="crack", aliases=("Riss",)), TaxonomyClass(name="pit")))
    names = meanings(now, ("Riss", "pit", "stain"), 1)
    assert names == {"Riss": "crack", "pit": "pit"}
    before, after = frame(("1", "train", "Riss"), ("2", "train", "stain")), frame(("1", "train", "crack"))
    result = compare(before, after, names, now.names, ("Riss", "pit", "stain"))
    assert result.kinds == {"1": Change.UNCHANGED}
    assert result.changes.gone_classes == ("stain",)
    assert result.changes.train.removed == 1
