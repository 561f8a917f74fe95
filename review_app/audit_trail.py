"""Everything that happened to one image, as a table in the reader's language.

Whoever still has to read an image does not learn here what others said of it, what the model thinks, or why it waits.
Why a blind task was here is told to leads alone, because audits must not be told from other blind tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data_contracts.review import roles, tasks
from data_contracts.review.search import Story, StoryEntry, StoryKind, story
from data_contracts.vocabulary import Role, TaskState
from review_app.canvas.frame import encode_frame
from review_app.service import LARGE, SHORT_ID, ReviewService
from review_app.texts import Texts

_UNSETTLED = (TaskState.OPEN, TaskState.LEASED, TaskState.ANSWERED)


@dataclass(frozen=True)
class Trail:
    """What a person may read of an image's story.

    Attributes:
        story: names, group, the label that holds (``None`` where it is hidden) and the entries that may be read.
        something_hidden: this person still has to answer, so what others said is left out.
    """

    story: Story
    something_hidden: bool


def trail_of(service: ReviewService, who: str, image_id: str) -> Trail:
    """The story of an image as ``who`` may read it.

    Raises:
        NotFound: there is no such image.
    """
    whole = story(service.ledger, image_id)
    if roles.role_of(service.ledger, who) != Role.LEAD:
        whole = whole.model_copy(update={"entries": tuple(_without_purpose(entry) for entry in whole.entries)})
    secret = _still_to_read(service, who, whole)
    if not secret:
        return Trail(whole, something_hidden=False)
    entries = tuple(entry for entry in whole.entries if _may_be_read(entry, who, secret))
    return Trail(whole.model_copy(update={"entries": entries, "label": None}), something_hidden=True)


def rows_of(trail: Trail, texts: Texts) -> list[dict[str, str]]:
    """The entries as rows of a table, newest first."""
    number = {e.event.event_id: e.event.sequence for e in trail.story.entries if e.event is not None}
    return [_row(entry, number, texts) for entry in reversed(trail.story.entries)]


def viewer_frame(service: ReviewService, who: str, image_id: str, texts: Texts) -> bytes:
    """The message that shows one image, without anything to decide."""
    name = f"{LARGE}:{image_id}"
    pictures, missing = service.pictures([name])
    image = {
        "name": name,
        "overlay": None,
        "source": service.source_size(image_id),
        "ref": image_id[:SHORT_ID],
        "missing": bool(missing),
    }
    header = {
        "mode": "viewer",
        "desk": "audit",
        "who": who,
        "language": texts.language.value,
        "texts": texts.canvas,
        "classes": [],
        "window": service.window(),
        "images": [image],
        "queue": [],
        "answers": {},
        "unavailable": missing,
    }
    return encode_frame(header, pictures)


def _row(entry: StoryEntry, number: dict[str, int], texts: Texts) -> dict[str, str]:
    event, facts = entry.event, entry.facts
    what = texts(f"story.{entry.kind.value}")
    label, note, certainty, seconds, model = "", "", "", "", ""
    if event is not None:
        what = texts(f"actions.{event.action.value}")
        if event.undoes is not None:
            what = f"{what} (#{number.get(event.undoes, '?')})"
        if entry.undone:
            what = f"{what} · {texts('audit.undone')}"
        label = event.label or ""
        if event.previous_label and event.previous_label != event.label:
            label = f"{event.previous_label} → {label or '–'}"
        note = event.note or ""
        certainty = "" if event.certainty is None else texts(f"canvas.certainty_{event.certainty.value}")
        seconds = "" if event.seconds_spent is None else f"{event.seconds_spent:.1f}"
        model = event.model_version or (texts("audit.blind") if event.blind else "")
    elif entry.kind is StoryKind.QUEUED and entry.facts.get("reason") is None:
        note = texts("canvas.blind")
    elif entry.kind is StoryKind.QUEUED:
        note = texts(f"reasons.{facts['reason'].partition(':')[0]}", **_pair(facts["reason"]))
        label, model = facts["predicted"] or "", facts["model_version"] or ""
    elif entry.kind is StoryKind.DECIDED:
        label, model = facts["verdict"] or "", facts["model_version"] or ""
    elif entry.kind is StoryKind.DELIVERED:
        note = facts["sink"]
    else:
        note = facts["batch"]
    return {
        texts("audit.number"): "" if event is None else str(event.sequence),
        texts("audit.at"): entry.at.strftime("%Y-%m-%d %H:%M:%S"),
        texts("audit.who"): entry.who or "",
        texts("audit.action"): what,
        texts("audit.label"): label,
        texts("audit.note"): note,
        texts("audit.certainty"): certainty,
        texts("audit.seconds"): seconds,
        texts("audit.model"): model,
    }


def _pair(reason: str) -> dict[str, Any]:
    first, _, second = reason.partition(":")[2].partition("|")
    return {"a": first, "b": second}


def _without_purpose(entry: StoryEntry) -> StoryEntry:
    """A blind task as its readers may know it even afterwards: an audit is not told from the others."""
    if entry.kind is not StoryKind.QUEUED or not entry.facts["blind"]:
        return entry
    return entry.model_copy(update={"facts": {"blind": True, "reason": None}})


def _may_be_read(entry: StoryEntry, who: str, secret: set[str]) -> bool:
    if entry.event is not None:
        return entry.who == who or entry.event.task_id not in secret
    return entry.kind is StoryKind.SEEN


def _still_to_read(service: ReviewService, who: str, whole: Story) -> set[str]:
    """Tasks of this image that ``who`` may still be asked to read without knowing what others said."""
    if roles.role_of(service.ledger, who) == Role.LEAD:
        return set()
    frame = tasks.tasks_frame(service.ledger, _UNSETTLED)
    own = frame[frame["subject_id"].isin([whole.image_id, whole.group])]
    hidden = own["blind"] | (own["readings_required"] > 1) | service.profile.review.read_first
    answered = {entry.event.task_id for entry in whole.entries if entry.event is not None and entry.who == who}
    return {str(task_id) for task_id in own.loc[hidden.astype(bool), "task_id"]} - answered
