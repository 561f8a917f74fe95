"""From chosen images to tasks with all that the app will show: ids and numbers prepared here, pictures beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.profile import ReviewSettings
from data_contracts.review.records import NewTask, TaskEvidence
from data_contracts.vocabulary import Purpose, ReviewReason, SubjectKind, TaskKind
from domain_models.selection.neighbours import distance_to_labelled, nearest_of_class, unit_vectors
from domain_models.selection.pool import UNLABELLED
from pipelines.steps.queue_choice import Chosen
from pipelines.steps.queue_pool import RoundPool

NEIGHBOURS_SHOWN = 4
_TOP = 3


@dataclass(frozen=True)
class Prepared:
    """A task to be, and the classes it lies between: indices into the taxonomy, ``None`` where nothing is predicted."""

    chosen: Chosen
    first: int | None
    second: int | None
    neighbours_a: tuple[str, ...]
    neighbours_b: tuple[str, ...]
    novelty: float | None


def prepare_tasks(round_pool: RoundPool, chosen: Sequence[Chosen]) -> list[Prepared]:
    """The confused classes of each task, and the nearest labelled images of both."""
    pool, images = round_pool.pool, round_pool.images
    known = np.flatnonzero(pool.labelled & pool.embedded)
    labelled, labels = unit_vectors(pool.embeddings[known]), pool.labels[known]
    ids = images["image_id"].to_numpy()
    rows = np.array([one.row for one in chosen], dtype=np.int64)
    place, seen = unit_vectors(pool.embeddings[rows]), pool.embedded[rows]
    away = np.full(len(rows), np.nan)
    if len(rows) and len(known):
        away[seen] = distance_to_labelled(place[seen], labelled)
    prepared = []
    for at, (one, novelty) in enumerate(zip(chosen, away, strict=True)):
        first, second = _classes(round_pool, one)

        def near(wanted: int | None, row: int = one.row, at: int = at) -> tuple[str, ...]:
            if wanted is None or not len(known) or not seen[at]:
                return ()
            found = nearest_of_class(place[at], labelled, labels, wanted, NEIGHBOURS_SHOWN + 1)
            return tuple(str(ids[i]) for i in known[found] if i != row)[:NEIGHBOURS_SHOWN]

        number = float(novelty) if np.isfinite(novelty) else None
        prepared.append(Prepared(one, first, second, near(first), near(second), number))
    return prepared


def new_task(
    round_pool: RoundPool,
    one: Prepared,
    *,
    review: ReviewSettings,
    strategy: str,
    model_version: str | None,
    due_at: datetime,
    overlays: set[str],
    failed: Mapping[str, str],
) -> NewTask:
    """The task as the queue wants it.

    Args:
        round_pool: what it was chosen from.
        one: what was prepared for it.
        review: of the profile.
        strategy: how learn tasks were chosen.
        model_version: whose predictions are shown.
        due_at: when a part that waits must be decided.
        overlays: images that have one.
        failed: images that could not be copied, and why.
    """
    pool, chosen = round_pool.pool, one.chosen
    row: pd.Series = round_pool.images.iloc[chosen.row]
    names = round_pool.taxonomy.names
    values = pool.probabilities[chosen.row]
    top: tuple[tuple[str, float], ...] = ()
    confidence = None
    if model_version is not None and len(values) and np.isfinite(values).all():
        order = np.argsort(-values, kind="stable")[:_TOP]
        top = tuple((names[i], round(float(values[i]), 6)) for i in order)
        confidence = min(1.0, float(values[_predicted(round_pool, chosen.row)]))
    on_file = row["label"] if isinstance(row["label"], str) else None
    return NewTask(
        subject_kind=SubjectKind(row["subject_kind"]),
        subject_id=str(row["subject_id"]),
        kind=TaskKind.HOLD if chosen.hold else TaskKind.LEARN,
        reason=chosen.reason,
        purpose=Purpose.AUDIT if chosen.audit else Purpose.REVIEW,
        priority=chosen.priority,
        model_version=model_version,
        strategy=None if chosen.hold else strategy,
        batch=row["batch"] if isinstance(row["batch"], str) else None,
        readings_required=review.readings_required,
        blind=chosen.audit or review.readings_required > 1,  # two readings are worth two only if they are independent
        due_at=due_at if chosen.hold else None,
        predicted=names[_predicted(round_pool, chosen.row)] if top else None,
        confidence=confidence,
        class_a=None if one.first is None else names[one.first],
        class_b=None if one.second is None else names[one.second],
        evidence=TaskEvidence(
            top=top,
            neighbours_a=one.neighbours_a,
            neighbours_b=one.neighbours_b,
            overlay=row["image_id"] in overlays,
            novelty=one.novelty,
            label_on_file=on_file,
            note=failed.get(row["image_id"]),
        ),
    )


def _predicted(round_pool: RoundPool, row: int) -> int:
    """The class that scoring predicted, which need not be the most probable; without it, the most probable."""
    said, names = round_pool.images["predicted"].iloc[row], round_pool.taxonomy.names
    labelled = int(round_pool.pool.labels[row]) != UNLABELLED  # other probabilities than the scores are told of these
    if isinstance(said, str) and said in names and not labelled:
        return names.index(said)
    return int(round_pool.pool.probabilities[row].argmax())


def _classes(round_pool: RoundPool, chosen: Chosen) -> tuple[int | None, int | None]:
    """The classes that the task lies between: predicted and next, or predicted and the label that is doubted."""
    pool = round_pool.pool
    values: NDArray[np.float64] = pool.probabilities[chosen.row]
    if len(values) < 2 or not np.isfinite(values).all():
        return None, None
    first = _predicted(round_pool, chosen.row)
    second = next(int(index) for index in np.argsort(-values, kind="stable") if index != first)
    label = int(pool.labels[chosen.row])
    doubted = chosen.reason in (ReviewReason.SUSPECT_LABEL.value, ReviewReason.CONFLICT.value)
    if doubted and label not in (UNLABELLED, first):
        return first, label
    return first, second
