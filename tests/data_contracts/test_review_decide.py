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


def test_what_is_no_answer_is_refused_and_nothing_is_kept(
    ledger: Ledger, queue: Queue, say: Say, answer: Callable[..., NewLabelEvent]
) -> None:
    (task_id,) = queue(ledger, "a")
    taxonomy = Taxonomy(version=1, classes=(TaxonomyClass(name="crack", aliases=("Riss",)), TaxonomyClass(name="pit")))
    save_taxonomy(ledger, taxonomy, "ann", "two classes")
    for bad, words in (
        (say(task_id, "crak"), "no class 'crak'. Did you mean 'crack'"),
        (say(task_id, None), "has no label"),
        (say(task_id, "pit", action=Action.UNSURE), "states no label, but 'pit' was given"),
    ):
        with pytest.raises(BadInput, match=words):
            decide(ledger, "ann", bad)
    with pytest.raises(NotFound, match="no review task 'other'"):
        decide(ledger, "ann", say("other", "pit"))
    assert events_frame(ledger).empty
    assert decide(ledger, "ann", say(task_id, "Riss")).label == "crack"
    with pytest.raises(ValueError, match="is no answer to a task"):
        say(task_id, "pit", action=Action.ADJUDICATE)


def test_somebody_who_was_slower_is_told_and_nothing_is_doubled(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a")
    serving.serve(ledger, "ann", lease_seconds=60, now=AT)
    serving.serve(ledger, "bob", now=AT + timedelta(seconds=61))
    decide(ledger, "bob", say(task_id, "pit"), now=AT + timedelta(seconds=62))
    with pytest.raises(Refused, match=r"bob has answered this task meanwhile \(2026-03-01 08:01 UTC\)"):
        decide(ledger, "ann", say(task_id, "crack"), now=AT + timedelta(seconds=63))
    with pytest.raises(Refused, match="bob answered this task already"):
        decide(ledger, "bob", say(task_id, "crack"))
    assert events_frame(ledger)["label"].tolist() == ["pit"]


def test_an_expired_lease_costs_nothing_as_long_as_nobody_else_answered(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a")
    serving.serve(ledger, "ann", lease_seconds=60, now=AT)
    late = AT + timedelta(hours=3)
    serving.serve(ledger, "bob", now=late)
    assert decide(ledger, "ann", say(task_id, "pit"), now=late).task_state == TaskState.CLOSED


def test_whoever_was_never_given_a_task_may_not_answer_it_while_another_holds_it(
    ledger: Ledger, queue: Queue, say: Say
) -> None:
    (task_id,) = queue(ledger, "a")
    serving.serve(ledger, "ann", now=AT)
    with pytest.raises(Refused, match="Somebody else has this task"):
        decide(ledger, "bob", say(task_id, "pit"), now=AT)


def test_unsure_leaves_a_task_to_others_and_makes_a_dispute_when_nobody_is_left(
    ledger: Ledger, queue: Queue, say: Say
) -> None:
    (task_id,) = queue(ledger, "a")
    for who in ("ann", "bob"):
        roles.sign_in(ledger, who, now=AT)
    serving.serve(ledger, "ann", now=AT)
    unsure = decide(ledger, "ann", say(task_id, action=Action.UNSURE), now=AT)
    assert unsure.task_state == TaskState.OPEN
    assert serving.serve(ledger, "ann", now=AT) == []
    assert [task.task_id for task in serving.serve(ledger, "bob", now=AT)] == [task_id]
    assert decide(ledger, "bob", say(task_id, action=Action.UNSURE), now=AT).task_state == TaskState.DISPUTED


def test_two_readings_that_agree_close_and_that_differ_are_disputed(ledger: Ledger, queue: Queue, say: Say) -> None:
    same, differ, bad = queue(ledger, "abc", readings_required=2, blind=True)
    for task_id, first, second in ((same, "pit", "pit"), (differ, "pit", "crack")):
        assert decide(ledger, "ann", say(task_id, first)).task_state == TaskState.ANSWERED
        decide(ledger, "bob", say(task_id, second))
    decide(ledger, "ann", say(bad, action=Action.BAD_IMAGE, note="blurred"))
    decide(ledger, "bob", say(bad, action=Action.BAD_IMAGE))
    states = [tasks.task(ledger, task_id).state for task_id in (same, differ, bad)]
    assert states == [TaskState.CLOSED, TaskState.DISPUTED, TaskState.CLOSED]
    assert set(events_frame(ledger)["action"]) == {"label", "bad_image"}, "a second reading corrects no first"
    with pytest.raises(Refused, match="readings of this task differ"):
        decide(ledger, "cid", say(differ, "pit"))


@pytest.mark.parametrize("purpose", [Purpose.AUDIT, Purpose.STUDY])
def test_audits_and_studies_are_always_read_blind(ledger: Ledger, queue: Queue, say: Say, purpose: Purpose) -> None:
    (task_id,) = queue(ledger, "a", purpose=purpose, reason="random_audit", predicted="pit")
    (task,) = serving.serve(ledger, "ann")
    assert (task.blind, task.purpose) == (True, purpose)
    with pytest.raises(Refused, match="shown before the decision on a task that is read blind"):
        decide(ledger, "ann", say(task_id, "pit", model_shown=True))
    decide(ledger, "ann", say(task_id, "pit"))
    with pytest.raises(Refused, match="answered this task already"):
        decide(ledger, "ann", say(task_id, "crack", model_shown=True), read_first=True)
    assert events_frame(ledger)[["blind", "model_version"]].values.tolist() == [[True, None]]


def test_what_a_screen_shows_of_a_blind_task_does_not_tell_an_audit_from_another(ledger: Ledger, queue: Queue) -> None:
    queue(ledger, "a", round_id="1", purpose="audit", reason="random_audit", strategy="audit", batch="x")
    queue(ledger, "b", round_id="2", blind=True, kind="hold", due_at=AT, predicted="pit", confidence=0.4, priority=9.0)
    shown = [task.as_shown_blind().model_dump(mode="json") for task in serving.serve(ledger, "ann", count=2)]
    differing = {name for name in shown[0] if shown[0][name] != shown[1][name]}
    assert differing == {"task_id", "subject_id", "image_ids"}


def test_read_first_allows_one_second_answer_after_the_model_was_shown(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a", predicted="crack")
    with pytest.raises(Refused, match="shown before the decision"):
        decide(ledger, "ann", say(task_id, "pit", model_shown=True), read_first=True)
    first = decide(ledger, "ann", say(task_id, "pit"), read_first=True)
    second = say(task_id, "crack", model_shown=True)
    receipt = decide(ledger, "ann", second, read_first=True)
    assert (first.second_event, receipt.second_event, receipt.task_state) == (False, True, TaskState.CLOSED)
    assert decide(ledger, "ann", second, read_first=True) == receipt
    with pytest.raises(Refused, match="answered this task already"):
        decide(ledger, "ann", say(task_id, "pit", model_shown=True), read_first=True)
    assert events_frame(ledger)["blind"].tolist() == [True, False]
    assert image_answers(ledger)["label"].tolist() == ["crack"]


def test_a_group_is_one_decision_for_all_of_its_images(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "abc", groups=dict.fromkeys("abc", "patient 7"))
    (task,) = serving.serve(ledger, "ann")
    assert len(task.image_ids) == 3
    decide(ledger, "ann", say(task_id, "pit"))
    (event,) = events_frame(ledger).to_dict("records")
    assert (event["subject_kind"], event["subject_id"]) == ("group", "patient 7")
    assert image_answers(ledger)["label"].tolist() == ["pit"] * 3


def test_many_answers_together_are_all_kept_or_none(ledger: Ledger, queue: Queue, say: Say) -> None:
    first, second, third = queue(ledger, "abc")
    decide(ledger, "bob", say(third, "pit"))
    with pytest.raises(Refused):
        decide_together(ledger, "ann", [say(task_id, "pit") for task_id in (first, second, third)])
    assert len(events_frame(ledger)) == 1
    together = decide_together(ledger, "ann", [say(task_id, "pit") for task_id in (first, second)])
    assert [receipt.task_state for receipt in together] == [TaskState.CLOSED] * 2


def test_roles_hold_for_whoever_calls(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a")
    assert [roles.sign_in(ledger, who) for who in ("  lea  n ", "bob", "lea n")] == [Role.LEAD, Role.READER, Role.LEAD]
    for act in (
        lambda: roles.set_role(ledger, "bob", Role.LEAD, by="bob"),
        lambda: choices.choose(ledger, "bob", "personal_figures", "leads"),
        lambda: roles.require(ledger, "bob", Role.ADJUDICATOR),
        lambda: roles.set_role(ledger, "lea n", Role.READER, by="lea n"),
    ):
        with pytest.raises(Refused):
            act()
    roles.set_role(ledger, "bob", Role.ADJUDICATOR, by="lea n")
    roles.require(ledger, "bob", Role.ADJUDICATOR)
    choices.choose(ledger, "lea n", choices.UNKNOWN_PEOPLE, "refused")
    for act in (
        lambda: serving.serve(ledger, "eve"),
        lambda: decide(ledger, "eve", say(task_id, "pit")),
        lambda: roles.sign_in(ledger, "eve"),
    ):
        with pytest.raises(Refused, match="eve has no role here"):
            act()
    assert roles.role_of(ledger, "eve") is None
    assert {person.who: person.role for person in roles.people(ledger)} == {"lea n": "lead", "bob": "adjudicator"}
    assert events_frame(ledger).empty


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 256])
def test_what_is_no_name_is_refused(ledger: Ledger, name: str) -> None:
    with pytest.raises(BadInput, match="is not a name"):
        roles.sign_in(ledger, name)


def test_only_people_are_told_what_they_may_know(ledger: Ledger) -> None:
    with pytest.raises(BadInput, match="There is no choice 'figures'"):
        choices.choice(ledger, "figures")
    with pytest.raises(BadInput, match="is no value of"):
        choices.choose(ledger, "ann", "personal_figures", "all")


def facts(ledger: Ledger) -> list[Any]:
    return events_frame(ledger)[["who", "action", "label"]].values.tolist()


def test_a_skip_is_an_event_and_may_be_followed_by_an_answer(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a")
    assert decide(ledger, "ann", say(task_id, action=Action.SKIP)).task_state == TaskState.OPEN
    assert serving.serve(ledger, "ann") == []
    assert decide(ledger, "ann", say(task_id, "pit")).task_state == TaskState.CLOSED
    assert facts(ledger) == [["ann", "skip", None], ["ann", "label", "pit"]]
