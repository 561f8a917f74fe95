"""Taxonomies, splits, dataset versions, looks of the gate, promotions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.errors import BadInput, IntegrityError, NotFound, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import dataset, dataset_versions, latest_dataset, record_dataset
from data_contracts.ledger.events import append_events, head
from data_contracts.ledger.promotions import looks, promotions, record_look, record_promotion
from data_contracts.ledger.splits import assign_splits, split_assignments
from data_contracts.ledger.taxonomies import current_taxonomy, save_taxonomy, taxonomy_version
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import DatasetVersion, NewLabelEvent
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Alias, Split

Answer = Callable[..., NewLabelEvent]
VersionOf = Callable[..., DatasetVersion]


def test_the_first_taxonomy_is_empty_and_versions_are_kept(ledger: Ledger) -> None:
    assert current_taxonomy(ledger) == taxonomy_version(ledger, 0) == Taxonomy()
    first = save_taxonomy(ledger, Taxonomy().extended(["x"]), "ann", "found at ingest")
    second = save_taxonomy(ledger, first.extended(["y"]), "ann", "a new defect")
    assert current_taxonomy(ledger) == second
    assert taxonomy_version(ledger, 1) == first
    with pytest.raises(BadInput, match="no taxonomy version 7"):
        taxonomy_version(ledger, 7)


def test_saving_the_current_taxonomy_again_changes_nothing_and_a_stale_one_is_refused(ledger: Ledger) -> None:
    first = save_taxonomy(ledger, Taxonomy().extended(["x"]), "ann", "one")
    assert save_taxonomy(ledger, first, "bob", "the same") == first
    save_taxonomy(ledger, first.extended(["y"]), "ann", "two")
    with pytest.raises(Refused, match="version 2 cannot follow version 2"):
        save_taxonomy(ledger, first.extended(["z"]), "bob", "made from version 1")
    assert current_taxonomy(ledger).names == ("x", "y")


def test_the_first_split_is_for_ever(ledger: Ledger) -> None:
    assert assign_splits(ledger, {"a": Split.TRAIN, "b": Split.TEST, "c": Split.POOL}, "d-1") == 2
    assert assign_splits(ledger, {"a": Split.TRAIN, "c": Split.VAL}, "d-2") == 1
    with pytest.raises(IntegrityError, match="1 images would change their split, first b from test to train"):
        assign_splits(ledger, {"b": Split.TRAIN, "d": Split.TRAIN}, "d-3")
    assert assign_splits(ledger, {}, "d-4") == 0
    assert split_assignments(ledger).values.tolist() == [
        ["a", "train", "d-1"],
        ["b", "test", "d-1"],
        ["c", "val", "d-2"],
    ]


@given(st.lists(st.dictionaries(st.sampled_from("abcde"), st.sampled_from(list(Split))), max_size=6))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_sequence_of_assignments_ever_moves_an_image(ledger: Ledger, assignments: list[dict[str, Split]]) -> None:
    for splits in assignments:
        before = split_assignments(ledger).set_index("image_id")["split"].to_dict()
        try:
            assign_splits(ledger, splits, "d")
        except IntegrityError:
            assert any(before.get(image, split) != split for image, split in splits.items() if split != Split.POOL)
        after = split_assignments(ledger).set_index("image_id")["split"].to_dict()
        assert before.items() <= after.items()


def test_a_dataset_comes_back_as_it_was_recorded(ledger: Ledger, answer: Answer, version_of: VersionOf) -> None:
    assert latest_dataset(ledger) is None
    append_events(ledger, [answer("a", "x")])
    version = version_of("d-1", ledger_head=head(ledger), imbalance_factor=None)
    assert record_dataset(ledger, version) == version
    assert dataset(ledger, "d-1") == latest_dataset(ledger) == version
    assert dataset_versions(ledger) == [version]
    with pytest.raises(NotFound, match="no dataset version 'd-2'"):
        dataset(ledger, "d-2")


def test_recording_a_dataset_again_keeps_the_first_record(
    ledger: Ledger, answer: Answer, version_of: VersionOf
) -> None:
    first = record_dataset(ledger, version_of("d-1"))
    append_events(ledger, [answer("a", "x")])
    later = version_of("d-1", ledger_head=head(ledger), created_at=first.created_at + timedelta(days=1))
    assert record_dataset(ledger, later) == first
    assert dataset_versions(ledger) == [first]
    with pytest.raises(IntegrityError, match="is known with another manifest"):
        record_dataset(ledger, version_of("d-1", manifest_sha256="f" * 64))


def test_a_dataset_that_is_reached_again_is_the_latest_again(ledger: Ledger, version_of: VersionOf) -> None:
    for name in ("d-1", "d-2", "d-1"):
        record_dataset(ledger, version_of(name))
    latest = latest_dataset(ledger)
    assert latest is not None
    assert latest.dataset_version == "d-1"
    assert [version.dataset_version for version in dataset_versions(ledger)] == ["d-1", "d-2"]
    assert verify_chain(ledger).ok


def move(ledger: Ledger, **fields: Any) -> Any:
    facts = {"model_version": "2", "to_alias": Alias.CHAMPION, "from_alias": Alias.CANDIDATE, "previous_version": "1"}
    facts |= {"who": "ann", "why": "better", "override": False, "gate_report": {"macro_f1": 0.5, "n": float("nan")}}
    return record_promotion(ledger, **(facts | fields))


def test_a_promotion_is_anchored_where_the_ledger_stood(ledger: Ledger, answer: Answer) -> None:
    append_events(ledger, [answer("a", "x")])
    first = move(ledger)
    append_events(ledger, [answer("a", "y")])
    second = move(ledger, model_version="1", previous_version="2", from_alias=None, why="rollback", override=True)
    assert promotions(ledger) == [first, second]
    assert (first.ledger_head.sequence, second.ledger_head.sequence) == (1, 2)
    assert second.previous_hash == first.hash
    assert first.gate_report == {"macro_f1": 0.5, "n": None}
    assert verify_chain(ledger).promotions == 2


@pytest.mark.parametrize("missing", ["who", "why"])
def test_a_promotion_says_who_and_why(ledger: Ledger, missing: str) -> None:
    with pytest.raises(BadInput, match="needs who decided and why"):
        move(ledger, **{missing: " "})
    assert promotions(ledger) == []


def test_every_look_of_the_gate_is_kept(ledger: Ledger) -> None:
    facts: dict[str, Any] = {"model_version": "2", "dataset_version": "d-1"}
    refused = record_look(ledger, against="1", passed=False, report={"reasons": ["recall of 'x' fell"]}, **facts)
    passed = record_look(ledger, against=None, passed=True, report={}, **facts)
    assert looks(ledger) == [refused, passed]
    assert (refused.sequence, refused.report) == (1, {"reasons": ["recall of 'x' fell"]})
