"""What the database itself refuses, whoever asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError as DatabaseRefused
from sqlalchemy.schema import CreateTable

from data_contracts.ledger import schema
from data_contracts.ledger.append_only import APPEND_ONLY, guard_statements, trigger_names
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import record_dataset
from data_contracts.ledger.events import append_events, head
from data_contracts.ledger.promotions import record_look, record_promotion
from data_contracts.ledger.splits import assign_splits
from data_contracts.ledger.tables import METADATA
from data_contracts.ledger.taxonomies import save_taxonomy
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import DatasetVersion, NewLabelEvent
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Alias, Split

Answer = Callable[..., NewLabelEvent]


@pytest.fixture
def full(ledger: Ledger, answer: Answer, version_of: Callable[..., DatasetVersion]) -> Ledger:
    """A ledger with one row in every append-only table."""
    append_events(ledger, [answer("a", "x", request_id="r1")])
    save_taxonomy(ledger, Taxonomy().extended(["x"]), "ann", "first")
    assign_splits(ledger, {"a": Split.TRAIN}, "d-1")
    record_look(ledger, model_version="1", against=None, dataset_version="d-1", passed=True, report={})
    record_dataset(ledger, version_of("d-1", ledger_head=head(ledger)))
    record_promotion(
        ledger,
        model_version="1",
        to_alias=Alias.CHAMPION,
        from_alias=None,
        previous_version=None,
        who="ann",
        why="first",
        override=False,
        gate_report={},
    )
    with ledger.writing() as connection:
        for statement in REVIEW_ROWS:
            connection.exec_driver_sql(statement)
    return ledger


REVIEW_ROWS = (
    "INSERT INTO review_round VALUES ('r1', '2026', NULL, NULL, NULL, '{}', 0)",
    "INSERT INTO role_event VALUES (1, '2026', 'ann', 'lead', 'ann')",
    "INSERT INTO decision_out VALUES (1, 'd1', '2026', 'image', 'a', 'x', 0, 0, 'ann', NULL, '{}', NULL, 'e1')",
    "INSERT INTO delivery VALUES ('d1@csv', 'csv', 1, 'd1', '2026')",
    "INSERT INTO promotion_request VALUES (1, '2026', '2', '{}', 'gate', 'better')",
    "INSERT INTO promotion_approval VALUES (1, 1, '2026', '2', 'ann', 'seen', 1)",
    "INSERT INTO setting_event VALUES (1, '2026', 'ann', 'personal_figures', 'leads')",
)


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_an_append_only_table_refuses_update_delete_and_every_replacing_insert(
    full: Ledger, intruder: Any, table: str
) -> None:
    columns = [column.name for column in METADATA.tables[table].columns]
    attempts = [f"UPDATE {table} SET {columns[1]} = 'changed'", f"DELETE FROM {table}"]
    for key in APPEND_ONLY[table]:
        kept = ", ".join(
            f"'{name}-other'" if name in APPEND_ONLY[table] and name not in (key, "sequence") else name
            for name in columns
        )
        if key != "sequence" and "sequence" in APPEND_ONLY[table]:
            kept = kept.replace("sequence", "sequence + 1000", 1)
        attempts += [
            f"{verb} INTO {table} ({', '.join(columns)}) SELECT {kept} FROM {table}"
            for verb in ("INSERT OR REPLACE", "REPLACE")
        ]
        attempts.append(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {kept} FROM {table} WHERE true "
            f"ON CONFLICT ({key}) DO UPDATE SET {columns[1]} = 'changed'"
        )
    for attempt in attempts:
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
            intruder.knock(attempt)
        with full.writing() as connection, pytest.raises(DatabaseRefused, match=f"{table} is append-only"):
            connection.exec_driver_sql(attempt)
    assert verify_chain(full).ok


def test_removed_triggers_are_found(full: Ledger, intruder: Any) -> None:
    intruder.knock(f"DROP TRIGGER {trigger_names('gate_look')[1]}")
    assert verify_chain(full).problems == ("gate look: its triggers were removed.",)


def test_a_weakened_trigger_is_found(full: Ledger, intruder: Any) -> None:
    name = trigger_names("label_event")[0]
    intruder.knock(f"DROP TRIGGER {name}")
    intruder.knock(f"CREATE TRIGGER {name} BEFORE UPDATE ON label_event WHEN 0 BEGIN SELECT 1; END")
    assert verify_chain(full).problems == ("label event: its triggers were removed.",)


def test_the_migrations_build_what_the_tables_say(ledger: Ledger) -> None:
    with ledger.reading() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert differences == []


def test_the_head_that_opening_expects_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.HEAD]
    assert {script.revision for script in scripts.walk_revisions()} == set(schema.KNOWN)


def test_every_table_and_guard_can_be_said_in_postgresql() -> None:
    dialect = postgresql.dialect()
    for table in METADATA.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
    for name, unique in APPEND_ONLY.items():
        statements = guard_statements(name, unique, "postgresql")
        assert any("BEFORE TRUNCATE" in statement for statement in statements)
    with pytest.raises(NotImplementedError, match="mysql"):
        guard_statements("label_event", ("sequence",), "mysql")
