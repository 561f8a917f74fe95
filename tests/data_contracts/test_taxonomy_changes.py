"""Rename, merge, split: what they do to labels, and that another change takes each back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from data_contracts.errors import BadInput
from data_contracts.ledger.conflicts import conflicts_frame
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.fold import image_answers, image_labels
from data_contracts.ledger.taxonomies import change_taxonomy, current_taxonomy, follow_profile, taxonomy_version
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import NewLabelEvent
from data_contracts.taxonomy import ChangeKind, Taxonomy, TaxonomyClass
from data_contracts.taxonomy_changes import merged, renamed, split
from data_contracts.vocabulary import Action, Source, SubjectKind

Answer = Callable[..., NewLabelEvent]
AddPictures = Callable[..., list[str]]

CRACK = TaxonomyClass(name="crack", aliases=("Riss",), severity=5, description="A line.")
PIT = TaxonomyClass(name="pit", severity=2)
OK = TaxonomyClass(name="ok")
THREE = Taxonomy(version=1, classes=(CRACK, PIT, OK))


@pytest.fixture
def six(ledger: Ledger, add_pictures: AddPictures, answer: Answer) -> list[str]:
    """Six images, labelled crack, Riss, pit, pit, ok, ok by a reader, under the classes crack, pit and ok."""
    images = add_pictures(ledger, [f"p{n}" for n in range(6)])
    follow_profile(ledger, THREE.classes, "profile")
    said = ("crack", "Riss", "pit", "pit", "ok", "ok")
    append_events(ledger, [answer(image, label) for image, label in zip(images, said, strict=True)])
    return images


def labels(ledger: Ledger, images: Sequence[str]) -> list[str | None]:
    frame = image_labels(ledger).set_index("image_id")["label"]
    return [frame[image] for image in images]


def rename(ledger: Ledger, old: str, new: str) -> Taxonomy:
    return change_taxonomy(ledger, lambda current, _: renamed(current, old, new), "lead", "agreed")


def merge(ledger: Ledger, *sources: str, into: str) -> Taxonomy:
    return change_taxonomy(ledger, lambda current, n: merged(current, sources, into, events=n), "lead", "agreed")


def take_apart(ledger: Ledger, source: str, *into: str) -> Taxonomy:
    return change_taxonomy(ledger, lambda current, n: split(current, source, into, events=n), "lead", "agreed")


def test_a_renamed_class_keeps_its_place_and_its_labels(ledger: Ledger, six: list[str]) -> None:
    after = rename(ledger, "crack", "fracture")
    assert after.names == ("fracture", "pit", "ok")
    assert after.active[0].aliases == ("crack", "Riss")
    assert (after.active[0].description, after.active[0].severity) == ("A line.", 5)
    assert labels(ledger, six) == ["fracture", "fracture", "pit", "pit", "ok", "ok"]
    back = rename(ledger, "fracture", "crack")
    assert back.names == THREE.names
    assert set(back.active[0].aliases) == {"Riss", "fracture"}
    assert labels(ledger, six) == ["crack", "crack", "pit", "pit", "ok", "ok"]
    assert [taxonomy_version(ledger, n).change.kind for n in (1, 2, 3)] == [  # type: ignore[union-attr]
        ChangeKind.ADD, ChangeKind.RENAME, ChangeKind.RENAME
    ]  # fmt: skip
    assert verify_chain(ledger).ok


def test_a_new_name_goes_with_its_children(ledger: Ledger) -> None:
    follow_profile(ledger, (TaxonomyClass(name="fail"), TaxonomyClass(name="crack", parent="fail")), "profile")
    assert rename(ledger, "fail", "defect").active[1].parent == "defect"


def test_labels_of_merged_classes_mean_the_class_that_took_them_in(ledger: Ledger, six: list[str]) -> None:
    after = merge(ledger, "crack", "pit", into="damage")
    assert after.names == ("ok", "damage")
    assert [item.name for item in after.classes] == ["crack", "pit", "ok", "damage"]
    assert after.active[1].aliases == ("crack", "Riss", "pit")
    assert after.active[1].severity == 5
    assert labels(ledger, six) == ["damage"] * 4 + ["ok", "ok"]
    assert verify_chain(ledger).ok


def test_a_merge_into_one_of_the_classes_leaves_it_in_its_place(ledger: Ledger, six: list[str]) -> None:
    after = merge(ledger, "crack", "pit", into="pit")
    assert after.names == ("pit", "ok")
    assert after.active[0].severity == 2
    assert labels(ledger, six) == ["pit"] * 4 + ["ok", "ok"]


def test_a_merge_is_taken_back_and_only_what_was_said_in_between_waits(
    ledger: Ledger, six: list[str], add_pictures: AddPictures, answer: Answer
) -> None:
    before = labels(ledger, six)
    (late,) = add_pictures(ledger, ["late"])
    merge(ledger, "crack", "pit", into="damage")
    append_events(ledger, [answer(late, "damage")])
    after = take_apart(ledger, "damage", "crack", "pit")
    assert after.names == THREE.names
    assert after.active[:2] == (CRACK, PIT)
    assert labels(ledger, six) == before
    assert labels(ledger, [late]) == [None]
    append_events(ledger, [answer(late, "pit")])
    assert labels(ledger, [late]) == ["pit"]


def test_a_merge_into_a_class_that_stays_is_taken_back_exactly(
    ledger: Ledger, six: list[str], add_pictures: AddPictures, answer: Answer
) -> None:
    before = labels(ledger, six)
    (late,) = add_pictures(ledger, ["late"])
    merge(ledger, "pit", into="crack")
    append_events(ledger, [answer(late, "crack")])
    assert take_apart(ledger, "crack", "crack", "pit").names == THREE.names
    assert labels(ledger, [*six, late]) == [*before, None]
    append_events(ledger, [answer(late, "crack")])
    assert labels(ledger, [late]) == ["crack"]


def test_labels_of_a_split_class_wait_until_somebody_says_which(ledger: Ledger, six: list[str], answer: Answer) -> None:
    after = take_apart(ledger, "crack", "hairline", "gap")
    assert after.names == ("pit", "ok", "hairline", "gap")
    assert after.classes[0] == CRACK
    assert [item.severity for item in after.active[2:]] == [5, 5]
    assert labels(ledger, six) == [None, None, "pit", "pit", "ok", "ok"]
    answers = image_answers(ledger).set_index("image_id")
    assert list(answers.loc[six, "split_label"]) == ["crack", "Riss", None, None, None, None]
    assert answers.loc[six[0], ["source", "who", "event_id"]].isna().all()
    append_events(ledger, [answer(six[0], "gap", source=Source.IMPORT, action=Action.IMPORT, who="file")])
    assert labels(ledger, six)[:2] == ["gap", None]
    assert image_answers(ledger).set_index("image_id").loc[six[0], "who"] == "file"
    assert conflicts_frame(ledger).empty
    assert list(events_frame(ledger)["label"][:2]) == ["crack", "Riss"]  # no event is ever rewritten
    assert verify_chain(ledger).ok


def test_a_split_is_taken_back_by_merging_its_parts(ledger: Ledger, six: list[str], answer: Answer) -> None:
    before = labels(ledger, six)
    take_apart(ledger, "crack", "hairline", "gap")
    append_events(ledger, [answer(six[0], "gap")])
    after = merge(ledger, "hairline", "gap", into="crack")
    assert after.names == THREE.names
    assert after.active[0].aliases == ("Riss", "hairline", "gap")
    assert labels(ledger, six) == before


def test_one_class_of_all_parts_has_the_old_labels_whatever_it_is_called(ledger: Ledger, six: list[str]) -> None:
    take_apart(ledger, "crack", "hairline", "gap")
    merge(ledger, "hairline", "gap", into="fracture")
    assert labels(ledger, six) == ["fracture", "fracture", "pit", "pit", "ok", "ok"]


def test_a_stronger_old_word_is_settled_by_any_later_answer_that_fits(
    ledger: Ledger, add_pictures: AddPictures, answer: Answer
) -> None:
    first, second = add_pictures(ledger, ["a", "b"])
    follow_profile(ledger, THREE.classes, "profile")
    append_events(ledger, [answer(image, "crack", source=Source.REFERENCE) for image in (first, second)])
    append_events(ledger, [answer(first, "pit")])  # before the split, against the reference: settles nothing
    take_apart(ledger, "crack", "gap", "pit")
    assert labels(ledger, [first, second]) == [None, None]
    append_events(ledger, [answer(first, "ok"), answer(second, "gap")])
    assert labels(ledger, [first, second]) == [None, "gap"]
    said = append_events(ledger, [answer(first, "gap")])
    assert labels(ledger, [first]) == ["gap"]
    append_events(ledger, [answer(first, action=Action.UNDO, undoes=said[0].event_id)])
    assert labels(ledger, [first]) == [None]


def test_an_import_against_a_settled_answer_is_a_conflict(ledger: Ledger, six: list[str], answer: Answer) -> None:
    take_apart(ledger, "crack", "hairline", "gap")
    append_events(ledger, [answer(six[0], "gap")])
    append_events(ledger, [answer(six[0], "pit", source=Source.IMPORT, action=Action.IMPORT)])
    assert list(conflicts_frame(ledger)["labels"]) == [("gap", "pit")]
    assert labels(ledger, six)[0] == "gap"


def test_the_label_of_a_group_waits_for_all_its_images(
    ledger: Ledger, add_pictures: AddPictures, answer: Answer
) -> None:
    images = add_pictures(ledger, ["a", "b"], groups={"a": "lot", "b": "lot"})
    follow_profile(ledger, THREE.classes, "profile")
    append_events(ledger, [answer("lot", "crack", subject_kind=SubjectKind.GROUP)])
    take_apart(ledger, "crack", "hairline", "gap")
    assert labels(ledger, images) == [None, None]
    append_events(ledger, [answer(images[0], "gap")])
    assert labels(ledger, images) == ["gap", None]


def test_a_class_may_be_split_twice_and_labels_of_each_time_mean_what_they_meant(
    ledger: Ledger, add_pictures: AddPictures, answer: Answer
) -> None:
    one, two, three = add_pictures(ledger, ["a", "b", "c"])
    follow_profile(ledger, THREE.classes, "profile")
    append_events(ledger, [answer(one, "crack")])
    take_apart(ledger, "crack", "crack", "gap")
    append_events(ledger, [answer(two, "crack")])
    taxonomy = take_apart(ledger, "crack", "crack", "hairline")
    append_events(ledger, [answer(three, "crack")])
    assert taxonomy.possible("crack", event=1) == {"crack", "gap", "hairline"}
    assert taxonomy.possible("crack", event=2) == {"crack", "hairline"}
    assert labels(ledger, [one, two, three]) == [None, None, "crack"]


@pytest.mark.parametrize(("who", "why"), [(" ", "x"), ("x", "")])
def test_a_change_says_who_and_why(ledger: Ledger, six: list[str], who: str, why: str) -> None:
    with pytest.raises(BadInput, match="needs who decided and why"):
        change_taxonomy(ledger, lambda current, _: renamed(current, "pit", "hole"), who, why)
    assert current_taxonomy(ledger).version == 1


def test_the_profile_adds_and_describes_but_never_takes_away(ledger: Ledger, six: list[str]) -> None:
    said = (
        TaxonomyClass(name="pit", description="A small hole.", severity=4, reference_images=("pit/001.png",)),
        TaxonomyClass(name="crack", aliases=("fissure",), severity=5, description="A line."),
        TaxonomyClass(name="stain"),
    )
    after, sentences = follow_profile(ledger, said, "profile")
    assert after.version == 2
    assert after.names == ("crack", "pit", "ok", "stain")
    assert after.active[1] == said[0]
    assert after.active[0].aliases == ("Riss", "fissure")
    assert sentences == (
        "The profile adds 'stain' and no longer has 'ok', which stays. If one is a new name of the other, say so: "
        "`tailsight taxonomy merge OLD --into NEW`.",
    )
    again, _ = follow_profile(ledger, said, "profile")
    assert again == after
    assert labels(ledger, six) == ["crack", "crack", "pit", "pit", "ok", "ok"]
