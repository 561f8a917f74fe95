"""Whatever the groups, duplicates and earlier splits are: nothing that belongs together is parted."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.errors import BadInput, IntegrityError
from data_contracts.splitting import Candidate, assert_unsplit, components, split_images, thirds
from data_contracts.vocabulary import LABELLED_SPLITS, Split

LABELS = st.sampled_from(["a", "b", "rare", None])
SPLITS = st.sampled_from([None, *LABELLED_SPLITS])


@st.composite
def images(draw: st.DrawFn, *, with_history: bool = True) -> list[Candidate]:
    n = draw(st.integers(1, 60))
    groups = {str(i): draw(st.none() | st.sampled_from([f"g{k}" for k in range(12)])) for i in range(n)}
    number = st.integers(0, n - 1).map(str)
    pairs = draw(st.lists(st.tuples(number, number), max_size=10))
    component = components(groups, pairs)
    history = SPLITS if with_history else st.none()
    return [Candidate(i, component[i], draw(LABELS), draw(history), draw(history)) for i in groups]


@settings(max_examples=80, deadline=None)
@given(images(), st.integers(0, 5))
def test_no_component_ever_crosses_splits(candidates: list[Candidate], seed: int) -> None:
    result = split_images(candidates, seed=seed)
    assert set(result.splits) == {c.image_id for c in candidates}
    where: dict[str, set[Split]] = {}
    for candidate in candidates:
        split = result.splits[candidate.image_id]
        if split is not Split.POOL:
            where.setdefault(candidate.component, set()).add(split)
        if candidate.label is None:
            assert split is Split.POOL
    assert all(len(splits) == 1 for splits in where.values())


@settings(max_examples=40, deadline=None)
@given(images(), st.integers(0, 5))
def test_an_assigned_image_keeps_its_split_or_waits_but_never_moves(candidates: list[Candidate], seed: int) -> None:
    splits = split_images(candidates, seed=seed).splits
    for candidate in candidates:
        if candidate.assigned is not None:
            assert splits[candidate.image_id] in (candidate.assigned, Split.POOL)


@settings(max_examples=40, deadline=None)
@given(images(), st.integers(0, 5), st.randoms())
def test_the_split_depends_on_seed_and_content_but_not_on_order(
    candidates: list[Candidate], seed: int, random: object
) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split_images(candidates, seed=seed).splits == split_images(shuffled, seed=seed).splits


@settings(max_examples=40, deadline=None)
@given(images(with_history=False), images(with_history=False), st.integers(0, 5))
def test_what_was_split_stays_when_more_arrives(first: list[Candidate], second: list[Candidate], seed: int) -> None:
    before = split_images(first, seed=seed).splits
    held = {image: split for image, split in before.items() if split is not Split.POOL}
    more = [Candidate("new" + c.image_id, "new" + c.component, c.label) for c in second]
    grown = [Candidate(c.image_id, c.component, c.label, held.get(c.image_id)) for c in first] + more
    after = split_images(grown, seed=seed + 1)
    assert not after.leaks
    assert {image: after.splits[image] for image in held} == held


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 80), min_size=1), st.integers(0, 5))
def test_single_images_are_split_7_2_1_within_two_images_per_class(counts: dict[str, int], seed: int) -> None:
    candidates = [Candidate(f"{k}{i}", f"{k}{i}", k) for k, n in counts.items() for i in range(n)]
    splits = split_images(candidates, seed=seed).splits
    for name, n in counts.items():
        got = Counter(splits[c.image_id] for c in candidates if c.label == name)
        for split, share in zip(LABELLED_SPLITS, (0.7, 0.2, 0.1), strict=True):
            if n >= 10:
                assert abs(got[split] - share * n) <= 1.5
            elif n >= 3:
                assert got[split] >= 1


def test_large_and_small_groups_are_spread_alike() -> None:
    candidates = [Candidate(f"{g}-{i}", f"g{g:03}", "x") for g in range(300) for i in range(1 + g % 5)]
    splits = split_images(candidates, seed=3).splits
    sizes = Counter(c.component for c in candidates)
    for split in LABELLED_SPLITS:
        held = [sizes[g] for g in {c.component for c in candidates if splits[c.image_id] is split}]
        assert abs(sum(held) / len(held) - 3) < 0.5


def test_a_group_with_images_in_train_and_test_is_a_leak_and_stays_in_test() -> None:
    given = [Split.TRAIN, Split.TEST, Split.TRAIN, Split.VAL]
    candidates = [Candidate(str(i), "patient" if i < 2 else str(i), "x", None, s) for i, s in enumerate(given)]
    result = split_images(candidates, seed=0)
    assert result.splits == {"0": Split.POOL, "1": Split.TEST, "2": Split.TRAIN, "3": Split.VAL}
    (leak,) = result.leaks
    assert (leak.kept, leak.images_set_aside, leak.from_given_column) == (Split.TEST, 1, True)


def test_a_given_split_is_respected_and_new_images_of_a_group_follow_it() -> None:
    candidates = [
        Candidate("a", "p", "x", None, Split.VAL),
        Candidate("b", "p", "x"),
        Candidate("c", "q", "x", None, Split.TEST),
        Candidate("d", "r", "x", None, Split.TRAIN),
    ]
    splits = split_images(candidates, seed=0).splits
    assert splits == {"a": Split.VAL, "b": Split.VAL, "c": Split.TEST, "d": Split.TRAIN}


def test_a_given_split_without_validation_gets_one_out_of_its_training_part() -> None:
    candidates = [
        Candidate(str(i), str(i), "ab"[i % 2], None, Split.TRAIN if i < 90 else Split.TEST) for i in range(100)
    ]
    result = split_images(candidates, seed=0)
    counts = Counter(result.splits.values())
    assert counts[Split.TEST] == 10
    assert 18 <= counts[Split.VAL] <= 22
    assert "no val" in result.sentences[0]


def test_two_components_that_turn_out_to_be_one_never_leave_a_trained_image_in_test() -> None:
    candidates = [
        Candidate("old-train", "one", "x", Split.TRAIN),
        Candidate("old-test", "one", "x", Split.TEST),
        Candidate("bridge", "one", "x"),
    ]
    result = split_images(candidates, seed=0)
    assert result.splits == {"old-train": Split.POOL, "old-test": Split.TEST, "bridge": Split.TEST}
    assert not result.leaks[0].from_given_column


@pytest.mark.parametrize(("n", "absent"), [(1, ["val", "test"]), (2, ["test"])])
def test_a_class_too_small_for_all_splits_is_named(n: int, absent: list[str]) -> None:
    candidates = [Candidate(f"t{i}", f"t{i}", "tiny") for i in range(n)]
    candidates += [Candidate(str(i), str(i), "large") for i in range(50)]
    (sentence,) = split_images(candidates, seed=0).sentences
    assert sentence.startswith(f"Class 'tiny' has {n} image")
    assert all(split in sentence for split in absent)


def test_groups_and_duplicates_chain_into_one_component() -> None:
    names = components({"a": "p", "b": "p", "c": "q", "d": None, "e": None}, [("b", "c"), ("x", "e")])
    assert names == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "e"}


def test_the_assertion_itself_refuses_a_crossing() -> None:
    with pytest.raises(IntegrityError, match="both train and test"):
        assert_unsplit({"a": "c", "b": "c"}, {"a": Split.TRAIN, "b": Split.TEST})
    assert_unsplit({"a": "c", "b": "c"}, {"a": Split.TRAIN, "b": Split.POOL})


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.2), (1.0, 0.0, 0.0), (0.8, 0.4, -0.2)])
def test_shares_that_make_no_split_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(BadInput, match="sum to 1"):
        split_images([], seed=0, fractions=fractions)


def test_thirds_are_by_training_count() -> None:
    assert thirds({"a": 5, "b": 50, "c": 500, "d": 1}) == {"many": ("c", "b"), "medium": ("a",), "few": ("d",)}
