"""Answers are taken back, disputes are settled or returned, and the states of tasks always follow from the events."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from data_contracts.errors import BadInput, NotFound, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import events_frame
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.tables_review import LEASE, REVIEW_TASK, SERVED
from data_contracts.ledger.verify import verify_chain
from data_contracts.review import roles, serving
from data_contracts.review.adjudicate import adjudicate, disputes
from data_contracts.review.decide import decide
from data_contracts.review.decisions_out import decisions
from data_contracts.review.records import Answer
from data_contracts.review.standing import SAID, task_standing
from data_contracts.review.task_rows import UNSETTLED, events_of_task, people_in
from data_contracts.review.undo import undo, undo_together
from data_contracts.vocabulary import Action, Role, TaskState

Queue = Callable[..., list[str]]
Say = Callable[..., Answer]
AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def disputed(ledger: Ledger, queue: Queue, say: Say, name: str = "a") -> str:
    for who, role in (("lea", Role.LEAD), ("ann", Role.READER), ("bob", Role.READER), ("eve", Role.ADJUDICATOR)):
        roles.set_role(ledger, who, role, by="lea")
    (task_id,) = queue(ledger, name, readings_required=2, blind=True)
    decide(ledger, "ann", say(task_id, "pit"))
    assert decide(ledger, "bob", say(task_id, "crack")).task_state == TaskState.DISPUTED
    return task_id


def test_an_undone_answer_may_be_given_anew_and_both_stay_on_record(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a")
    first = decide(ledger, "ann", say(task_id, "pit"), now=AT)
    undone = undo(ledger, "ann", first.event_id, request_id="u1", now=AT)
    assert (undone.task_state, undo(ledger, "ann", first.event_id, request_id="u1")) == (TaskState.OPEN, undone)
    assert serving.serve(ledger, "bob", now=AT) == [], "the task is ann's again"
    assert [task.task_id for task in serving.serve(ledger, "ann", now=AT)] == [task_id]
    decide(ledger, "ann", say(task_id, "crack"), now=AT)
    assert events_frame(ledger)["action"].tolist() == ["label", "undo", "label"]
    assert image_answers(ledger)["label"].tolist() == ["crack"]
    verdicts = [(d.verdict, d.taken_back, d.supersedes) for d in decisions(ledger)]
    ids = [d.decision_id for d in decisions(ledger)]
    assert verdicts == [("pit", False, None), (None, True, ids[0]), ("crack", False, ids[1])]


def test_only_ones_own_answers_are_taken_back_and_an_adjudicator_takes_back_anybodys(
    ledger: Ledger, queue: Queue, say: Say
) -> None:
    roles.set_role(ledger, "lea", Role.LEAD, by="lea")
    (task_id,) = queue(ledger, "a")
    receipt = decide(ledger, "ann", say(task_id, "pit"))
    with pytest.raises(Refused, match="bob is reader here; this needs the role adjudicator"):
        undo(ledger, "bob", receipt.event_id, request_id="u")
    assert undo(ledger, "lea", receipt.event_id, request_id="u").task_state == TaskState.OPEN
    assert [task.task_id for task in serving.serve(ledger, "ann")] == [task_id]
    with pytest.raises(BadInput, match="was taken back already"):
        undo(ledger, "ann", receipt.event_id, request_id="other")
    with pytest.raises(BadInput, match="was already used for something else"):
        undo(ledger, "ann", receipt.event_id, request_id="u")
    with pytest.raises(NotFound):
        undo(ledger, "ann", "nothing", request_id="v")
    with pytest.raises(BadInput, match="is no answer to a task"):
        undo(ledger, "lea", events_frame(ledger)["event_id"].tolist()[-1], request_id="w")


def test_what_was_labelled_together_is_undone_together(ledger: Ledger, queue: Queue, say: Say) -> None:
    receipts = [decide(ledger, "ann", say(task_id, "pit")) for task_id in queue(ledger, "abc")]
    events = [receipt.event_id for receipt in receipts]
    with pytest.raises(NotFound):
        undo_together(ledger, "ann", [*events, "nothing"], request_ids=["1", "2", "3", "4"])
    assert len(events_frame(ledger)) == 3
    undone = undo_together(ledger, "ann", events, request_ids=["1", "2", "3"])
    assert [receipt.task_state for receipt in undone] == [TaskState.OPEN] * 3


def test_taking_back_the_first_of_two_read_first_answers_takes_back_both(
    ledger: Ledger, queue: Queue, say: Say
) -> None:
    (task_id,) = queue(ledger, "a", predicted="crack")
    first = decide(ledger, "ann", say(task_id, "pit"), read_first=True)
    second = decide(ledger, "ann", say(task_id, "crack", model_shown=True), read_first=True)
    assert undo(ledger, "ann", second.event_id, request_id="1").task_state == TaskState.CLOSED
    assert image_answers(ledger)["label"].tolist() == ["pit"]
    decide(ledger, "ann", say(task_id, "crack", model_shown=True), read_first=True)
    assert undo(ledger, "ann", first.event_id, request_id="2").task_state == TaskState.OPEN
    assert image_answers(ledger)["label"].tolist() == [None]
    again = decide(ledger, "ann", say(task_id, "crack", model_shown=True), read_first=True)
    assert events_frame(ledger).iloc[-1][["event_id", "blind"]].tolist() == [again.event_id, False]


def test_a_dispute_is_settled_by_an_adjudicator(ledger: Ledger, queue: Queue, say: Say) -> None:
    task_id = disputed(ledger, queue, say)
    (dispute,) = disputes(ledger, "eve")
    assert [(event.who, event.label) for event in dispute.readings] == [("ann", "pit"), ("bob", "crack")]
    assert dispute.task.task_id == task_id
    for act in (lambda: disputes(ledger, "ann"), lambda: adjudicate(ledger, "ann", task_id, "pit", request_id="x")):
        with pytest.raises(Refused, match="needs the role adjudicator"):
            act()
    receipt = adjudicate(ledger, "eve", task_id, "pit", request_id="x", note="seen under the lens")
    assert adjudicate(ledger, "eve", task_id, "pit", request_id="x", note="seen under the lens") == receipt
    assert (receipt.task_state, disputes(ledger)) == (TaskState.CLOSED, [])
    with pytest.raises(Refused, match="is closed, not disputed"):
        adjudicate(ledger, "lea", task_id, "crack", request_id="y")
    assert image_answers(ledger)[["label", "source"]].values.tolist() == [["pit", "adjudication"]]
    assert [(d.verdict, d.who) for d in decisions(ledger)] == [("pit", "eve")]
    assert undo(ledger, "eve", receipt.event_id, request_id="z").task_state == TaskState.DISPUTED
    assert decisions(ledger)[-1].taken_back


def test_a_dispute_ends_in_exactly_one_way(ledger: Ledger, queue: Queue, say: Say) -> None:
    task_id = disputed(ledger, queue, say)
    for ways in ({"label": "pit", "bad_image": True}, {"label": None}, {"label": "pit", "return_to_readers": True}):
        with pytest.raises(BadInput, match="give exactly one"):
            adjudicate(ledger, "eve", task_id, request_id="x", **ways)  # type: ignore[arg-type]
    receipt = adjudicate(ledger, "eve", task_id, None, bad_image=True, request_id="x")
    assert (receipt.task_state, image_answers(ledger)["bad_image"].tolist()) == (TaskState.CLOSED, [True])


def test_a_returned_dispute_waits_for_its_own_readers(ledger: Ledger, queue: Queue, say: Say) -> None:
    task_id = disputed(ledger, queue, say)
    back = adjudicate(ledger, "eve", task_id, None, request_id="x", note="look at the edge", return_to_readers=True)
    assert back.task_state == TaskState.OPEN
    assert adjudicate(ledger, "eve", task_id, None, request_id="x", return_to_readers=True) == back
    assert serving.serve(ledger, "cid") == []
    assert serving.release(ledger, "ann") == 0, "letting go of the screen does not give it away"
    for who in ("ann", "bob"):
        assert [task.task_id for task in serving.serve(ledger, who)] == [task_id]
        state = decide(ledger, who, say(task_id, "pit")).task_state
    assert (state, image_answers(ledger)["label"].tolist()) == (TaskState.CLOSED, ["pit"])
    assert events_frame(ledger)["action"].tolist() == ["label", "label", "undo", "undo", "label", "label"]
    assert verify_chain(ledger).ok


def require_agreement(ledger: Ledger) -> None:
    """The stored state of every task, and who said what, are what follows from its events; settled tasks are free."""
    with ledger.reading() as connection:
        people = people_in(connection)
        for task in connection.execute(select(REVIEW_TASK)).mappings().all():
            standing = task_standing(events_of_task(connection, task["task_id"]))
            assert task["state"] == standing.state(task["readings_required"], people)
            rows = connection.execute(select(SERVED).where(SERVED.c.task_id == task["task_id"])).all()
            assert {row.who: row.said for row in rows if row.said is not None} == {
                who: SAID[event["action"]] for who, event in standing.said.items()
            }
            holders = set(connection.execute(select(LEASE.c.who).where(LEASE.c.task_id == task["task_id"])).scalars())
            assert task["state"] in UNSETTLED or not holders
            answered = {row.who for row in rows if row.said in ("answered", "unsure")}
            assert not holders & answered
            verdicts = [d for d in decisions(ledger) if d.subject_id == task["subject_id"]]
            final = bool(verdicts) and not verdicts[-1].taken_back
            assert final == (task["state"] == TaskState.CLOSED)
            given_out = [d.decision_id for d in verdicts]
            assert [d.supersedes for d in verdicts] == [None, *given_out][: len(verdicts)]


PEOPLE = ("ann", "bob", "eve")
STEP = st.tuples(
    st.sampled_from(["serve", "pit", "crack", "unsure", "skip", "bad_image", "again", "undo", "adjudicate", "return"]),
    st.sampled_from(PEOPLE),
    st.integers(0, 2),
    st.integers(0, 900),
)


@given(st.lists(STEP, min_size=4, max_size=20))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_people_do_the_states_of_tasks_follow_from_the_events(
    staffed: Callable[[], AbstractContextManager[Ledger]],
    queue: Queue,
    say: Say,
    steps: list[tuple[str, str, int, int]],
) -> None:
    with staffed() as ledger:
        ids = [*queue(ledger, "ab", round_id="1"), *queue(ledger, "c", round_id="2", readings_required=2)]
        moment, sent = AT, []
        for what, who, number, seconds in steps:
            moment += timedelta(seconds=seconds)
            events, before = events_frame(ledger), len(events_frame(ledger))
            try:
                if what == "serve":
                    served = serving.serve(ledger, who, count=2, now=moment)
                    assert all(task.state == TaskState.LEASED for task in served)
                elif what == "undo":
                    of_task = events[events["task_id"] == ids[number]]["event_id"].tolist()
                    undo(ledger, who, (of_task or ["nothing"])[-1], request_id=f"u{len(events)}", now=moment)
                elif what in ("adjudicate", "return"):
                    ways = {"return_to_readers": True} if what == "return" else {}
                    label = None if ways else "pit"
                    adjudicate(ledger, who, ids[number], label, request_id=f"a{len(events)}", now=moment, **ways)
                elif what == "again" and sent:
                    receipt = decide(ledger, *sent[number % len(sent)], now=moment)
                    assert len(events_frame(ledger)) == before
                    assert receipt.event_id in set(events["event_id"])
                elif what != "again":
                    label = what if what in ("pit", "crack") else None
                    given_answer = say(ids[number], label, action=Action.LABEL if label else what)
                    decide(ledger, who, given_answer, now=moment)
                    sent.append((who, given_answer))
            except (Refused, BadInput, NotFound):
                assert len(events_frame(ledger)) == before, "what is refused leaves nothing"
            require_agreement(ledger)
        assert verify_chain(ledger).ok
