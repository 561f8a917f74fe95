"""Opening a ledger: the key, the schema, the database file."""

from __future__ import annotations

import dataclasses
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_contracts.errors import BadInput, IntegrityError, NotFound, TailsightError
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.taxonomies import save_taxonomy
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import NewLabelEvent
from data_contracts.settings import Settings
from data_contracts.taxonomy import Taxonomy
from data_contracts.workspace import Workspace

Answer = Callable[..., NewLabelEvent]

SETTINGS = Settings(workspace=Path(), database_url=None, ledger_key=None, person="ann", processes=1)


def test_the_key_is_readable_by_its_owner_only(workspace: Workspace) -> None:
    with Ledger.open(workspace) as ledger:
        assert len(ledger.key) == 64
    assert stat.S_IMODE(workspace.ledger_key_path.stat().st_mode) == 0o600


def test_the_key_is_not_in_the_database(site: Workspace, answer: Answer) -> None:
    with Ledger.open(site) as ledger:
        append_events(ledger, [answer("a", "x")])
        key = ledger.key
    content = b"".join(path.read_bytes() for path in site.folder.glob("ledger.sqlite*"))
    assert b"label_event" in content
    assert key not in content


def test_a_missing_key_of_a_ledger_with_entries_is_refused_and_never_made_anew(site: Workspace, answer: Answer) -> None:
    with Ledger.open(site) as ledger:
        append_events(ledger, [answer("a", "x")])
    key = site.ledger_key_path.read_bytes()
    site.ledger_key_path.unlink()
    with pytest.raises(IntegrityError, match=r"has 1 entries, but its key file .*ledger\.key is missing"):
        Ledger.open(site)
    assert not site.ledger_key_path.exists()
    site.ledger_key_path.write_bytes(key)
    with Ledger.open(site) as ledger:
        assert verify_chain(ledger).ok


def test_a_missing_key_is_refused_if_only_a_taxonomy_was_kept(site: Workspace) -> None:
    with Ledger.open(site) as ledger:
        save_taxonomy(ledger, Taxonomy().extended(["x"]), "ann", "first")
    site.ledger_key_path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        Ledger.open(site)


def test_an_empty_ledger_may_get_a_new_key(site: Workspace, answer: Answer) -> None:
    site.ledger_key_path.unlink()
    for _ in range(2):
        with Ledger.open(site) as ledger:
            append_events(ledger, [answer("a", "x")])
            assert verify_chain(ledger).ok


def test_the_key_of_another_ledger_is_refused(site: Workspace, answer: Answer) -> None:
    with Ledger.open(site) as ledger:
        append_events(ledger, [answer("a", "x")])
    site.ledger_key_path.write_text("f" * 64)
    with pytest.raises(IntegrityError, match="does not belong to this ledger"):
        Ledger.open(site)


def test_a_damaged_key_is_refused(site: Workspace) -> None:
    site.ledger_key_path.write_text("short\n")
    with pytest.raises(IntegrityError, match=r"is damaged \(5 bytes"):
        Ledger.open(site)


def test_the_key_may_come_from_elsewhere(workspace: Workspace, answer: Answer) -> None:
    settings = dataclasses.replace(SETTINGS, ledger_key="a secret from a vault")
    with Ledger.open(workspace, settings) as ledger:
        append_events(ledger, [answer("a", "x")])
    assert not workspace.ledger_key_path.exists()
    with pytest.raises(IntegrityError, match="is missing"):
        Ledger.open(workspace)
    with pytest.raises(IntegrityError, match="does not belong"):
        Ledger.open(workspace, dataclasses.replace(SETTINGS, ledger_key="another secret, wrong"))
    with Ledger.open(workspace, settings) as ledger:
        assert verify_chain(ledger).ok


def test_a_folder_that_is_no_workspace_gets_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not a Tailsight workspace"):
        Ledger.open(Workspace(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(workspace: Workspace) -> None:
    workspace.ledger_path.write_bytes(b"this is no database, but long enough to be looked at\n" * 40)
    with pytest.raises(IntegrityError, match="is not a readable database"):
        Ledger.open(workspace)


def test_a_schema_of_a_newer_version_is_refused(site: Workspace) -> None:
    with sqlite3.connect(site.ledger_path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.close()
    with pytest.raises(IntegrityError, match="schema 0999, which this version of Tailsight does not know"):
        Ledger.open(site)


def test_another_kind_of_database_is_refused_and_its_password_is_not_shown(workspace: Workspace) -> None:
    url = "mysql://ann:secret@host/db"
    with pytest.raises(BadInput, match="does not know databases of the kind 'mysql'") as error:
        Ledger.open(workspace, dataclasses.replace(SETTINGS, database_url=url))
    assert "secret" not in str(error.value)


def test_opening_a_ledger_that_is_current_takes_less_than_a_third_of_a_second(site: Workspace) -> None:
    began = time.perf_counter()
    Ledger.open(site).close()
    assert time.perf_counter() - began < 0.3


def test_every_connection_checks_foreign_keys_writes_ahead_and_syncs(ledger: Ledger) -> None:
    with ledger.reading() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("foreign_keys", "recursive_triggers", "journal_mode", "synchronous", "busy_timeout")
        }
    assert found == {
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "journal_mode": "wal",
        "synchronous": 2,
        "busy_timeout": 60_000,
    }


def test_a_ledger_shows_where_it_is(ledger: Ledger) -> None:
    assert repr(ledger) == f"Ledger(sqlite:///{ledger.workspace.ledger_path})"


def test_a_ledger_where_nothing_can_be_written_says_so(workspace: Workspace) -> None:
    workspace.ledger_path.mkdir()
    with pytest.raises(TailsightError, match=r"cannot be used: unable to open database file\. Check that"):
        Ledger.open(workspace)
