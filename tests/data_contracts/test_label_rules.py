"""Which labels are classes and which are slips, as the design says, without swallowing real classes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.label_rules import edit_distance, judge_labels, looks_like_a_slip, printable
from data_contracts.taxonomy import Taxonomy, TaxonomyClass

EMPTY = Taxonomy()
KNOWN = Taxonomy(version=1, classes=(TaxonomyClass(name="ok"), TaxonomyClass(name="scratch", aliases=("Kratzer",))))


def test_first_ingest_makes_classes_of_what_it_finds() -> None:
    judged = judge_labels({"scratch": 40, "ok": 900, "dent": 2}, EMPTY)
    assert judged.new_classes == ("dent", "ok", "scratch")
    assert all(verdict.class_name == label for label, verdict in judged.verdicts.items())


@pytest.mark.parametrize(
    ("label", "count", "nearest"),
    [("scrach", 1, "scratch"), ("scrach", 4, "scratch"), ("Scratch", 8, "scratch"), ("scrtach", 8, "scratch")],
)
def test_a_slip_of_a_class_five_times_larger_is_an_error_with_its_intention(
    label: str, count: int, nearest: str
) -> None:
    judged = judge_labels({"scratch": 40, "ok": 900, label: count}, EMPTY)
    verdict = judged.verdicts[label]
    assert (verdict.class_name, verdict.nearest) == (None, nearest)
    assert label not in judged.new_classes


def test_a_similar_label_that_is_not_five_times_smaller_is_a_class() -> None:
    assert judge_labels({"scratch": 40, "scrach": 9}, EMPTY).new_classes == ("scrach", "scratch")


def test_a_label_that_occurs_once_is_an_error() -> None:
    verdict = judge_labels({"ok": 10, "something else": 1}, EMPTY).verdicts["something else"]
    assert verdict.class_name is None
    assert "only once" in verdict.reason


@pytest.mark.parametrize("label", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)"])
def test_formulas_are_errors_unless_accepted(label: str) -> None:
    assert judge_labels({label: 50}, EMPTY).verdicts[label].class_name is None
    assert judge_labels({label: 50}, EMPTY, allow_new_classes=True).verdicts[label].class_name == label


@pytest.mark.parametrize("label", ["", "o\nk", "ok\x00", "ok\x1b[31m", "o\u202ek", "x" * 201])
def test_control_characters_and_monsters_are_never_accepted(label: str) -> None:
    for taxonomy in (EMPTY, KNOWN):
        verdict = judge_labels({label: 500}, taxonomy, allow_new_classes=True).verdicts[label]
        assert verdict.class_name is None
        assert len(verdict.reason) > 10


def test_with_a_taxonomy_aliases_resolve_and_anything_else_is_an_error() -> None:
    judged = judge_labels({"ok": 3, "Kratzer": 3, "scratsh": 30, "dent": 99}, KNOWN)
    assert judged.verdicts["Kratzer"].class_name == "scratch"
    assert judged.verdicts["scratsh"].nearest == "scratch"
    assert judged.verdicts["dent"].class_name is None
    assert judged.new_classes == ()
    assert judge_labels({"dent": 1}, KNOWN, allow_new_classes=True).new_classes == ("dent",)


@pytest.mark.parametrize(
    ("small", "large"),
    [("df", "nv"), ("ng", "ok"), ("2", "1"), ("grade 2", "grade 1"), ("bcc", "bkl"), ("abnormal", "normal")],
)
def test_short_numbered_and_negated_classes_are_no_slips(small: str, large: str) -> None:
    assert judge_labels({small: 20, large: 5000}, EMPTY).new_classes == tuple(sorted((small, large)))


def test_a_class_of_hundreds_is_kept_and_the_likeness_is_said() -> None:
    judged = judge_labels({"black": 100, "crack": 900}, EMPTY)
    assert judged.new_classes == ("black", "crack")
    assert "look alike" in judged.warnings[0]


def test_a_column_of_file_numbers_is_doubted() -> None:
    judged = judge_labels({f"id {i}": 1 for i in range(40)}, EMPTY)
    assert "really the label column" in judged.warnings[0]


@given(st.text(max_size=8), st.text(max_size=8))
def test_edit_distance_is_a_distance(a: str, b: str) -> None:
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) <= max(len(a), len(b))
    assert looks_like_a_slip(a, b) <= (edit_distance(a, b) <= 2 or a.casefold() == b.casefold())


def test_control_characters_are_shown_not_obeyed() -> None:
    assert printable("a\x1b[31mb\n") == "a\\x1b[31mb\\n"
