"""Whoever changes, removes, adds or reorders entries by other means is found out."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.errors import BadInput, IntegrityError
from data_contracts.ledger.chain import GENESIS, canonical_json, entry_hash, plain
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import record_dataset
from data_contracts.ledger.events import append_events, events_frame, head
from data_contracts.ledger.promotions import record_look, record_promotion
from data_contracts.ledger.tables import LABEL_EVENT, METADATA
from data_contracts.ledger.taxonomies import save_taxonomy
from data_contracts.ledger.verify import CHAINED, verify_chain
from data_contracts.records import DatasetVersion, LedgerHead, NewLabelEvent
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Action, Alias, Certainty, Source
from data_contracts.workspace import Workspace, write_atomically

Answer = Callable[..., NewLabelEvent]


def dataset_at(ledger_head: LedgerHead, name: str = "d-1") -> DatasetVersion:
    return DatasetVersion(
        dataset_version=name,
        created_at=datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
        manifest_sha256=name.ljust(64, "0"),
        taxonomy=Taxonomy(),
        profile_hash="p",
        ledger_head=ledger_head,
        test_edition=1,
        parent=None,
        counts={"train": {"x": 1}},
        imbalance_factor=1.5,
        classes_under_minimum=("x",),
        seed=0,
    )


def promote(ledger: Ledger, version: str = "1") -> None:
    record_promotion(
        ledger,
        model_version=version,
        to_alias=Alias.CHAMPION,
        from_alias=Alias.CANDIDATE,
        previous_version="0",
        who="ann",
        why="better",
        override=False,
        gate_report={"macro_f1": 0.5},
    )


@pytest.fixture(scope="module")
def full_folder(empty_ledger_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose ledger has a few entries in every chain, all columns filled somewhere; tests copy it."""
    folder = Path(shutil.copytree(empty_ledger_folder, tmp_path_factory.mktemp("full") / "site"))

    def said(subject: str, label: str | None, **fields: Any) -> NewLabelEvent:
        facts = {"who": "ann", "action": Action.LABEL, "source": Source.READER}
        return NewLabelEvent(subject_id=subject, label=label, **(facts | fields))

    with Ledger.open(Workspace(folder)) as ledger:
        first = append_events(
            ledger,
            [
                said("a", "x", source=Source.IMPORT, action=Action.IMPORT, request_id="r1"),
                said(
                    "b", "y", note="line\nbreak", certainty=Certainty.SURE, task_id="t", seconds_spent=0.1, blind=True
                ),
                said("a", "z", model_version="3"),
                said("c", "x"),
            ],
        )
        append_events(ledger, [said("a", None, action=Action.UNDO, undoes=first[2].event_id)])
        for number in range(2):
            save_taxonomy(ledger, Taxonomy(version=number).extended([f"c{number}"]), "ann", "more")
            record_look(
                ledger, model_version=f"{number}", against="0", dataset_version="d", passed=True, report={"f1": 0.25}
            )
            record_dataset(ledger, dataset_at(head(ledger), f"d-{number}"))
            promote(ledger, f"{number}")
        assert verify_chain(ledger).ok
    return folder


@pytest.fixture
def full(site: Workspace, full_folder: Path) -> Iterator[Ledger]:
    """An open ledger with entries in every chain."""
    shutil.copytree(full_folder, site.folder, dirs_exist_ok=True)
    with Ledger.open(site) as ledger:
        yield ledger


FIELDS = [(table.name, column.name) for table in CHAINED for column in table.columns]


@pytest.mark.parametrize(("table", "field"), FIELDS)
def test_a_change_of_any_field_of_any_chain_is_found(full: Ledger, intruder: Any, table: str, field: str) -> None:
    kind = METADATA.tables[table].c[field].type.python_type
    change = {str: f"coalesce({field}, '') || 'x'", bool: f"1 - {field}", float: f"coalesce({field}, 0) + 1e-9"}
    new = change.get(kind, f"{field} + 100")
    intruder.run(f"UPDATE {table} SET {field} = {new} WHERE sequence = 2")
    found = verify_chain(full)
    assert not found.ok
    assert any(table.replace("_", " ") in problem for problem in found.problems)


