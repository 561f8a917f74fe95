"""Where the work stands: how much waits and for how long, what it takes, how good it is, what came of it.

Figures of one person are given to that person only, or to a lead where a lead has chosen so (which is an event).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from sqlalchemy import Connection, select

from data_contracts.errors import Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.instants import as_text, from_text
from data_contracts.ledger.instants import now as this_moment
from data_contracts.ledger.tables import DATASET_VERSION, GATE_LOOK, LABEL_EVENT, PROMOTION_EVENT
from data_contracts.ledger.tables_review import REVIEW_TASK
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.profile import Profile
from data_contracts.records import Record
from data_contracts.review.agreement import AgreementFigures, agreement_figures
from data_contracts.review.choices import PERSONAL_FIGURES, choice_in
from data_contracts.review.roles import role_in
from data_contracts.review.standing import READING, standing_events
from data_contracts.review.task_rows import UNSETTLED
from data_contracts.vocabulary import Action, Alias, Role, Source, TaskKind, TaskState

ANSWERS_FOR_PACE = 500
"""How many of the latest answers tell how long one takes."""

FEWEST_FOR_PACE = 5
PAUSE = timedelta(minutes=5)
"""Whoever gives no answer for longer was not at work in between."""


class ClassProgress(Record):
    """One class: images that have this label now, answers that gave it, tasks that wait where the model says it."""

    name: str
    images: int
    answers: int
    waiting: int


class VersionShare(Record):
    """How many of a person's corrections a model version was trained on; ``champion``: it serves, or has served."""

    model_version: str
    corrections: int
    champion: bool


class PersonalFigures(Record):
    """One person's work. ``per_hour`` is over the time at work (pauses of more than five minutes left out)."""

    who: str
    answers: int
    corrections: int
    taken_back: int
    seconds_per_answer: float | None
    per_hour: float | None
    override_rate: float | None
    agreement: AgreementFigures
    learned: tuple[VersionShare, ...]


class ProgressFigures(Record):
    """Where the work stands now. Ages and times are in seconds and hours; a figure without data is ``None``."""

    at: datetime
    per_class: tuple[ClassProgress, ...]
    hold_waiting: int
    learn_waiting: int
    disputed: int
    closed: int
    overdue: int
    next_due: datetime | None
    oldest_age_seconds: float | None
    median_age_seconds: float | None
    seconds_per_answer: float
    measured_pace: bool
    hours_left: float
    capacity_hours_per_week: float
    weeks_left: float | None
    agreement: AgreementFigures
    personal: PersonalFigures | None


