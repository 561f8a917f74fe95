"""What belongs together and what was given: groups and splits of images, and where files contradict each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from data_contracts.ledger.conflicts import record_conflicts
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.given_splits import set_given_splits, split_mismatch
from data_contracts.ledger.images import set_groups
from data_contracts.records import Conflict
from data_contracts.vocabulary import ConflictKind, SubjectKind
from pipelines.steps.ingest_statements import Statement


def bind(ledger: Ledger, said: Mapping[str, Sequence[Statement]]) -> list[Conflict]:
    """Set group and given split of images that have none; return (and record) what contradicts.

    Args:
        ledger: where.
        said: statements about each image, by image id; the first one that names a group or split counts.
    """
    conflicts: list[Conflict] = []
    groups, splits = {}, {}
    for image, statements in said.items():
        named = list(dict.fromkeys(s.group for s in statements if s.group))
        given = list(dict.fromkeys(s.split for s in statements if s.split))
        if named:
            groups[image] = named[0]
        if given:
            splits[image] = given[0]
        if len(named) > 1:
            conflicts.append(
                Conflict(
                    kind=ConflictKind.GROUP_MISMATCH,
                    subject_kind=SubjectKind.IMAGE,
                    subject_id=image,
                    labels=tuple(named),
                    detail=f"Files with exactly these bytes are in the groups {' and '.join(map(repr, named))}; "
                    f"it was put in {named[0]!r}.",
                )
            )
        if len(given) > 1:
            conflicts.append(split_mismatch(image, tuple(given)))
    record_conflicts(ledger, conflicts)
    return [*conflicts, *set_groups(ledger, groups), *set_given_splits(ledger, splits)]


def near_duplicate_conflicts(ledger: Ledger, pairs: pd.DataFrame, labels: Mapping[str, str | None]) -> list[Conflict]:
    """Record binding pairs whose images have different labels; they stay in use, a person should look.

    Args:
        ledger: where.
        pairs: rows of ``near_duplicates_frame``.
        labels: current label of every image.
    """
    conflicts = []
    bound = pairs[pairs["binding"]]
    columns = (bound[name].to_list() for name in ("image_a", "image_b", "correlation"))
    for image_a, image_b, correlation in zip(*columns, strict=True):
        a, b = labels.get(image_a), labels.get(image_b)
        if a is not None and b is not None and a != b:
            conflicts.append(
                Conflict(
                    kind=ConflictKind.NEAR_DUPLICATE_LABELS,
                    subject_kind=SubjectKind.IMAGE,
                    subject_id=image_a,
                    labels=(a, b),
                    detail=f"It looks the same as {image_b} (correlation {correlation:.3f}), which is labelled "
                    f"{b!r}, while this one is labelled {a!r}.",
                )
            )
    record_conflicts(ledger, conflicts)
    return conflicts
