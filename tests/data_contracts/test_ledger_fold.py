"""From events to current labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.fold import FOLD_COLUMNS, current_labels, fold_labels, image_answers, image_labels, standings
from data_contracts.ledger.taxonomies import save_taxonomy
from data_contracts.records import NewLabelEvent
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from data_contracts.vocabulary import Action, Certainty, Source, SubjectKind

Answer = Callable[..., NewLabelEvent]

STATING = [Action.LABEL, Action.CONFIRM, Action.CORRECT, Action.ADJUDICATE, Action.IMPORT]


def frame_of(events: list[dict[str, Any]]) -> pd.DataFrame:
    """Events as :func:`events_frame` gives them, as far as the fold looks."""
    columns = ["sequence", "event_id", "subject_kind", "subject_id", "action", "label", "source", "who", "at"]
    columns += ["certainty", "undoes"]
    rows = [
        {
            "sequence": number,
            "event_id": f"e{number}",
            "subject_kind": "image",
            "who": "ann",
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(seconds=number),
            "certainty": None,
            "undoes": None,
            "label": None,
            **event,
        }
        for number, event in enumerate(events, start=1)
    ]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"sequence": "int64", "at": "datetime64[ns, UTC]"})


def said(*events: tuple[str, str, str]) -> pd.Series:
    """The fold's only row for events (action, label, source) about one image."""
    folded = fold_labels(frame_of([{"subject_id": "a", "action": a, "label": x, "source": s} for a, x, s in events]))
    assert len(folded) == 1
    return folded.iloc[0]


def test_the_later_event_wins_at_equal_strength() -> None:
    assert said(("label", "x", "reader"), ("correct", "y", "reader"))["label"] == "y"


def test_the_stronger_source_wins_whenever_it_spoke() -> None:
    assert said(("label", "truth", "reference"), ("label", "y", "adjudication"))["label"] == "truth"
    assert said(("label", "x", "reader"), ("import", "truth", "reference"))["label"] == "truth"


def test_an_import_of_equal_source_never_takes_back_what_a_person_answered_here() -> None:
    row = said(("import", "x", "reader"), ("label", "y", "reader"), ("import", "x", "reader"))
    assert (row["label"], row["event_id"]) == ("y", "e2")


def test_unsure_and_skip_change_nothing() -> None:
    row = said(("label", "x", "reader"), ("unsure", None, "adjudication"), ("skip", None, "reference"))
    assert (row["label"], row["event_id"], row["bad_image"]) == ("x", "e1", False)


def test_a_subject_of_which_nobody_said_anything_has_no_row() -> None:
    folded = fold_labels(frame_of([{"subject_id": "a", "action": "unsure", "source": "reader"}]))
    assert folded.empty
    assert list(folded.columns) == list(FOLD_COLUMNS)


def test_a_bad_image_is_unusable_until_a_label_of_the_same_or_a_stronger_source() -> None:
    assert said(("label", "x", "reader"), ("bad_image", None, "reader"))["bad_image"]
    assert said(("bad_image", None, "reader"), ("import", "x", "import"))["bad_image"]
    assert not said(("bad_image", None, "reader"), ("label", "x", "reader"))["bad_image"]
    assert not said(("bad_image", None, "reader"), ("adjudicate", "x", "adjudication"))["bad_image"]
    only = said(("bad_image", None, "reader"))
    assert only["bad_image"]
    assert only["label"] is None


def test_an_undo_takes_its_target_away_and_an_undo_of_the_undo_brings_it_back() -> None:
    events = [
        {"subject_id": "a", "action": "label", "label": "x", "source": "reader"},
        {"subject_id": "a", "action": "correct", "label": "y", "source": "reader"},
        {"subject_id": "a", "action": "undo", "source": "reader", "undoes": "e2"},
        {"subject_id": "a", "action": "undo", "source": "reader", "undoes": "e3"},
        {"subject_id": "a", "action": "undo", "source": "reader", "undoes": "e4"},
    ]
    labels = [fold_labels(frame_of(events[:n]))["label"].tolist() for n in range(1, 6)]
    assert labels == [["x"], ["y"], ["x"], ["y"], ["x"]]


def test_undoing_the_only_label_leaves_none() -> None:
    events = [
        {"subject_id": "a", "action": "label", "label": "x", "source": "reader"},
        {"subject_id": "a", "action": "undo", "source": "reader", "undoes": "e1"},
    ]
    assert fold_labels(frame_of(events)).empty