def progress_figures(
    ledger: Ledger,
    profile: Profile,
    *,
    who: str | None = None,
    asked_by: str | None = None,
    trained_on: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> ProgressFigures:
    """Where the work stands.

    Args:
        ledger: where.
        profile: says the readers' capacity, and how long an answer takes until enough were measured.
        who: whose personal figures to add; ``None`` for none.
        asked_by: who looks, ``who`` themselves by default.
        trained_on: dataset version by model version; what looks of the gate say (``trained_on`` in their report) is
            known anyway.
        now: when.

    Raises:
        Refused: the personal figures are another person's, and are not shown to ``asked_by``.
    """
    at = now or this_moment()
    looking = asked_by or who
    with ledger.reading() as connection:
        if who is not None:
            _require_visible(connection, who, asked_by or who)
        may_read = looking is not None and role_in(connection, looking) != Role.LEAD
        tasks = [dict(row) for row in connection.execute(select(REVIEW_TASK)).mappings()]
        query = select(LABEL_EVENT).where(LABEL_EVENT.c.task_id.is_not(None)).order_by(LABEL_EVENT.c.sequence)
        events = [dict(row) for row in connection.execute(query).mappings()]
        corrections = [] if who is None else _corrections(events, tasks, who)
        shares = _learned(connection, corrections, trained_on or {}) if corrections else []
    waiting = [task for task in tasks if task["state"] in UNSETTLED]
    spent = [e["seconds_spent"] for e in events if e["action"] in READING and e["seconds_spent"] is not None]
    measured = len(spent) >= FEWEST_FOR_PACE
    seconds = median(spent[-ANSWERS_FOR_PACE:]) if measured else profile.review.seconds_per_image
    left = sum(task["readings_required"] - (task["state"] == TaskState.ANSWERED) for task in waiting)
    hours, capacity = left * seconds / 3600, profile.review.reader_hours_per_week
    ages = [(at - from_text(task["created_at"])).total_seconds() for task in waiting]
    due = sorted(task["due_at"] for task in waiting if task["due_at"] is not None)
    states = Counter(task["state"] for task in tasks)
    return ProgressFigures(
        at=at,
        per_class=_per_class(ledger, _shown(waiting, profile) if may_read else waiting, events),
        hold_waiting=sum(task["kind"] == TaskKind.HOLD for task in waiting),
        learn_waiting=sum(task["kind"] == TaskKind.LEARN for task in waiting),
        disputed=states[TaskState.DISPUTED.value],
        closed=states[TaskState.CLOSED.value],
        overdue=sum(instant < as_text(at) for instant in due),
        next_due=from_text(due[0]) if due else None,
        oldest_age_seconds=max(ages, default=None),
        median_age_seconds=median(ages) if ages else None,
        seconds_per_answer=seconds,
        measured_pace=measured,
        hours_left=hours,
        capacity_hours_per_week=capacity,
        weeks_left=hours / capacity if capacity else None,
        agreement=agreement_figures(ledger),
        personal=None if who is None else _personal(ledger, events, who, len(corrections), shares),
    )


def _require_visible(connection: Connection, who: str, asked_by: str) -> None:
    if asked_by == who:
        return
    if role_in(connection, asked_by) == Role.LEAD and choice_in(connection, PERSONAL_FIGURES) == "leads":
        return
    raise Refused(
        f"The personal figures of {who} are visible to {who} only.",
        remedy="A lead may show everybody's to leads; that is recorded.",
        situation="personal_figures",
        facts={"who": who},
    )


def _shown(waiting: Sequence[Mapping[str, Any]], profile: Profile) -> list[Mapping[str, Any]]:
    """Tasks whose prediction their reader may know: counts by class would tell the model's answer to a blind one."""
    return [task for task in waiting if not task["blind"] and not profile.review.read_first]


def _per_class(
    ledger: Ledger, waiting: Sequence[Mapping[str, Any]], events: Sequence[dict[str, Any]]
) -> tuple[ClassProgress, ...]:
    taxonomy = current_taxonomy(ledger)
    labels = image_labels(ledger)
    images = Counter(labels.loc[~labels["bad_image"], "label"].dropna())
    stands = [e for e in standing_events(events) if e["action"] in READING and e["label"] is not None]
    answers = Counter(taxonomy.resolve(e["label"]) or e["label"] for e in stands)
    predicted = Counter(task["predicted"] for task in waiting if task["predicted"] is not None)
    known = list(dict.fromkeys((*taxonomy.names, *sorted(images | answers | predicted))))
    return tuple(
        ClassProgress(name=name, images=images[name], answers=answers[name], waiting=predicted[name]) for name in known
    )


def _corrections(
    events: Sequence[dict[str, Any]], tasks: Sequence[Mapping[str, Any]], who: str
) -> list[Mapping[str, Any]]:
    """A person's answers that changed the label on file, or gave a new image another class than the model had said."""
    predicted = {task["task_id"]: task["predicted"] for task in tasks}
    return [
        e
        for e in standing_events(events)
        if (e["who"], e["source"]) == (who, Source.READER)
        and (
            e["action"] == Action.CORRECT
            or (e["action"] == Action.LABEL and predicted.get(e["task_id"]) not in (None, e["label"]))
        )
    ]


def _personal(
    ledger: Ledger, events: Sequence[dict[str, Any]], who: str, corrections: int, learned: Sequence[VersionShare]
) -> PersonalFigures:
    answers = [e for e in standing_events(events) if e["who"] == who and e["action"] in READING]
    spent = [e["seconds_spent"] for e in answers if e["seconds_spent"] is not None]
    agreement = agreement_figures(ledger, who=who)
    return PersonalFigures(
        who=who,
        answers=len(answers),
        corrections=corrections,
        taken_back=sum(e["who"] == who and e["action"] == Action.UNDO for e in events),
        seconds_per_answer=median(spent[-ANSWERS_FOR_PACE:]) if spent else None,
        per_hour=_per_hour([from_text(e["at"]) for e in answers]),
        override_rate=agreement.override_rate,
        agreement=agreement,
        learned=tuple(learned),
    )


def _per_hour(instants: Sequence[datetime]) -> float | None:
    """Answers per hour at work: gaps between answers, pauses left out."""
    gaps = [later - earlier for earlier, later in pairwise(instants)]
    worked = [gap.total_seconds() for gap in gaps if timedelta(0) <= gap <= PAUSE]
    return len(worked) / sum(worked) * 3600 if sum(worked) > 0 else None


def _learned(
    connection: Connection, corrections: Sequence[Mapping[str, Any]], trained_on: Mapping[str, str]
) -> list[VersionShare]:
    """Model versions whose data set was made when the ledger held some of these corrections, newest first."""
    heads: dict[str, int] = {}
    for name, sequence in connection.execute(
        select(DATASET_VERSION.c.dataset_version, DATASET_VERSION.c.head_sequence)
    ):
        heads[name] = max(heads.get(name, 0), sequence)
    known = dict(trained_on)
    for version, report in connection.execute(select(GATE_LOOK.c.model_version, GATE_LOOK.c.report)):
        if isinstance(source := _report_of(report).get("trained_on"), str):
            known.setdefault(version, source)
    served = select(PROMOTION_EVENT.c.model_version).where(PROMOTION_EVENT.c.to_alias == Alias.CHAMPION.value)
    champions = set(connection.execute(served).scalars())
    shares = [
        VersionShare(
            model_version=version,
            corrections=sum(int(e["sequence"]) <= heads.get(dataset, 0) for e in corrections),
            champion=version in champions,
        )
        for version, dataset in known.items()
    ]
    ordered = sorted(shares, key=lambda share: (len(share.model_version), share.model_version), reverse=True)
    return [share for share in ordered if share.corrections]


def _report_of(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return found if isinstance(found, dict) else {}
