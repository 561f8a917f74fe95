"""Database triggers that make a table append-only: no UPDATE, no DELETE, no replacing INSERT.

The rules hold for every program that opens the database, not only for this one. SQLite's ``INSERT OR REPLACE`` deletes
without firing a DELETE trigger unless the connection sets ``recursive_triggers``, which a stranger's would not: hence
the BEFORE INSERT trigger that looks for the row itself.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from data_contracts.ledger import postgresql

APPEND_ONLY: dict[str, tuple[str, ...]] = {
    "label_event": ("sequence", "event_id", "request_id"),
    "promotion_event": ("sequence",),
    "gate_look": ("sequence",),
    "taxonomy_version": ("sequence",),
    "dataset_version": ("sequence",),
    "split_assignment": ("image_id",),
    "review_round": ("round_id",),
    "role_event": ("sequence",),
    "decision_out": ("sequence", "decision_id", "event_id"),
    "delivery": ("delivery_id",),
    "promotion_request": ("sequence",),
    "promotion_approval": ("sequence", "request"),
    "setting_event": ("sequence",),
}
"""Append-only tables, each with its unique columns."""


def trigger_names(table: str) -> tuple[str, ...]:
    """Names of the triggers that guard ``table`` on SQLite."""
    return (f"{table}_no_update", f"{table}_no_delete", f"{table}_no_replace")


def guard_statements(table: str, unique: tuple[str, ...], dialect: str) -> list[str]:
    """The DDL that makes ``table`` append-only.

    Raises:
        NotImplementedError: ``dialect`` is neither ``sqlite`` nor ``postgresql``.
    """
    message = f"{table} is append-only"
    if dialect == "sqlite":
        update, delete, replace = trigger_names(table)
        taken = " OR ".join(f"{column} = NEW.{column}" for column in unique)
        found = f"SELECT 1 FROM {table} WHERE {taken}"  # noqa: S608  # both are our own names
        refuse = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        return [
            f"CREATE TRIGGER {update} BEFORE UPDATE ON {table} {refuse}",
            f"CREATE TRIGGER {delete} BEFORE DELETE ON {table} {refuse}",
            f"CREATE TRIGGER {replace} BEFORE INSERT ON {table} WHEN EXISTS ({found}) {refuse}",
        ]
    if dialect == "postgresql":
        return postgresql.guard_statements(table)
    raise NotImplementedError(f"The ledger runs on SQLite and PostgreSQL, not on {dialect}.")


def missing_guards(connection: Connection) -> list[str]:
    """Append-only tables whose triggers somebody removed or changed."""
    if connection.dialect.name == "postgresql":
        return postgresql.unguarded(connection, APPEND_ONLY)
    present = set(inspect(connection).get_table_names())
    rows = connection.execute(text("SELECT sql FROM sqlite_master WHERE type = 'trigger'"))
    written = {row[0] for row in rows}
    return [
        table
        for table, unique in APPEND_ONLY.items()
        if table in present and not set(guard_statements(table, unique, "sqlite")) <= written
    ]