EVENT = st.fixed_dictionaries(
    {
        "subject_id": st.sampled_from(["a", "b", "c"]),
        "action": st.sampled_from([a.value for a in (*STATING, Action.BAD_IMAGE, Action.UNSURE, Action.SKIP)]),
        "label": st.sampled_from(["x", "y", "z"]),
        "source": st.sampled_from([source.value for source in Source]),
    }
)


@st.composite
def stories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events with undos of earlier ones in between."""
    events: list[dict[str, Any]] = []
    for event in draw(st.lists(EVENT, max_size=14)):
        if events and draw(st.integers(0, 3)) == 0:
            target = draw(st.integers(1, len(events)))
            undo = {"action": "undo", "label": None, "undoes": f"e{target}", "source": "reference"}
            events.append({**undo, "subject_id": events[target - 1]["subject_id"]})
        else:
            events.append(event)
    return events


def by_definition(events: list[dict[str, Any]], subject: str) -> tuple[str | None, bool] | None:
    """The rules of the fold written down once more, plainly."""
    numbered = list(enumerate(events, start=1))

    def stands(number: int) -> bool:
        return not any(e.get("undoes") == f"e{number}" and stands(later) for later, e in numbered if later > number)

    standing = [(n, e) for n, e in numbered if e["subject_id"] == subject and stands(n)]
    labels = [(n, e) for n, e in standing if e["action"] in [a.value for a in STATING]]
    bad = any(
        e["action"] == "bad_image"
        and not any(later > n and Source(o["source"]).strength >= Source(e["source"]).strength for later, o in labels)
        for n, e in standing
    )
    if not labels:
        return (None, True) if bad else None
    _, winner = max(labels, key=lambda x: (Source(x[1]["source"]).strength, x[1]["action"] != "import", x[0]))
    return winner["label"], bad


@given(stories())
@settings(max_examples=40, deadline=None)
def test_the_fold_is_what_the_rules_say(events: list[dict[str, Any]]) -> None:
    folded = fold_labels(frame_of(events)).set_index("subject_id")
    for subject in ("a", "b", "c"):
        expected = by_definition(events, subject)
        found = (
            (folded.loc[subject, "label"], bool(folded.loc[subject, "bad_image"])) if subject in folded.index else None
        )
        assert found == expected


@given(stories())
@settings(max_examples=40, deadline=None)
def test_the_fold_of_a_table_and_the_fold_of_one_event_after_another_agree(events: list[dict[str, Any]]) -> None:
    frame = frame_of(events)
    one_by_one = {
        subject: (standing.label, standing.bad_image)
        for (_, subject), standing in standings(frame.to_dict("records")).items()
        if standing.label is not None or standing.bad_image
    }
    folded = fold_labels(frame)
    pairs = zip(folded["label"], folded["bad_image"], strict=True)
    assert dict(zip(folded["subject_id"], pairs, strict=True)) == one_by_one


@given(
    stories(),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["unsure", "skip", "other", "undone"]))),
    st.randoms(),
)
@settings(max_examples=40, deadline=None)
def test_irrelevant_events_change_nothing(
    events: list[dict[str, Any]], noise: list[tuple[int, str]], random: Any
) -> None:
    """Neither unsure, skip, labels of other subjects, labels that are undone, nor the order of the rows."""
    numbered = frame_of(events)
    extra = []
    for place, kind in noise:
        at = min(place, len(events)) + 0.001 * (len(extra) + 1)
        base = {"subject_id": "a", "source": "reference", "who": "bob", "label": "noise", "subject_kind": "image"}
        if kind in ("unsure", "skip"):
            extra.append({**base, "sequence": at, "event_id": f"n{len(extra)}", "action": kind})
        elif kind == "other":
            extra.append(
                {**base, "sequence": at, "event_id": f"n{len(extra)}", "action": "label", "subject_id": "other"}
            )
        else:
            target = f"n{len(extra)}"
            extra.append({**base, "sequence": at, "event_id": target, "action": "label"})
            undo = {**base, "sequence": at + 0.0005, "event_id": f"n{len(extra)}", "action": "undo", "undoes": target}
            extra.append(undo)
    noisy = pd.DataFrame([*numbered.to_dict("records"), *extra], columns=numbered.columns).sort_values("sequence")
    noisy["sequence"] = range(1, len(noisy) + 1)
    noisy["at"] = noisy["at"].astype("datetime64[ns, UTC]")
    shuffled = noisy.sample(frac=1, random_state=random.randrange(2**31))
    folded = fold_labels(shuffled)
    pd.testing.assert_frame_equal(
        folded[folded["subject_id"] != "other"].reset_index(drop=True), fold_labels(numbered), check_dtype=True
    )


def test_a_label_of_a_group_reaches_every_image_of_the_group(ledger: Ledger, answer: Answer, add_pictures: Any) -> None:
    a, b, c, d = add_pictures(ledger, "abcd", {"a": "p1", "b": "p1", "c": "p2"})
    append_events(
        ledger,
        [
            answer(a, "x", source=Source.IMPORT, action=Action.IMPORT),
            answer(b, "y", source=Source.ADJUDICATION),
            answer("p1", "z", subject_kind=SubjectKind.GROUP),
        ],
    )
    labels = image_labels(ledger).set_index("image_id")
    assert labels["label"].to_dict() == {a: "z", b: "y", c: None, d: None}
    assert labels.loc[[a, b, c], "source"].tolist() == ["reader", "adjudication", None]
    assert labels["bad_image"].dtype == bool


def test_a_group_label_that_is_undone_leaves_its_images(ledger: Ledger, answer: Answer, add_pictures: Any) -> None:
    (a,) = add_pictures(ledger, "a", {"a": "p1"})
    of_group = append_events(ledger, [answer(a, "x"), answer("p1", "z", subject_kind=SubjectKind.GROUP)])[1]
    undo = answer("p1", subject_kind=SubjectKind.GROUP, action=Action.UNDO, undoes=of_group.event_id)
    append_events(ledger, [undo])
    assert image_labels(ledger)["label"].tolist() == ["x"]


def test_an_alias_is_resolved_by_the_taxonomy(ledger: Ledger, answer: Answer, add_pictures: Any) -> None:
    a, b = add_pictures(ledger, "ab")
    append_events(ledger, [answer(a, "Riss"), answer(b, "unheard of")])
    taxonomy = Taxonomy(version=1, classes=(TaxonomyClass(name="crack", aliases=("Riss",)),))
    save_taxonomy(ledger, taxonomy, "ann", "aliases")
    assert image_labels(ledger).set_index("image_id")["label"].to_dict() == {a: "crack", b: "unheard of"}
    assert set(current_labels(ledger)["label"]) == {"Riss", "unheard of"}


def test_an_empty_ledger_folds_to_empty_tables(ledger: Ledger, add_pictures: Any) -> None:
    assert current_labels(ledger).empty
    assert image_labels(ledger).empty
    add_pictures(ledger, "a")
    assert image_labels(ledger).to_dict("records")[0] | {"image_id": ""} == {
        "image_id": "",
        "label": None,
        "source": None,
        "bad_image": False,
    }


def test_the_answer_of_an_image_says_who_and_how_sure(ledger: Ledger, answer: Answer, add_pictures: Any) -> None:
    (a,) = add_pictures(ledger, "a")
    (event,) = append_events(ledger, [answer(a, "x", who="bob", certainty=Certainty.LIKELY)])
    row = image_answers(ledger).iloc[0]
    assert (row["who"], row["certainty"], row["event_id"], row["at"]) == ("bob", "likely", event.event_id, event.at)


@pytest.mark.parametrize("size", [1, 5])
def test_previous_labels_are_the_fold_of_what_came_before(ledger: Ledger, answer: Answer, size: int) -> None:
    """Whether events come one by one or in one batch."""
    events = [
        answer("a", "x", source=Source.IMPORT, action=Action.IMPORT),
        answer("a", "y"),
        answer("a", action=Action.UNSURE),
        answer("a", "z", source=Source.IMPORT, action=Action.IMPORT),
        answer("a", "w", source=Source.ADJUDICATION),
    ]
    written = [e for start in range(0, 5, size) for e in append_events(ledger, events[start : start + size])]
    assert [event.previous_label for event in written] == [None, "x", "y", "y", "y"]
    frame = events_frame(ledger)
    for event in written[1:]:
        assert fold_labels(frame[frame["sequence"] < event.sequence])["label"].tolist() == [event.previous_label]
