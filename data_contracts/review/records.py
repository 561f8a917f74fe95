"""What a review task is, what a person answers, and what they get back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from data_contracts.records import LabelEvent, Record
from data_contracts.vocabulary import (
    Action,
    Certainty,
    Purpose,
    ReviewReason,
    Role,
    SubjectKind,
    TaskKind,
    TaskState,
)

ALWAYS_BLIND = frozenset({Purpose.AUDIT, Purpose.STUDY})
"""Purposes whose tasks never show what the model thinks."""

ANSWERS = frozenset({Action.LABEL, Action.CONFIRM, Action.CORRECT, Action.UNSURE, Action.BAD_IMAGE, Action.SKIP})
"""What a person may answer to a task."""


class TaskEvidence(Record):
    """What the pipeline prepared for the screen: ids and numbers only, never pixels.

    ``top``: up to three (class, calibrated probability), best first. ``neighbours_a`` and ``neighbours_b``: ids of the
    nearest labelled images of the two confused classes. ``overlay``: whether a class-activation file exists.
    """

    top: tuple[tuple[str, float], ...] = ()
    neighbours_a: tuple[str, ...] = ()
    neighbours_b: tuple[str, ...] = ()
    overlay: bool = False
    novelty: float | None = None
    label_on_file: str | None = None
    note: str | None = None


class _TaskFields(Record):
    """What a task has before and after it is in the queue."""

    subject_kind: SubjectKind = SubjectKind.IMAGE
    subject_id: str = Field(min_length=1, max_length=255)
    kind: TaskKind = TaskKind.LEARN
    reason: str = Field(description="a ReviewReason; confused_pair:a|b with the two class names")
    purpose: Purpose = Purpose.REVIEW
    priority: float = Field(default=0.0, allow_inf_nan=False, description="higher comes first")
    model_version: str | None = None
    strategy: str | None = None
    batch: str | None = None
    readings_required: int = Field(default=1, ge=1, le=2)
    blind: bool = False
    due_at: datetime | None = None
    predicted: str | None = None
    confidence: float | None = Field(default=None, ge=0, le=1.000001)
    class_a: str | None = None
    class_b: str | None = None
    evidence: TaskEvidence = TaskEvidence()

    @field_validator("reason")
    @classmethod
    def _reason_is_known(cls, value: str) -> str:
        name, _, pair = value.partition(":")
        if name not in set(ReviewReason) or bool(pair) != (name == ReviewReason.CONFUSED_PAIR):
            known = ", ".join(reason.value for reason in ReviewReason)
            raise ValueError(f"{value!r} is no review reason; known: {known} (confused_pair as confused_pair:a|b)")
        return value

    @model_validator(mode="after")
    def _audits_and_studies_are_blind(self) -> Self:
        if self.purpose in ALWAYS_BLIND and not self.blind:
            raise ValueError(f"a task for {self.purpose.value} is always blind")
        return self


class NewTask(_TaskFields):
    """A task on its way into the queue. ``task_id`` follows from round and subject unless it is given."""

    task_id: str | None = Field(default=None, min_length=1, max_length=40)

    @model_validator(mode="before")
    @classmethod
    def _blind_where_it_must_be(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("purpose") in ALWAYS_BLIND:
            return {**values, "blind": True}
        return values


class ReviewTask(_TaskFields):
    """A task in the queue. ``image_ids`` are the group's images, or the one.

    ``state`` is ``leased`` where somebody holds the task at the moment it was read.
    """

    task_id: str
    image_ids: tuple[str, ...]
    round: str
    state: TaskState
    created_at: datetime

    def as_shown_blind(self) -> ReviewTask:
        """The task without anything that tells what the model thinks, why it is here, or what the answer is for.

        Two blind tasks about one subject differ in their ids only, whatever they are for: audits cannot be told from
        others. Screens show this to whoever has not decided yet.
        """
        hidden: dict[str, Any] = {
            "kind": TaskKind.LEARN,
            "due_at": None,
            "reason": "",
            "purpose": Purpose.REVIEW,
            "priority": 0.0,
            "model_version": None,
            "strategy": None,
            "batch": None,
            "round": "",
            "predicted": None,
            "confidence": None,
            "class_a": None,
            "class_b": None,
            "evidence": TaskEvidence(),
            "created_at": datetime.fromtimestamp(0, tz=self.created_at.tzinfo),
            "readings_required": 1,
            "blind": True,
        }
        return self.model_copy(update=hidden)


class RoundReport(Record):
    """What became of the tasks of one round.

    ``queued`` are new; ``strengthened`` had an open task already, whose claim grew (it is a hold now, or an audit);
    ``already_open`` had one that claims as much; ``dropped_by_budget`` are learn tasks beyond the budget.
    """

    round_id: str
    queued: int
    hold: int
    learn: int
    strengthened: int
    already_open: int
    dropped_by_budget: int
    by_reason: dict[str, int]
    repeated: bool = Field(default=False, description="the round was there before; nothing was added")


class Answer(Record):
    """What a person says about the task that was on the screen.

    ``request_id`` makes it idempotent: the same one never makes a second event. ``model_shown``: the person could see
    what the model thinks before they answered.
    """

    task_id: str
    request_id: str = Field(min_length=1, max_length=200)
    action: Action
    label: str | None = None
    note: str | None = Field(default=None, max_length=4000)
    certainty: Certainty | None = None
    seconds_spent: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    model_shown: bool = False

    @field_validator("action")
    @classmethod
    def _is_an_answer(cls, value: Action) -> Action:
        if value not in ANSWERS:
            raise ValueError(f"{value.value!r} is no answer to a task; answers: {', '.join(sorted(ANSWERS))}")
        return value


class Receipt(Record):
    """What the ledger holds now of one request: only what has a receipt may be shown as saved."""

    request_id: str
    event_id: str
    task_id: str
    task_state: TaskState
    label: str | None
    second_event: bool = False


class Dispute(Record):
    """A task that its readers could not settle; ``readings`` are their standing answers, in order."""

    task: ReviewTask
    readings: tuple[LabelEvent, ...]
    since: datetime


class Person(Record):
    """Somebody who works here; ``since`` is when they were first known, ``by`` who gave them their role."""

    who: str
    role: Role
    since: datetime
    by: str


class DecisionOut(Record):
    """One final verdict on its way out. ``decision_id`` never changes, so that a repeated delivery can be recognised.

    ``verdict`` null and ``bad_image`` false: the decision that this one ``supersedes`` was taken back, and none has
    taken its place yet. ``external_ids``: every value of every external id of the subject's images, and their file
    names (``file_name``).
    """

    sequence: int
    decision_id: str
    at: datetime
    subject_kind: SubjectKind
    subject_id: str
    verdict: str | None
    bad_image: bool
    automatic: bool
    who: str | None
    model_version: str | None
    external_ids: dict[str, tuple[str, ...]]
    supersedes: str | None
    event_id: str | None

    @property
    def taken_back(self) -> bool:
        """Whether this only says that an earlier decision does not hold any more."""
        return self.verdict is None and not self.bad_image
