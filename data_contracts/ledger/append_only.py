"""Database triggers that make a table append-only: no UPDATE, no DELETE, no replacing INSERT.

The rules hold for every program that opens the database, not only for this one. SQLite's ``INSERT OR REPLACE`` deletes
without firing a DELETE trigger unless the connection sets ``recursive_triggers``, which a stranger's would not: hence
the BEFORE INSERT trigger that looks for the row itself.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

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
        return [
            f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$",
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {table}_refuse()",
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()",
        ]
    raise NotImplementedError(f"The ledger runs on SQLite and PostgreSQL, not on {dialect}.")


def missing_guards(connection: Connection) -> list[str]:
    """Append-only tables whose triggers somebody removed (or changed, on SQLite)."""
    if connection.dialect.name != "sqlite":
        rows = connection.execute(text("SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal"))
        found = {(table, name) for table, name in rows}
        expected = ("no_change", "no_truncate")
        return [t for t in APPEND_ONLY if not {(t, f"{t}_{kind}") for kind in expected} <= found]
    present = set(inspect(connection).get_table_names())
    rows = connection.execute(text("SELECT sql FROM sqlite_master WHERE type = 'trigger'"))
    written = {row[0] for row in rows}
    return [
        table
        for table, unique in APPEND_ONLY.items()
        if table in present and not set(guard_statements(table, unique, "sqlite")) <= written
    ]
