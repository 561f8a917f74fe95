"""The rules of changes to the classes, by themselves: what is refused, and what holds whatever follows on what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.errors import BadInput, NotFound, Refused
from data_contracts.taxonomy import ChangeKind, Taxonomy, TaxonomyClass
from data_contracts.taxonomy_changes import described, merged, renamed, split

THREE = Taxonomy(
    version=1,
    classes=(
        TaxonomyClass(name="crack", aliases=("Riss",), severity=5, description="A line."),
        TaxonomyClass(name="pit", severity=2),
        TaxonomyClass(name="ok"),
    ),
)


def test_a_model_is_read_with_the_classes_that_it_was_trained_under() -> None:
    after = renamed(split(THREE, "crack", ["crack", "gap"], events=9), "crack", "fracture")
    assert after.possible("crack", version=1) == {"fracture", "gap"}
    assert after.possible("crack", version=2) == {"fracture"}
    assert after.possible("pit", version=1) == {"pit"}
    assert after.possible("unheard", version=1) == frozenset()


MISTAKES: list[tuple[Callable[[Taxonomy], Taxonomy], type[Exception], str]] = [
    (lambda t: renamed(t, "crak", "x"), NotFound, "There is no class 'crak'. Did you mean 'crack'?"),
    (lambda t: renamed(t, "crack", "crack"), BadInput, "The class is called 'crack' already."),
    (lambda t: renamed(t, "pit", "Riss"), BadInput, "'Riss' is already another name of the class 'crack'."),
    (lambda t: renamed(t, "pit", "=1+1"), BadInput, "'=1+1' cannot be the name of a class."),
    (lambda t: renamed(t, "pit", " "), BadInput, "'' cannot be the name of a class."),
    (lambda t: merged(t, ["pit"], "hole", events=0), BadInput, "merging one class alone would only rename it"),
    (lambda t: merged(t, ["pit"], "pit", events=0), BadInput, "Merging 'pit' into itself changes nothing."),
    (lambda t: split(t, "pit", ["pit", "pit"], events=0), BadInput, "needs at least two classes"),
    (lambda t: split(t, "gone", ["a", "b"], events=0), NotFound, "There is no class 'gone'."),
    (
        lambda t: renamed(split(t, "pit", ["a", "b"], events=0), "a", "pit"),
        Refused,
        "'pit' was split into 'a', 'b', and labels that say 'pit' wait for a person.",
    ),
    (lambda t: renamed(split(t, "pit", ["a", "b"], events=0), "pit", "x"), NotFound, "It was split into 'a', 'b'."),
]


@pytest.mark.parametrize(("change", "error", "words"), MISTAKES)
def test_what_cannot_be_is_refused_with_words(
    change: Callable[[Taxonomy], Taxonomy], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as raised:
        change(THREE)
    assert words in str(raised.value)


def test_a_profile_that_still_has_former_names_adds_no_class() -> None:
    after = renamed(split(THREE, "pit", ["hole", "dent"], events=0), "crack", "fracture")
    same, sentences = described(after, THREE.classes)
    assert same is after
    assert sentences[0].startswith("The profile calls a class 'crack' that is now 'fracture'")
    assert sentences[1].startswith("The profile still has the class 'pit', which was split into hole and dent")


def test_an_alias_that_means_another_class_is_refused() -> None:
    with pytest.raises(BadInput, match="'pit' names both 'crack' and 'pit'"):
        described(THREE, (TaxonomyClass(name="crack", aliases=("pit",)),))


NAMES = ["crack", "pit", "ok", "x", "y"]
CHANGES = st.one_of(
    st.tuples(st.just("merge"), st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), st.sampled_from(NAMES)),
    st.tuples(
        st.just("split"),
        st.sampled_from(NAMES),
        st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True),
    ),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
)


def apply(taxonomy: Taxonomy, change: tuple[object, ...], events: int) -> Taxonomy:
    kind, first, second = change
    if kind == "merge":
        return merged(taxonomy, first, second, events=events)  # type: ignore[arg-type]
    if kind == "split":
        return split(taxonomy, first, second, events=events)  # type: ignore[arg-type]
    return renamed(taxonomy, first, second)  # type: ignore[arg-type]


@given(st.lists(CHANGES, max_size=7))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_changes_follow_one_another_places_stay_and_every_label_means_classes_in_use(
    changes: list[tuple[object, ...]],
) -> None:
    taxonomy, events = THREE, 10
    for change in changes:
        try:
            after = apply(taxonomy, change, events)
        except (BadInput, NotFound, Refused):
            continue
        assert len(after.classes) >= len(taxonomy.classes)
        assert after.version == taxonomy.version + 1
        shared = [name for name in taxonomy.names if name in after.names]
        if change[0] == "split" or change[0] == "merge":
            assert shared == [name for name in after.names if name in shared] or _came_back(taxonomy, after)
        assert Taxonomy.model_validate_json(after.model_dump_json()) == after
        for label in NAMES:
            for event in range(1, events + 1, 3):
                assert after.possible(label, event=event) <= set(after.names)
        for name in THREE.names:  # what was known at the start is never forgotten
            assert after.possible(name, event=1)
        taxonomy, events = after, events + 3


def _came_back(before: Taxonomy, after: Taxonomy) -> bool:
    return len(after.retired) < len(before.retired) + 1


@given(st.lists(CHANGES, max_size=4), CHANGES)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_merge_or_split_is_taken_back_for_every_label_said_before(
    earlier: list[tuple[object, ...]], change: tuple[object, ...]
) -> None:
    taxonomy, events = THREE, 10
    for one in earlier:
        try:
            taxonomy, events = apply(taxonomy, one, events), events + 2
        except (BadInput, NotFound, Refused):
            continue
    try:
        after = apply(taxonomy, change, events)
    except (BadInput, NotFound, Refused):
        return
    made = after.change
    assert made is not None
    if made.kind is ChangeKind.RENAME:
        back = renamed(after, made.into[0], made.sources[0])
    elif made.kind is ChangeKind.SPLIT:
        if any(name in taxonomy.names and name not in made.sources for name in made.into):
            return  # a class that was in use before cannot be told from what was moved into it
        parts = [name for name in made.into if name not in made.sources]
        back = merged(after, parts, made.sources[0], events=events)
    else:
        target = made.into[0]
        parts = [name for name in made.sources if name != target] + ([target] if target in taxonomy.names else [])
        if len(parts) < 2 or (
            target not in {*made.sources, *taxonomy.names} and len(taxonomy.retired) > len(after.retired)
        ):
            return
        back = split(after, target, parts, events=events)
    for label in NAMES:
        for event in range(1, events + 1):
            meant = taxonomy.possible(label, event=event)
            assert not meant or back.possible(label, event=event) == meant, (label, event)
