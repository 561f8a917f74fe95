"""A review task as the canvas shows it. What a reader must not see is never sent to the browser."""

from __future__ import annotations

from typing import Any

from data_contracts.review.records import ReviewTask
from data_contracts.vocabulary import ReviewReason
from review_app.service import LARGE, OVERLAY, SHORT_ID, SMALL, ReviewService
from review_app.texts import Texts

MOST_SIMILAR = 4
"""Similar images of each of the two classes: two rows of two."""

MOST_IMAGES = 12
"""Images of one group that are shown."""


def item_of(service: ReviewService, task: ReviewTask, visit: str, texts: Texts, *, hidden: bool) -> dict[str, Any]:
    """What the canvas gets of one task.

    Args:
        service: for sizes and overlays.
        task: the task.
        visit: names this showing of the task; a task that is undone and shown again has another.
        texts: the reader's language.
        hidden: the model must not be seen yet; the item then says nothing of reason, purpose, round or prediction.
    """
    shown = task.as_shown_blind() if hidden else task
    images = [_image_of(service, image_id, overlay=shown.evidence.overlay) for image_id in task.image_ids[:MOST_IMAGES]]
    return {
        "visit": visit,
        "task_id": task.task_id,
        "mode": "review",
        "kind": shown.kind.value,
        "due_at": None if shown.due_at is None else shown.due_at.isoformat(),
        "blind": hidden,
        "undone": False,
        "images": images,
        "missing": all(image["source"] is None for image in images),
        "ref": images[0]["ref"] if images else "",
        "why": None if hidden else why_of(shown, texts),
        "prediction": prediction_of(shown),
        "similar": similar_of(shown),
        "label_on_file": shown.evidence.label_on_file,
        "readings": None,
    }


def reveal_of(task: ReviewTask, texts: Texts, *, with_reason: bool) -> dict[str, Any]:
    """What is shown of the model once the decision is locked; of a blind task the predicted class and nothing else.

    How sure the model was would tell an audit of what is decided automatically from a task that it was unsure of.
    """
    prediction = prediction_of(task)
    if prediction is not None and not with_reason:
        prediction = {"label": prediction["label"], "confidence": None, "top": [], "model_version": None}
    return {
        "why": why_of(task, texts) if with_reason else None,
        "prediction": prediction,
        "similar": similar_of(task) if with_reason else None,
        "label_on_file": task.evidence.label_on_file if with_reason else None,
        "overlay": f"{OVERLAY}:{task.image_ids[0]}" if task.evidence.overlay and with_reason else None,
    }


def prediction_of(task: ReviewTask) -> dict[str, Any] | None:
    """Predicted class, calibrated probability and the three likeliest classes."""
    if task.predicted is None:
        return None
    top = [[name, share] for name, share in task.evidence.top[:3]]
    return {"label": task.predicted, "confidence": task.confidence, "top": top, "model_version": task.model_version}


def similar_of(task: ReviewTask) -> list[dict[str, Any]] | None:
    """Nearest labelled images of the two confused classes."""
    pairs = ((task.class_a, task.evidence.neighbours_a), (task.class_b, task.evidence.neighbours_b))
    groups = [
        {"class": name, "images": [f"{SMALL}:{image_id}" for image_id in ids[:MOST_SIMILAR]]}
        for name, ids in pairs
        if name and ids
    ]
    return groups or None


def why_of(task: ReviewTask, texts: Texts) -> dict[str, str | None]:
    """Why the task is here, in a sentence, with what stands behind it."""
    name = task.reason.partition(":")[0]
    first, _, second = task.reason.partition(":")[2].partition("|")
    known = ReviewReason(name)
    title = texts(f"reasons.{known.value}", a=task.class_a or first, b=task.class_b or second)
    details = [texts(f"reasons.{known.value}_detail")]
    if known is ReviewReason.NOVELTY and task.evidence.novelty is not None:
        details.append(texts("reasons.novelty_value", value=f"{task.evidence.novelty:.2f}"))
    if task.evidence.note:
        details.append(task.evidence.note)
    return {"title": title, "detail": " ".join(details)}


def _image_of(service: ReviewService, image_id: str, *, overlay: bool) -> dict[str, Any]:
    return {
        "name": f"{LARGE}:{image_id}",
        "overlay": f"{OVERLAY}:{image_id}" if overlay else None,
        "source": service.source_size(image_id),
        "ref": image_id[:SHORT_ID],
    }