@pytest.mark.parametrize("table", [table.name for table in CHAINED])
@pytest.mark.parametrize("which", ["= 1", "= 2", "= (SELECT max(sequence) FROM {table})", "> 1", "> 0"])
def test_a_deleted_entry_is_found_wherever_it_was(full: Ledger, intruder: Any, table: str, which: str) -> None:
    intruder.run(f"DELETE FROM {table} WHERE sequence {which.format(table=table)}")
    problems = verify_chain(full).problems
    assert any("missing" in problem or "cut off" in problem for problem in problems)


def test_entries_that_change_places_are_found(full: Ledger, intruder: Any) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        intruder.run(f"UPDATE label_event SET sequence = {new} WHERE sequence = {old}")
    assert len(verify_chain(full).problems) >= 2


def test_an_end_that_is_cut_off_with_its_seal_written_by_hand_is_found(full: Ledger, intruder: Any) -> None:
    last = events_frame(full).iloc[3]
    intruder.run("DELETE FROM label_event WHERE sequence = 5")
    intruder.run("UPDATE chain_head SET sequence = 4, hash = ? WHERE chain = 'label_event'", last["hash"])
    assert "label event: the seal of its end is not from this ledger's key." in verify_chain(full).problems


def test_a_seal_that_is_removed_is_found(full: Ledger, intruder: Any) -> None:
    intruder.run("DELETE FROM chain_head WHERE chain = 'gate_look'")
    assert verify_chain(full).problems == ("gate look: the seal of its end is gone.",)


def test_an_older_end_with_its_genuine_seal_is_found_by_the_anchors(
    ledger: Ledger, answer: Answer, intruder: Any
) -> None:
    """Somebody kept the seal of an earlier day, and cuts the chain back to it."""
    append_events(ledger, [answer("a", "x")])
    with ledger.reading() as connection:
        seal = connection.exec_driver_sql("SELECT sequence, hash, seal FROM chain_head").one()
    append_events(ledger, [answer("a", "y")])
    record_dataset(ledger, dataset_at(head(ledger)))
    promote(ledger)
    intruder.run("DELETE FROM label_event WHERE sequence = 2")
    intruder.run("UPDATE chain_head SET sequence = ?, hash = ?, seal = ? WHERE chain = 'label_event'", *seal)
    problems = verify_chain(ledger).problems
    assert [problem.split(" was made")[0] for problem in problems] == ["Dataset version d-1", "Promotion 1"]
    assert all("that event is gone" in problem for problem in problems)


def test_a_whole_older_database_is_found_by_the_manifests_beside_it(site: Workspace, answer: Answer) -> None:
    with Ledger.open(site) as ledger:
        append_events(ledger, [answer("a", "x")])
    shutil.copy(site.ledger_path, site.folder / "older")
    with Ledger.open(site) as ledger:
        append_events(ledger, [answer("a", "y")])
        version = record_dataset(ledger, dataset_at(head(ledger)))
        write_atomically(site.dataset("d-1") / "dataset.json", version.model_dump_json())
        assert verify_chain(ledger).ok
    shutil.copy(site.folder / "older", site.ledger_path)
    with Ledger.open(site) as ledger:
        (problem,) = verify_chain(ledger).problems
        assert problem.startswith("The manifest of d-1 was made when event 2 had hash")
        append_events(ledger, [answer("a", "another")])
        (problem,) = verify_chain(ledger).problems
        assert problem.endswith("that event is another one now.")


def test_events_after_an_anchor_verify(full: Ledger, answer: Answer) -> None:
    append_events(full, [answer("a", f"later {number}") for number in range(5)])
    found = verify_chain(full)
    assert (found.ok, found.events, found.promotions, found.problems) == (True, 10, 2, ())


def test_an_entry_written_with_another_key_is_found(full: Ledger, intruder: Any) -> None:
    row = events_frame(full).iloc[4]
    names = [column.name for column in LABEL_EVENT.columns]
    with sqlite3.connect(intruder.path) as connection:
        stored = dict(
            zip(names, connection.execute("SELECT * FROM label_event WHERE sequence = 5").fetchone(), strict=True)
        )
    connection.close()
    forged = stored | {"sequence": 6, "event_id": "f", "previous_hash": row["hash"], "blind": False}
    forged["hash"] = entry_hash(b"a guess of the key", "label_event", forged)
    intruder.run(f"INSERT INTO label_event VALUES ({', '.join('?' * len(names))})", *forged.values())
    assert any("is not from this ledger" in problem for problem in verify_chain(full).problems)


