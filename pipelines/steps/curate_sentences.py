"""What a person should know of a dataset version, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from data_contracts.splitting import Leak, SplitResult
from data_contracts.vocabulary import LABELLED_SPLITS, Split

STRONG_IMBALANCE = 10.0
"""From this ratio of the largest to the smallest class on, accuracy says little about the small classes."""


def split_counts(manifest: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Images of each class in train, val and test; classes in alphabetical order."""
    used = manifest[manifest["split"] != Split.POOL.value]
    counts = used.groupby(["split", "label"]).size()
    names = sorted(used["label"].unique())
    return {split.value: {name: int(counts.get((split.value, name), 0)) for name in names} for split in LABELLED_SPLITS}


def imbalance_of(manifest: pd.DataFrame) -> float | None:
    """Images of the largest class over those of the smallest; None with fewer than two classes."""
    counts = manifest.loc[manifest["split"] != Split.POOL.value, "label"].value_counts()
    return round(float(counts.max() / counts.min()), 2) if len(counts) > 1 else None


def sentences_of(
    items: pd.DataFrame,
    manifest: pd.DataFrame,
    result: SplitResult,
    totals: Mapping[str, int],
    minimum_count: int,
    mismatched: int,
) -> list[str]:
    """Everything worth saying, the most consequential first.

    Args:
        items: one row per image with ``why_not`` (empty where it is used), ``assigned`` (its split so far, if any) and
            ``audited`` (drawn by a random audit).
        manifest: the dataset version.
        result: of the split.
        totals: usable images of each class.
        minimum_count: the advised number of images per class.
        mismatched: images whose exact duplicates were given different splits.
    """
    used = manifest[manifest["split"] != Split.POOL.value]
    present = {name: n for name, n in totals.items() if n}
    sizes = ", ".join(f"{int((used['split'] == split.value).sum()):,} {split}" for split in LABELLED_SPLITS)
    sentences = [f"{len(used):,} images of {len(present)} {_plural(len(present), 'class', 'classes')}: {sizes}."]
    if len(present) == 1:
        sentences.append(
            f"All labelled images are of one class, {next(iter(present))!r}: a classifier needs at least two."
        )
    sentences += _empty_splits(used)
    sentences += _grown_test(items, manifest)
    sentences += _leaks(result.leaks, mismatched)
    sentences += result.sentences
    sentences += _imbalance(present, minimum_count)
    sentences += [f"Class {name!r} of the taxonomy has no usable image." for name, n in totals.items() if not n]
    return sentences + _pool(items, manifest)


def _empty_splits(used: pd.DataFrame) -> list[str]:
    empty = [split.value for split in LABELLED_SPLITS if not (used["split"] == split.value).any()]
    if not empty:
        return []
    largest = int(used["component"].value_counts().iloc[0])
    return [
        f"Nothing is left for {' and '.join(empty)}: the images fall into too few parts that may be separated "
        f"(the largest holds {largest:,} of {len(used):,})."
    ]


def _grown_test(items: pd.DataFrame, manifest: pd.DataFrame) -> list[str]:
    if items["assigned"].isna().all():
        return []
    joined = (manifest["split"] == Split.TEST.value).to_numpy() & items["assigned"].isna()
    total, audited = int(joined.sum()), int((joined & items["audited"]).sum())
    if not total:
        return []
    return [
        f"{total:,} {_plural(total, 'image has', 'images have')} joined the test set: {audited:,} drawn by a random "
        f"audit, {total - audited:,} set aside when they came. No model has been or will be trained on them."
    ]


def _leaks(leaks: tuple[Leak, ...], mismatched: int) -> list[str]:
    sentences = []
    given = [leak for leak in leaks if leak.from_given_column]
    if given or mismatched:
        aside = sum(leak.images_set_aside for leak in given)
        sentences.append(
            f"The given split leaks: {len(given) + mismatched:,} {_plural(len(given) + mismatched, 'case', 'cases')} "
            f"of one group or duplicate in two splits. They stay in the stricter split (test before val before train); "
            f"{aside:,} {_plural(aside, 'image was', 'images were')} set aside."
        )
    later = [leak for leak in leaks if not leak.from_given_column]
    if later:
        aside = sum(leak.images_set_aside for leak in later)
        sentences.append(
            f"New images show that {len(later):,} earlier {_plural(len(later), 'group is', 'groups are')} "
            f"in two splits; "
            f"{aside:,} {_plural(aside, 'image was', 'images were')} set aside so that test stays unseen."
        )
    return sentences


def _imbalance(present: Mapping[str, int], minimum_count: int) -> list[str]:
    sentences = []
    if len(present) > 1:
        largest, smallest = max(present, key=lambda n: present[n]), min(present, key=lambda n: present[n])
        factor = present[largest] / present[smallest]
        if factor >= STRONG_IMBALANCE:
            sentences.append(
                f"The largest class ({largest!r}, {present[largest]:,}) has {factor:.0f} times the images "
                f"of the smallest ({smallest!r}, {present[smallest]:,}): "
                "judge by macro-F1 and recall per class, not by accuracy."
            )
    under = {name: n for name, n in present.items() if n < minimum_count}
    if under:
        listed = ", ".join(f"{name!r} ({n:,})" for name, n in sorted(under.items(), key=lambda item: item[1])[:8])
        more = f" and {len(under) - 8} more" if len(under) > 8 else ""
        sentences.append(
            f"{len(under)} {_plural(len(under), 'class has', 'classes have')} fewer than the advised {minimum_count:,} "
            f"images: {listed}{more}. Expect wide intervals on their figures and more of their images in review; "
            "labelling more of them helps most."
        )
    return sentences


def _pool(items: pd.DataFrame, manifest: pd.DataFrame) -> list[str]:
    reasons = items.loc[(manifest["split"] == Split.POOL.value).to_numpy(), "why_not"].value_counts()
    wording = {
        "unlabelled": "without a label",
        "split_class": "whose class was split (they wait until somebody says which of the new ones)",
        "conflict": "whose exact duplicates have different labels (kept out until a person decides)",
        "bad_image": "marked as bad",
        "unknown_class": "with a label that is no class of the taxonomy",
        "": "set aside because of leaks",
    }
    parts = [f"{int(reasons[key]):,} {words}" for key, words in wording.items() if key in reasons]
    if not parts:
        return []
    total = int(reasons.sum())
    return [f"{total:,} {_plural(total, 'image is', 'images are')} not used: {'; '.join(parts)}."]


def _plural(n: int, one: str, many: str) -> str:
    return one if n == 1 else many
