"""Appending label events."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.conflicts import conflicts_frame, record_conflicts
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame, head, history
from data_contracts.ledger.fold import current_labels
from data_contracts.ledger.instants import as_text, from_text
from data_contracts.ledger.taxonomies import save_taxonomy
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import Conflict, LabelEvent, NewLabelEvent
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from data_contracts.vocabulary import Action, ConflictKind, Source, SubjectKind

Answer = Callable[..., NewLabelEvent]


def from_file(answer: Answer, subject: str, label: str, **fields: Any) -> NewLabelEvent:
    return answer(subject, label, **({"source": Source.IMPORT, "action": Action.IMPORT, "who": "csv"} | fields))


def test_an_event_gets_its_place_in_the_chain(ledger: Ledger, answer: Answer) -> None:
    before = datetime.now(UTC)
    first, second = append_events(ledger, [answer("a", "x"), answer("b", "y")])
    assert (first.sequence, second.sequence) == (1, 2)
    assert second.previous_hash == first.hash
    assert before <= first.at <= datetime.now(UTC)
    assert (head(ledger).sequence, head(ledger).hash) == (2, second.hash)
    assert isinstance(first, LabelEvent)
    assert append_events(ledger, []) == []


def test_a_repeated_request_returns_the_first_event_and_doubles_nothing(ledger: Ledger, answer: Answer) -> None:
    first = append_events(ledger, [answer("a", "x", request_id="r1")])
    again = append_events(ledger, [answer("a", "x", request_id="r1"), answer("b", "y", request_id="r2")])
    assert again[0] == first[0]
    assert head(ledger).sequence == 2
    twice = append_events(ledger, [answer("c", "z", request_id="r3"), answer("c", "z", request_id="r3")])
    assert twice[0] == twice[1]
    assert head(ledger).sequence == 3


def test_a_request_id_is_never_used_for_two_answers(ledger: Ledger, answer: Answer) -> None:
    append_events(ledger, [answer("a", "x", request_id="r1")])
    for other in (answer("a", "y", request_id="r1"), answer("b", "x", request_id="r1")):
        with pytest.raises(BadInput, match="The request 'r1' was already used"):
            append_events(ledger, [answer("c", "z"), other])
    assert head(ledger).sequence == 1, "all or none"


def test_a_confirmation_without_a_label_confirms_the_one_that_holds(ledger: Ledger, answer: Answer) -> None:
    append_events(ledger, [from_file(answer, "a", "x")])
    (event,) = append_events(ledger, [answer("a", action=Action.CONFIRM, request_id="r")])
    assert (event.label, event.previous_label) == ("x", "x")
    assert append_events(ledger, [answer("a", action=Action.CONFIRM, request_id="r")]) == [event]
    assert current_labels(ledger)["source"].tolist() == ["reader"]
    with pytest.raises(BadInput, match="has no label that could be confirmed"):
        append_events(ledger, [answer("b", action=Action.CONFIRM)])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"label": None}, "has no label"),
        ({"label": "  "}, "has no label"),
        ({"label": "a\tb"}, "has control characters"),
        ({"label": "a\0"}, "has control characters"),
        ({"label": "x" * 256}, "longer than 255"),
        ({"who": "ann\n"}, "has control characters"),
        ({"note": "a\0b"}, "NUL character"),
        ({"note": "\ud800"}, "cannot be kept"),
        ({"seconds_spent": float("nan")}, "it is a time"),
        ({"seconds_spent": -1.0}, "it is a time"),
        ({"action": Action.UNDO}, "'undo', and only 'undo'"),
        ({"undoes": "e"}, "'undo', and only 'undo'"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused(
    ledger: Ledger, answer: Answer, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        append_events(ledger, [answer("b", "y"), answer("a", **({"label": "x"} | fields))])
    assert events_frame(ledger).empty


def test_an_undo_names_an_event_of_its_own_subject_and_needs_a_source_as_strong(ledger: Ledger, answer: Answer) -> None:
    one, other = append_events(ledger, [answer("a", "x", source=Source.ADJUDICATION), answer("b", "y")])
    for target in (other.event_id, "nothing"):
        with pytest.raises(BadInput, match="There is no event"):
            append_events(ledger, [answer("a", action=Action.UNDO, undoes=target)])
    with pytest.raises(Refused, match="'adjudication' cannot be undone by source 'reader'"):
        append_events(ledger, [answer("a", action=Action.UNDO, undoes=one.event_id)])
    undo = answer("a", action=Action.UNDO, undoes=one.event_id, source=Source.ADJUDICATION)
    (undone,) = append_events(ledger, [undo])
    assert undone.previous_label == "x"
    (back,) = append_events(ledger, [undo.model_copy(update={"undoes": undone.event_id})])
    assert back.previous_label is None
    assert current_labels(ledger).set_index("subject_id")["label"].to_dict() == {"a": "x", "b": "y"}


def test_a_csv_that_is_imported_again_never_overrides_a_later_answer_and_is_listed_as_a_conflict(
    ledger: Ledger, answer: Answer
) -> None:
    old = from_file(answer, "a", "x", request_id="row 2")
    append_events(ledger, [old])
    append_events(ledger, [answer("a", "y", action=Action.CORRECT)])
    assert conflicts_frame(ledger).empty
    for again in (old, from_file(answer, "a", "x"), from_file(answer, "a", "x", request_id="another file")):
        append_events(ledger, [again])
        assert current_labels(ledger)["label"].tolist() == ["y"]
    (conflict,) = conflicts_frame(ledger).to_dict("records")
    assert (conflict["kind"], conflict["subject_id"], conflict["labels"]) == ("import_against_human", "a", ("y", "x"))
    assert conflict["detail"] == "ann answered 'y'; an imported file says 'x'. The answer 'y' stays."


def test_an_import_that_agrees_or_that_counts_more_is_no_conflict(ledger: Ledger, answer: Answer) -> None:
    append_events(ledger, [answer("a", "crack"), answer("b", "crack")])
    taxonomy = Taxonomy(version=1, classes=(TaxonomyClass(name="crack", aliases=("Riss",)),))
    save_taxonomy(ledger, taxonomy, "ann", "aliases")
    append_events(ledger, [from_file(answer, "a", "Riss"), from_file(answer, "b", "pit", source=Source.REFERENCE)])
    assert conflicts_frame(ledger).empty
    assert current_labels(ledger).set_index("subject_id").loc["b", "label"] == "pit"


def test_an_import_against_what_was_said_of_the_group_is_a_conflict(
    ledger: Ledger, answer: Answer, add_pictures: Any
) -> None:
    (a,) = add_pictures(ledger, "a", {"a": "p1"})
    append_events(ledger, [answer("p1", "x", subject_kind=SubjectKind.GROUP)])
    (event,) = append_events(ledger, [from_file(answer, a, "y")])
    assert event.previous_label == "x"
    assert conflicts_frame(ledger)["labels"].tolist() == [("x", "y")]


def test_the_history_of_an_image_has_its_groups_events(ledger: Ledger, answer: Answer, add_pictures: Any) -> None:
    a, b = add_pictures(ledger, "ab", {"a": "p1", "b": "p1"})
    of_group = answer("p1", "z", subject_kind=SubjectKind.GROUP)
    append_events(ledger, [answer(a, "x"), of_group, answer(b, "y"), answer("p1", "an image called p1")])
    assert [event.label for event in history(ledger, a)] == ["x", "z"]
    assert history(ledger, "unknown") == []


def test_a_conflict_is_kept_once_however_it_is_worded(ledger: Ledger) -> None:
    def conflict(labels: tuple[str, ...], detail: str, subject: str = "a") -> Conflict:
        return Conflict(
            kind=ConflictKind.DUPLICATE_LABELS,
            subject_kind=SubjectKind.IMAGE,
            subject_id=subject,
            labels=labels,
            detail=detail,
        )

    assert record_conflicts(ledger, []) == 0
    assert record_conflicts(ledger, [conflict(("x", "y"), "one"), conflict(("y", "x"), "the same")]) == 1
    assert record_conflicts(ledger, [conflict(("x", "y"), "again"), conflict(("x", "y"), "new", "b")]) == 1
    assert sorted(conflicts_frame(ledger)["subject_id"]) == ["a", "b"]


def test_the_table_of_events_has_the_records_fields_and_plain_types(ledger: Ledger, answer: Answer) -> None:
    assert events_frame(ledger).empty
    assert set(events_frame(ledger).columns) == set(LabelEvent.model_fields)
    append_events(ledger, [answer("a", "x", seconds_spent=1.5), answer("a", "y")])
    frame = events_frame(ledger)
    assert str(frame["at"].dtype) == "datetime64[ns, UTC]"
    assert (frame["blind"].dtype, frame["sequence"].dtype) == (bool, "int64")
    assert frame["label"].tolist() == ["x", "y"]
    assert frame["note"].tolist() == [None, None]


def test_instants_are_utc_text_of_one_length() -> None:
    instant = datetime(2026, 1, 31, 8, 5, tzinfo=UTC)
    assert as_text(instant) == "2026-01-31T08:05:00.000000+00:00"
    assert from_text(as_text(instant)) == instant
    assert as_text(instant.replace(tzinfo=None)) == as_text(instant)


def test_ten_thousand_events_are_appended_in_seconds(ledger: Ledger, answer: Answer) -> None:
    events = [from_file(answer, f"{number:064d}", "x", request_id=f"r{number}") for number in range(10_000)]
    began = time.process_time()
    append_events(ledger, events)
    assert time.process_time() - began < 6, "three seconds on an idle machine"
    assert verify_chain(ledger).ok
    append_events(ledger, events)
    assert head(ledger).sequence == 10_000