def test_nothing_is_written_on_a_broken_chain(full: Ledger, answer: Answer, intruder: Any) -> None:
    intruder.run("DELETE FROM label_event WHERE sequence = 5")
    with pytest.raises(IntegrityError, match="does not end where it was sealed; nothing was written"):
        append_events(full, [answer("a", "x")])
    assert len(events_frame(full)) == 4


def test_a_dataset_that_names_an_event_which_is_not_there_is_refused(full: Ledger) -> None:
    with pytest.raises(IntegrityError, match="names event 5 with hash"):
        record_dataset(full, dataset_at(LedgerHead(sequence=5, hash="f" * 64), "d-9"))
    with pytest.raises(IntegrityError, match="names event 0 with hash"):
        record_dataset(full, dataset_at(LedgerHead(sequence=0, hash="f" * 64), "d-9"))


def test_many_problems_are_counted_and_the_first_listed(ledger: Ledger, answer: Answer, intruder: Any) -> None:
    append_events(ledger, [answer(f"i{number}", "x") for number in range(50)])
    intruder.run("UPDATE label_event SET label = 'y'")
    found = verify_chain(ledger)
    assert len(found.problems) == 21
    assert found.problems[-1] == "label event: 30 more problems."
    assert found.events == 50


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)
NOTE = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\0"), max_size=60)


@given(
    label=TEXT.filter(str.strip),
    who=TEXT,
    note=st.none() | NOTE,
    seconds=st.none() | st.floats(0, 1e300) | st.just(-0.0),
    blind=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_said_comes_back_and_verifies(
    ledger: Ledger, answer: Answer, label: str, who: str, note: str | None, seconds: float | None, blind: bool
) -> None:
    event = answer("a", label, who=who, note=note, seconds_spent=seconds, blind=blind)
    (written,) = append_events(ledger, [event])
    assert (written.label, written.who, written.note, written.blind) == (label, who, note, blind)
    stored = events_frame(ledger).iloc[-1]
    assert (stored["label"], stored["who"], stored["note"], stored["at"]) == (label, who, note, written.at)
    assert verify_chain(ledger).ok


@given(
    row=st.integers(1, 6),
    change=st.sampled_from(
        ["label = label || ' '", "note = ''", "who = upper(who)", "seconds_spent = 0", "at = replace(at, '+00', '-00')"]
    ),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_small_changes_anywhere_are_found(
    empty_ledger_folder: Any, tmp_path_factory: Any, answer: Answer, row: int, change: str
) -> None:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(empty_ledger_folder, folder, dirs_exist_ok=True)
    with Ledger.open(Workspace(folder)) as ledger:
        append_events(ledger, [answer(f"i{number}", "x") for number in range(6)])
        with ledger.writing() as connection:
            connection.exec_driver_sql("DROP TRIGGER label_event_no_update")
            connection.exec_driver_sql(f"UPDATE label_event SET {change} WHERE sequence = {row}")
        assert f"label event {row}: was changed" in " ".join(verify_chain(ledger).problems)


def test_canonical_json_has_one_spelling_and_refuses_what_no_database_keeps() -> None:
    assert canonical_json({"b": 1.0, "a": "é"}) == '{"a":"é","b":1.0}'
    assert canonical_json("a\\u0000 that is only written") == '"a\\\\u0000 that is only written"'
    for bad in (float("nan"), float("inf"), "a\0b", "\ud800", object()):
        with pytest.raises(BadInput):
            canonical_json({"x": bad})


def test_a_report_becomes_plain_json() -> None:
    report = {
        "f1": np.float32(0.5),
        "n": np.int64(3),
        "ok": np.bool_(True),
        "curve": np.arange(2.0),
        "none": float("nan"),
    }
    assert plain(report | {1: (1, {"b", "a"}), "alias": Alias.CHAMPION}) == {
        "f1": 0.5,
        "n": 3,
        "ok": True,
        "curve": [0.0, 1.0],
        "none": None,
        "1": [1, ["a", "b"]],
        "alias": "champion",
    }


def test_an_empty_ledger_has_the_genesis_head_and_verifies(ledger: Ledger) -> None:
    assert head(ledger) == LedgerHead(sequence=0, hash=GENESIS)
    assert verify_chain(ledger).ok
    record_dataset(ledger, dataset_at(head(ledger)))
    assert verify_chain(ledger).ok
