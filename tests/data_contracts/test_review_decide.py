"""Answers: what the ledger holds afterwards, and who may give them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from data_contracts.errors import BadInput, NotFound, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.taxonomies import save_taxonomy
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import NewLabelEvent
from data_contracts.review import choices, roles, serving, tasks
from data_contracts.review.decide import decide, decide_together
from data_contracts.review.records import Answer
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from data_contracts.vocabulary import Action, Certainty, Purpose, Role, Source, TaskState

Queue = Callable[..., list[str]]
Say = Callable[..., Answer]
AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def test_an_answer_makes_one_event_and_closes_the_task(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a", predicted="crack", model_version="3")
    (task,) = serving.serve(ledger, "ann", now=AT)
    answer = say(task_id, "pit", note="at the edge", certainty=Certainty.LIKELY, seconds_spent=2.5, model_shown=True)
    receipt = decide(ledger, "ann", answer, now=AT)
    assert (receipt.task_id, receipt.task_state, receipt.label) == (task.task_id, TaskState.CLOSED, "pit")
    (event,) = events_frame(ledger).to_dict("records")
    assert event["event_id"] == receipt.event_id
    assert (event["who"], event["subject_id"], event["action"], event["label"]) == (
        "ann",
        task.subject_id,
        "label",
        "pit",
    )
    assert (event["note"], event["certainty"], event["seconds_spent"]) == ("at the edge", "likely", 2.5)
    assert (event["source"], event["task_id"], event["blind"], event["model_version"]) == (
        "reader",
        task_id,
        False,
        "3",
    )
    assert (event["at"].to_pydatetime(), event["request_id"]) == (AT, answer.request_id)
    assert tasks.task(ledger, task_id).state == TaskState.CLOSED
    assert serving.serve(ledger, "ann") == serving.serve(ledger, "bob") == []
    assert verify_chain(ledger).ok


def test_the_event_says_how_the_answer_relates_to_the_label_on_file(
    ledger: Ledger, queue: Queue, say: Say, answer: Callable[..., NewLabelEvent]
) -> None:
    same, other, fresh = queue(ledger, "abc")
    subjects = {task_id: tasks.task(ledger, task_id).subject_id for task_id in (same, other, fresh)}
    append_events(
        ledger, [answer(subjects[t], "pit", action=Action.IMPORT, source=Source.IMPORT) for t in (same, other)]
    )
    for task_id, label in ((same, "pit"), (other, "crack"), (fresh, "pit")):
        decide(ledger, "ann", say(task_id, label))
    assert events_frame(ledger)["action"].tolist()[2:] == ["confirm", "correct", "label"]


def test_a_confirmation_without_a_label_takes_the_one_on_file_or_else_the_prediction_that_was_shown(
    ledger: Ledger, queue: Queue, say: Say, answer: Callable[..., NewLabelEvent]
) -> None:
    on_file, predicted, neither = queue(ledger, "abc", predicted="crack")
    append_events(ledger, [answer(tasks.task(ledger, on_file).subject_id, "pit")])
    confirm = {"action": Action.CONFIRM, "model_shown": True}
    assert decide(ledger, "ann", say(on_file, None, **confirm)).label == "pit"
    assert decide(ledger, "ann", say(predicted, None, **confirm)).label == "crack"
    with pytest.raises(BadInput, match="has no label"):
        decide(ledger, "ann", say(neither, None, action=Action.CONFIRM))


def test_the_same_request_sent_again_makes_no_second_event(ledger: Ledger, queue: Queue, say: Say) -> None:
    task_id, other = queue(ledger, "ab")
    answer = say(task_id, "pit")
    first = decide(ledger, "ann", answer)
    assert decide(ledger, "ann", answer) == first
    assert len(events_frame(ledger)) == 1
    for changed in (answer.model_copy(update={"label": "crack"}), answer.model_copy(update={"task_id": other})):
        with pytest.raises(BadInput, match="was already used for another answer"):
            decide(ledger, "ann", changed)
    with pytest.raises(BadInput, match="was already used"):
        decide(ledger, "bob", answer)
    assert len(events_frame(ledger)) == 1
