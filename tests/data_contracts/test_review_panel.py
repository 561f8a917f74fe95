"""Which answers are independent: blind first readings, and rows of labels files with their reviewers."""

from __future__ import annotations

from collections.abc import Callable

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.taxonomies import save_taxonomy
from data_contracts.records import NewLabelEvent
from data_contracts.review import roles, tasks
from data_contracts.review.adjudicate import adjudicate
from data_contracts.review.decide import decide
from data_contracts.review.panel import independent_answers
from data_contracts.review.records import Answer
from data_contracts.review.undo import undo
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Action, Role, Source

Queue = Callable[..., list[str]]
Say = Callable[..., Answer]
Make = Callable[..., NewLabelEvent]


def said(ledger: Ledger) -> set[tuple[str, str, str]]:
    frame = independent_answers(ledger)
    return set(zip(frame["subject_id"], frame["who"], frame["label"], strict=True))


def test_only_answers_in_sight_of_nothing_are_independent(ledger: Ledger, queue: Queue, say: Say) -> None:
    save_taxonomy(ledger, Taxonomy().extended(["pit", "crack"]), "eve", "first")
    roles.set_role(ledger, "eve", Role.LEAD, by="eve")
    differ, agree = queue(ledger, "ab", round_id="1", readings_required=2, blind=True)
    first, second = (tasks.task(ledger, task_id).subject_id for task_id in (differ, agree))
    for who, label in (("ann", "pit"), ("bob", "crack")):
        decide(ledger, who, say(differ, label))
        decide(ledger, who, say(agree, "pit"))
    both = {(first, "ann", "pit"), (first, "bob", "crack"), (second, "ann", "pit"), (second, "bob", "pit")}
    assert said(ledger) == both
    adjudicate(ledger, "eve", differ, "crack", request_id="x")
    assert said(ledger) == both, "an adjudicator has seen what the others say"
    (seen,) = queue(ledger, "c", round_id="2", predicted="pit")
    decide(ledger, "ann", say(seen, "pit", model_shown=True))
    subject = tasks.task(ledger, seen).subject_id
    append_events(ledger, [_imported(subject, "bob", "crack")])
    assert said(ledger) == both, "one of the two saw the model"


def test_reviewers_of_a_file_count_and_labels_that_came_with_images_do_not(
    ledger: Ledger, add_pictures: Callable[..., list[str]]
) -> None:
    save_taxonomy(ledger, Taxonomy().extended(["pit", "crack"]), "eve", "first")
    one, other = add_pictures(ledger, "ab")
    append_events(ledger, [_imported(one, "files", "pit", request_id=f"ingest:{one}:0"), _imported(one, "ann", "pit")])
    append_events(
        ledger, [_imported(other, "histology", "pit", source=Source.REFERENCE), _imported(other, "bob", "pit")]
    )
    assert said(ledger) == set()
    append_events(ledger, [_imported(one, "bob", "pit"), _imported(one, "bob", "crack")])
    assert said(ledger) == {(one, "ann", "pit"), (one, "bob", "crack")}, "of one person, the last counts"
    append_events(ledger, [_imported(one, "cy", "bubble")])
    assert len(said(ledger)) == 2, "no class of today"


def test_what_was_taken_back_does_not_count(ledger: Ledger, queue: Queue, say: Say) -> None:
    save_taxonomy(ledger, Taxonomy().extended(["pit", "crack"]), "eve", "first")
    (task_id,) = queue(ledger, "a", readings_required=2, blind=True)
    decide(ledger, "ann", say(task_id, "pit"))
    given = decide(ledger, "bob", say(task_id, "crack"))
    assert len(said(ledger)) == 2
    undo(ledger, "bob", given.event_id, request_id="u")
    assert said(ledger) == set()


def _imported(subject: str, who: str, label: str, **fields: object) -> NewLabelEvent:
    facts = {"action": Action.IMPORT, "source": Source.IMPORT, "subject_id": subject, "who": who, "label": label}
    return NewLabelEvent.model_validate(facts | fields)
