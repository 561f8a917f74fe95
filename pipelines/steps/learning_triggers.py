"""When there is enough to learn from: what people answered since the newest model, held against the profile.

Pure where it decides; :func:`answers_since` reads the ledger.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import dataset
from data_contracts.ledger.events import events_frame, head
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.images import images_frame
from data_contracts.profile import RetrainSettings
from data_contracts.review.tasks import asked_about, drawn_by_audit, tasks_frame
from data_contracts.vocabulary import Source
from data_contracts.workspace import Workspace
from pipelines.steps.ledger import open_ledger
from pipelines.steps.registry import open_registry


class NewAnswers(BaseModel):
    """What people answered after one place in the ledger.

    ``images`` have an answer that holds now and was given since (an answer that was undone is none); ``per_class``
    splits them by label; ``bad_images`` were marked unusable; ``audited`` have such an answer too, but a random audit
    drew them: they measure, and no model learns them. ``last_at`` is when anybody last said anything.
    """

    model_config = ConfigDict(frozen=True)

    since: int = Field(ge=0)
    head: int = Field(ge=0)
    images: int = Field(ge=0)
    per_class: dict[str, int]
    bad_images: int = Field(ge=0)
    audited: int = Field(default=0, ge=0)
    last_at: datetime | None


class Readiness(BaseModel):
    """Whether to train now, and the sentence that says exactly why or what is missing."""

    model_config = ConfigDict(frozen=True)

    ready: bool
    sentence: str


def readiness(answers: NewAnswers, settings: RetrainSettings, now: datetime) -> Readiness:
    """Whether the answers are enough and people have paused.

    Enough are ``new_labels`` in all, or ``new_labels_per_class`` of any one class. Then nobody may have answered for
    ``debounce_seconds``, so that one sitting makes one training.
    """
    counts = sorted(answers.per_class.items(), key=lambda item: (-item[1], item[0]))
    full = [name for name, count in counts if count >= settings.new_labels_per_class]
    total = f"{answers.images} of {settings.new_labels} new answers"
    if answers.audited:
        total += f" ({answers.audited} more, drawn by a random audit, only measure)"
    if answers.images < settings.new_labels and not full:
        most = (
            f"; most in one class: {counts[0][1]} of {settings.new_labels_per_class} ({counts[0][0]})" if counts else ""
        )
        missing = settings.new_labels - answers.images
        return Readiness(ready=False, sentence=f"{total}{most}. {missing} more are needed, or enough of one class.")
    reached = (
        f"{answers.images} new answers (threshold {settings.new_labels})"
        if answers.images >= settings.new_labels
        else f"{answers.per_class[full[0]]} new answers of {full[0]!r} (threshold {settings.new_labels_per_class})"
    )
    quiet = timedelta(seconds=settings.debounce_seconds)
    if answers.last_at is not None and now - answers.last_at < quiet:
        left = quiet - (now - answers.last_at)
        return Readiness(
            ready=False,
            sentence=f"{reached}, but the last answer is {_words(now - answers.last_at)} old; waiting {_words(left)}"
            f" more, for {_words(quiet)} without an answer.",
        )
    return Readiness(ready=True, sentence=f"{reached}.")


def answers_since(ledger: Ledger, since: int) -> NewAnswers:
    """What was answered by people (not imported) after event number ``since``."""
    end = head(ledger).sequence
    if end <= since:
        return NewAnswers(since=since, head=end, images=0, per_class={}, bad_images=0, last_at=None)
    events = events_frame(ledger)
    later = events[events["sequence"] > since]
    spoken = later[later["source"] != Source.IMPORT.value]
    answers = image_answers(ledger)
    given = answers[answers["event_id"].isin(set(spoken["event_id"]))]
    tasks, images = tasks_frame(ledger), images_frame(ledger)
    audited = images.loc[asked_about(images, tasks[drawn_by_audit(tasks)]), "image_id"]
    measures = given["image_id"].isin(set(audited))
    given, only_measured = given[~measures], int(measures.sum())
    counts = given["label"].dropna().value_counts()
    return NewAnswers(
        since=since,
        head=end,
        images=len(given),
        per_class={str(name): int(count) for name, count in counts.items()},
        bad_images=int(answers.loc[answers["bad_image"], "image_id"].isin(set(spoken["subject_id"])).sum()),
        audited=only_measured,
        last_at=spoken["at"].max().to_pydatetime() if len(spoken) else None,
    )


def newest_learned(workspace: Workspace) -> int | None:
    """Up to which event the newest model has learned; ``None`` where there is no model yet.

    Also a candidate that the gate refused has learned: the same answers would only train the same model again.
    """
    with open_registry(workspace) as registry:
        versions = registry.versions()
    if not versions:
        return None
    name = versions[0].tags.get("dataset_version")
    if not name:
        return 0
    with open_ledger(workspace) as ledger:
        return dataset(ledger, name).ledger_head.sequence


def look(workspace: Workspace, requested: int, now: datetime) -> tuple[NewAnswers, Readiness]:
    """What a sensor asks: the answers since the newest model (or since ``requested``, if later) and whether to train.

    Args:
        workspace: whose ledger and profile.
        requested: the last event that a training already under way was asked to learn; 0 for none.
        now: the time.
    """
    learned = newest_learned(workspace)
    with open_ledger(workspace) as ledger:
        answers = answers_since(ledger, max(learned or 0, requested))
    if learned is None:
        return answers, Readiness(ready=False, sentence="There is no model yet; run `tailsight train` first.")
    return answers, readiness(answers, workspace.profile.retrain, now)


def _words(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    if seconds < 120:
        return f"{seconds} seconds"
    return f"{seconds // 60} minutes" if seconds < 7200 else f"{seconds // 3600} hours"
