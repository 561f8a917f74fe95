"""A task says nothing of its image, neither label nor decision, while a reading is missing or its readings differ."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.errors import BadInput, NotFound, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.fold import current_labels, fold_labels, image_answers
from data_contracts.ledger.taxonomies import change_taxonomy, follow_profile
from data_contracts.records import NewLabelEvent
from data_contracts.review import roles
from data_contracts.review.adjudicate import adjudicate
from data_contracts.review.decide import decide
from data_contracts.review.decisions_out import decisions, publish
from data_contracts.review.records import Answer
from data_contracts.review.tasks import tasks_frame
from data_contracts.review.undo import undo
from data_contracts.taxonomy import TaxonomyClass
from data_contracts.taxonomy_changes import renamed
from data_contracts.vocabulary import Action, Role, Source, SubjectKind, TaskState

Queue = Callable[..., list[str]]
Say = Callable[..., Answer]
NewEvent = Callable[..., NewLabelEvent]


@pytest.fixture(autouse=True)
def people(ledger: Ledger) -> None:
    for who, role in (("eve", Role.LEAD), ("ann", Role.READER), ("bob", Role.READER)):
        roles.set_role(ledger, who, role, by="eve")


def holds(ledger: Ledger) -> list[tuple[str | None, bool]]:
    """Label and bad mark of every image, in the order of their ids."""
    return [(row.label, row.bad_image) for row in image_answers(ledger).itertuples()]


@pytest.mark.parametrize(("label", "action"), [("pit", Action.LABEL), (None, Action.BAD_IMAGE)])
def test_the_first_of_two_readings_decides_nothing(
    ledger: Ledger, queue: Queue, say: Say, answer: NewEvent, label: str | None, action: Action
) -> None:
    (task_id,) = queue(ledger, "a", readings_required=2, blind=True)
    subject = tasks_frame(ledger)["subject_id"][0]
    append_events(ledger, [answer(subject, "scratch", action=Action.IMPORT, source=Source.IMPORT)])
    assert decide(ledger, "ann", say(task_id, label, action=action)).task_state == TaskState.ANSWERED
    assert holds(ledger) == [("scratch", False)]
    second = decide(ledger, "bob", say(task_id, label, action=action))
    assert second.task_state == TaskState.CLOSED
    assert holds(ledger) == [(label or "scratch", label is None)]
    assert events_frame(ledger)["previous_label"].tolist() == [None, "scratch", "scratch"]
    undo(ledger, "bob", second.event_id, request_id="y")
    assert holds(ledger) == [("scratch", False)], "with one reading left it decides nothing again"
    assert [d.taken_back for d in decisions(ledger)] == [False, True]


def test_differing_readings_leave_an_unlabelled_image_without_a_label(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a", readings_required=2, blind=True)
    decide(ledger, "ann", say(task_id, "pit"))
    assert decide(ledger, "bob", say(task_id, "crack")).task_state == TaskState.DISPUTED
    assert holds(ledger) == [(None, False)]
    assert current_labels(ledger).empty
    settled = adjudicate(ledger, "eve", task_id, "pit", request_id="x")
    assert image_answers(ledger)[["label", "source"]].values.tolist() == [["pit", "adjudication"]]
    undo(ledger, "eve", settled.event_id, request_id="y")
    assert holds(ledger) == [(None, False)], "without the adjudication it is a dispute again"


def test_what_counted_before_a_dispute_goes_on_counting(
    ledger: Ledger, queue: Queue, say: Say, answer: NewEvent
) -> None:
    (task_id,) = queue(ledger, "a", readings_required=2, blind=True)
    subject = tasks_frame(ledger)["subject_id"][0]
    append_events(ledger, [answer(subject, "scratch", action=Action.IMPORT, source=Source.IMPORT)])
    decide(ledger, "ann", say(task_id, "pit"))
    decide(ledger, "bob", say(task_id, None, action=Action.BAD_IMAGE))
    assert holds(ledger) == [("scratch", False)]
    settled = adjudicate(ledger, "eve", task_id, "crack", request_id="x")
    assert holds(ledger) == [("crack", False)]
    said = events_frame(ledger).set_index("event_id")["previous_label"]
    assert said[settled.event_id] == "scratch"


def test_somebody_who_is_left_alone_with_an_answer_decides_nothing(ledger: Ledger, queue: Queue, say: Say) -> None:
    """One reads, everybody else is unsure: that is a dispute as well."""
    (task_id,) = queue(ledger, "a", readings_required=2, blind=True)
    for who in ("ann", "eve"):
        decide(ledger, who, say(task_id, None, action=Action.UNSURE))
    assert decide(ledger, "bob", say(task_id, "pit")).task_state == TaskState.DISPUTED
    assert holds(ledger) == [(None, False)]


def test_a_dispute_about_a_group_leaves_its_images_as_they_were(
    ledger: Ledger, queue: Queue, say: Say, answer: NewEvent
) -> None:
    (task_id,) = queue(ledger, "ab", groups={"a": "p", "b": "p"}, readings_required=2, blind=True)
    first = image_answers(ledger)["image_id"][0]
    append_events(ledger, [answer(first, "pit", who="cid")])
    decide(ledger, "ann", say(task_id, "scratch"))
    decide(ledger, "bob", say(task_id, "crack"))
    assert holds(ledger) == [("pit", False), (None, False)]
    (event,) = append_events(ledger, [answer(first, "dent", who="cid")])
    assert event.previous_label == "pit"
    adjudicate(ledger, "eve", task_id, "crack", request_id="x")
    assert holds(ledger) == [("crack", False), ("crack", False)]


def test_no_decision_leaves_while_readings_differ(ledger: Ledger, queue: Queue, say: Say) -> None:
    """Also none that the model made by itself, where an audit of it is in dispute."""
    (task_id,) = queue(ledger, "a", readings_required=2, purpose="audit", reason="random_audit")
    decide(ledger, "ann", say(task_id, "pit"))
    decide(ledger, "bob", say(task_id, "crack"))
    subject = tasks_frame(ledger)["subject_id"][0]
    scores = pd.DataFrame([{"image_id": subject, "predicted": "pit", "decision": "auto", "model_version": "3"}])
    assert (publish(ledger, scores), decisions(ledger)) == (0, [])
    adjudicate(ledger, "eve", task_id, "crack", request_id="x")
    assert [(d.verdict, d.who) for d in decisions(ledger)] == [("crack", "eve")]


def test_a_verdict_on_an_image_leaves_out_what_is_disputed_about_its_group(
    ledger: Ledger, queue: Queue, say: Say
) -> None:
    (of_group,) = queue(ledger, "ab", groups={"a": "p", "b": "p"}, round_id="1", readings_required=2, blind=True)
    (alone,) = queue(ledger, "a", round_id="2")
    decide(ledger, "ann", say(of_group, "scratch"))
    decide(ledger, "bob", say(of_group, None, action=Action.BAD_IMAGE))
    decide(ledger, "ann", say(alone, "pit"))
    assert [(d.verdict, d.bad_image) for d in decisions(ledger)] == [("pit", False)]


def test_a_class_that_was_renamed_between_two_readings_makes_no_dispute(ledger: Ledger, queue: Queue, say: Say) -> None:
    follow_profile(ledger, (TaxonomyClass(name="crack"), TaxonomyClass(name="pit")), "profile")
    (task_id,) = queue(ledger, "a", readings_required=2, blind=True)
    decide(ledger, "ann", say(task_id, "crack"))
    change_taxonomy(ledger, lambda current, _: renamed(current, "crack", "fracture"), "lead", "agreed")
    assert decide(ledger, "bob", say(task_id, "fracture")).task_state == TaskState.CLOSED
    assert holds(ledger) == [("fracture", False)]
    assert [d.verdict for d in decisions(ledger)] == ["fracture"]


def undecided(ledger: Ledger) -> pd.DataFrame:
    """Tasks with a reading too few, or readings that differ; whoever holds them, their leases are over."""
    return tasks_frame(ledger, [TaskState.ANSWERED, TaskState.DISPUTED], now=datetime(2100, 1, 1, tzinfo=UTC))


def by_definition(ledger: Ledger) -> list[tuple[str | None, bool]]:
    """The rule written down once more, plainly: the fold of everything but the readings of undecided tasks."""
    tasks = undecided(ledger)
    events = events_frame(ledger)
    kept = [
        not (row.task_id in set(tasks["task_id"]) and row.source == "reader" and row.action != "undo")
        for row in events.itertuples()
    ]
    folded = fold_labels(events[kept]).set_index("subject_id")
    known = list(image_answers(ledger)["image_id"])
    return [
        (folded.loc[image, "label"], bool(folded.loc[image, "bad_image"])) if image in folded.index else (None, False)
        for image in known
    ]


STEP = st.tuples(
    st.sampled_from(
        ["pit", "crack", "unsure", "bad_image", "undo", "adjudicate", "adjudicate bad", "return", "import"]
    ),
    st.sampled_from(["ann", "bob", "eve"]),
    st.integers(0, 1),
)


@given(st.lists(STEP, min_size=4, max_size=12))
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_people_do_no_reading_of_an_undecided_task_is_a_label(
    staffed: Callable[[], AbstractContextManager[Ledger]],
    queue: Queue,
    say: Say,
    answer: NewEvent,
    steps: list[tuple[str, str, int]],
) -> None:
    with staffed() as ledger:
        ids = queue(ledger, "ab", readings_required=2)
        subjects = tasks_frame(ledger).set_index("task_id")["subject_id"]
        for number, (what, who, which) in enumerate(steps):
            task_id = ids[which]
            try:
                if what == "undo":
                    events = events_frame(ledger)
                    of_task = events[events["task_id"] == task_id]["event_id"].tolist()
                    undo(ledger, who, (of_task or ["nothing"])[-1], request_id=f"u{number}")
                elif what == "import":
                    imported = answer(subjects[task_id], "old", action=Action.IMPORT, source=Source.IMPORT, who="file")
                    append_events(ledger, [imported])
                elif what.startswith("adjudicate"):
                    bad = what.endswith("bad")
                    adjudicate(ledger, who, task_id, None if bad else "pit", request_id=f"a{number}", bad_image=bad)
                elif what == "return":
                    adjudicate(ledger, who, task_id, None, request_id=f"r{number}", return_to_readers=True)
                else:
                    label = what if what in ("pit", "crack") else None
                    decide(ledger, who, say(task_id, label, action=Action.LABEL if label else what))
            except (Refused, BadInput, NotFound):
                continue
            assert holds(ledger) == by_definition(ledger)
            final = {d.subject_id: d for d in decisions(ledger) if d.subject_kind == SubjectKind.IMAGE}
            for task in undecided(ledger).itertuples():
                assert task.subject_id not in final or final[task.subject_id].taken_back
