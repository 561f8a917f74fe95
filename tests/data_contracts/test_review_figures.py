"""Agreement, progress, search: what the last three screens show."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from data_contracts.errors import BadInput, NotFound, Refused
from data_contracts.ledger.approvals import approve, approved_promotions, request_promotion, waiting_promotions
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import record_dataset
from data_contracts.ledger.events import append_events, head
from data_contracts.ledger.promotions import record_look
from data_contracts.profile import Profile
from data_contracts.records import DatasetVersion, NewLabelEvent
from data_contracts.review import choices, roles, serving, tasks
from data_contracts.review.adjudicate import adjudicate
from data_contracts.review.agreement import agreement_figures, cohen_kappa
from data_contracts.review.decide import decide
from data_contracts.review.decisions_out import deliver
from data_contracts.review.progress_figures import progress_figures
from data_contracts.review.records import Answer
from data_contracts.review.search import StoryKind, find_images, story
from data_contracts.review.undo import undo
from data_contracts.vocabulary import Action, Role, Source

Queue = Callable[..., list[str]]
Say = Callable[..., Answer]
AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
PROFILE = Profile.model_validate({"name": "line", "review": {"seconds_per_image": 36, "reader_hours_per_week": 2}})


def test_kappa_is_cohens_with_an_interval_that_holds_it() -> None:
    # Cohen's textbook table: 20 and 15 agree, 5 and 10 do not; kappa is 0.4.
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    kappa = cohen_kappa(a, b)
    assert kappa.value == pytest.approx(0.4)
    assert 0.1 < kappa.low < 0.4 < kappa.high < 0.7
    assert cohen_kappa(a, b) == kappa
    assert cohen_kappa(a, b, seed=1) != kappa
    assert cohen_kappa(["x", "y"], ["x", "y"]).value == 1
    assert math.isnan(cohen_kappa(["x", "x"], ["x", "x"]).value)
    assert math.isnan(cohen_kappa([], []).value)
    with pytest.raises(BadInput, match="equally long"):
        cohen_kappa(["x"], [])


def test_agreement_counts_blind_pairs_overrides_and_what_seeing_the_model_changed(
    ledger: Ledger, queue: Queue, say: Say, answer: Callable[..., NewLabelEvent]
) -> None:
    roles.set_role(ledger, "eve", Role.LEAD, by="eve")
    pairs = queue(ledger, "abcd", round_id="1", readings_required=2, blind=True)
    for task_id, second in zip(pairs, ("pit", "pit", "crack", "pit"), strict=True):
        decide(ledger, "ann", say(task_id, "pit" if task_id != pairs[3] else "crack"))
        decide(ledger, "bob", say(task_id, second))
    shown = queue(ledger, "efg", round_id="2", predicted="pit")
    for task_id, label in zip(shown, ("pit", "pit", "crack"), strict=True):
        decide(ledger, "ann", say(task_id, label, model_shown=True))
    first = queue(ledger, "hijk", round_id="3", predicted="pit")
    for task_id, before, after in zip(
        first, ("crack", "pit", "crack", "pit"), ("pit", "crack", "pit", None), strict=True
    ):
        decide(ledger, "bob", say(task_id, before), read_first=True)
        if after is not None:
            decide(ledger, "bob", say(task_id, after, model_shown=True), read_first=True)
    for task_id in first[:2]:
        truth = answer(tasks.task(ledger, task_id).subject_id, "pit", source=Source.REFERENCE, who="histology")
        append_events(ledger, [truth])
    figures = agreement_figures(ledger)
    assert (figures.pairs, figures.kappa) == (4, pytest.approx(-1 / 3))
    assert (figures.shown, figures.overridden) == (6, 2)
    assert (figures.second_events, figures.changed) == (3, 3)
    assert (figures.wrong_to_right, figures.right_to_wrong, figures.changed_truth_unknown) == (1, 1, 1)
    assert agreement_figures(ledger, who="ann").override_rate == pytest.approx(1 / 3)
    adjudicate(ledger, "eve", pairs[2], "pit", request_id="x")
    assert agreement_figures(ledger).pairs == 4, "an adjudication leaves the readings on record"


def test_progress_says_what_waits_how_long_and_what_it_takes(ledger: Ledger, queue: Queue, say: Say) -> None:
    queue(ledger, "ab", round_id="1", kind="hold", due_at=AT, predicted="pit")
    done = queue(ledger, "cdefgh", round_id="2", readings_required=2)
    now = datetime.now(UTC) + timedelta(hours=1)
    before = progress_figures(ledger, PROFILE, now=now)
    assert (before.hold_waiting, before.learn_waiting, before.overdue, before.next_due) == (2, 6, 2, AT)
    assert (before.seconds_per_answer, before.measured_pace) == (36, False)
    assert before.hours_left == pytest.approx((2 + 6 * 2) * 36 / 3600)
    assert before.weeks_left == pytest.approx(before.hours_left / 2)
    assert before.oldest_age_seconds == pytest.approx(3600, abs=120)
    for number, task_id in enumerate(done):
        decide(ledger, "ann", say(task_id, "pit", seconds_spent=10), now=AT + timedelta(seconds=20 * number))
    after = progress_figures(ledger, PROFILE, who="ann", now=now)
    assert (after.seconds_per_answer, after.measured_pace) == (10, True)
    assert after.hours_left == pytest.approx((2 + 6) * 10 / 3600)
    (pit,) = after.per_class
    assert (pit.name, pit.images, pit.answers, pit.waiting) == ("pit", 0, 6, 2), "one of two readings is no label"
    assert after.personal is not None
    assert (after.personal.answers, after.personal.per_hour) == (6, pytest.approx(180))


def test_personal_figures_are_shown_to_that_person_unless_a_lead_chose_otherwise(ledger: Ledger) -> None:
    roles.set_role(ledger, "lea", Role.LEAD, by="lea")
    assert progress_figures(ledger, PROFILE, who="ann").personal is not None
    for asked_by in ("bob", "lea"):
        with pytest.raises(Refused, match="visible to ann only"):
            progress_figures(ledger, PROFILE, who="ann", asked_by=asked_by)
    choices.choose(ledger, "lea", choices.PERSONAL_FIGURES, "leads")
    assert progress_figures(ledger, PROFILE, who="ann", asked_by="lea").personal is not None
    with pytest.raises(Refused):
        progress_figures(ledger, PROFILE, who="ann", asked_by="bob")


def test_a_person_is_told_which_model_versions_learned_their_corrections(
    ledger: Ledger, queue: Queue, say: Say, version_of: Callable[..., DatasetVersion]
) -> None:
    first, second, third, agreed = queue(ledger, "abcd", predicted="pit")
    gate: dict[str, Any] = {"against": None, "dataset_version": "later", "passed": True}
    for number, task_id in enumerate((first, second), start=1):
        decide(ledger, "ann", say(task_id, "crack"))
        data = f"data {number}"
        record_dataset(ledger, version_of(data, ledger_head=head(ledger)))
        record_look(ledger, model_version=str(number), report={"trained_on": data}, **gate)
    decide(ledger, "ann", say(third, "crack"))
    decide(ledger, "ann", say(agreed, "pit"))  # agrees with the model: no correction
    record_look(ledger, model_version="3", report={}, **gate)
    personal = progress_figures(ledger, PROFILE, who="ann").personal
    assert personal is not None
    assert personal.corrections == 3
    assert [(one.model_version, one.corrections, one.champion) for one in personal.learned] == [
        ("2", 2, False),
        ("1", 1, False),
    ]
    nobody = progress_figures(ledger, PROFILE, who="bob").personal
    assert nobody is not None
    assert nobody.learned == ()


def test_an_image_is_found_by_whatever_it_is_called_and_by_when_it_was_answered(
    ledger: Ledger, queue: Queue, say: Say
) -> None:
    task_id, *_ = queue(ledger, ["weld", "wels"], groups={"weld": "lot 7", "wels": "lot 8"})
    (image,) = tasks.task(ledger, task_id).image_ids
    decide(ledger, "ann", say(task_id, "pit"), now=datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    names = ("weld.png", "SN-weld", image, image[:8], image[:12].upper(), "lot 7", "weld", "sn-wel" + "d", "2026-03-01")
    for text in (*names, "2026-03-01 23:30", "2026-03-01T23:30:00"):
        assert [found.image_id for found in find_images(ledger, text)] == [image], text
    assert [found.image_id for found in find_images(ledger, "2026-03-02", time_zone="Asia/Tokyo")] == [image]
    assert len(find_images(ledger, "we")) == 2
    assert len(find_images(ledger, "we", limit=1)) == 1
    for nothing in ("", "  ", "2026-03-02", "2026-99-99", "%", "no such thing"):
        assert find_images(ledger, nothing) == []
    (found,) = find_images(ledger, "weld.png")
    assert (found.group, found.external_ids["serial"], found.external_ids["file_name"]) == (
        "lot 7",
        ("SN-weld",),
        ("weld.png",),
    )


def test_the_story_of_an_image_has_everything_undone_answers_included(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a", predicted="pit")
    image = tasks.task(ledger, task_id).subject_id
    serving.serve(ledger, "ann")
    first = decide(ledger, "ann", say(task_id, "pit", note="hm"))
    undo(ledger, "ann", first.event_id, request_id="u")
    decide(ledger, "ann", say(task_id, action=Action.BAD_IMAGE, note="blurred"))
    deliver(ledger, "line", lambda decisions: None)
    told = story(ledger, image)
    assert (told.label, told.bad_image, told.group) == (None, True, None)
    said = [(entry.event.action, entry.undone) for entry in told.entries if entry.event is not None]
    assert said == [("label", True), ("undo", False), ("bad_image", False)]
    kinds = [entry.kind for entry in told.entries]
    assert {kind: kinds.count(kind) for kind in StoryKind} == {
        "seen": 1,
        "queued": 1,
        "said": 3,
        "decided": 3,
        "delivered": 3,
    }
    assert kinds[0] == StoryKind.SEEN
    with pytest.raises(NotFound, match="There is no image 'nothing'"):
        story(ledger, "nothing")


def test_a_promotion_waits_for_a_lead_and_is_answered_once(ledger: Ledger) -> None:
    facts: dict[str, Any] = {"gate_report": {"passed": True, "f1": float("nan")}, "who": "gate", "why": "better"}
    asked = request_promotion(ledger, model_version="2", **facts)
    assert request_promotion(ledger, model_version="2", **facts) == asked
    assert waiting_promotions(ledger) == [asked]
    with pytest.raises(Refused, match="only a lead approves"):
        approve(ledger, "ann", asked.sequence, approved=True, why="fine")
    roles.set_role(ledger, "lea", Role.LEAD, by="lea")
    with pytest.raises(BadInput, match="says why"):
        approve(ledger, "lea", asked.sequence, approved=True, why=" ")
    with pytest.raises(NotFound):
        approve(ledger, "lea", 9, approved=True, why="fine")
    given = approve(ledger, "lea", asked.sequence, approved=True, why="fine")
    assert approve(ledger, "lea", asked.sequence, approved=True, why="again") == given
    with pytest.raises(Refused, match="was approved by lea already"):
        approve(ledger, "lea", asked.sequence, approved=False, why="no")
    assert (waiting_promotions(ledger), approved_promotions(ledger)) == ([], [given])
    assert request_promotion(ledger, model_version="2", **facts).sequence == 2, "an answered request may be repeated"
