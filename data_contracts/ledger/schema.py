"""Brings a database to the current schema when it is opened; a database that is there already costs one query."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from data_contracts.errors import IntegrityError
from data_contracts.ledger.postgresql import require_fit
from data_contracts.ledger.transactions import plain_errors, reading, writing

HEAD = "0003"
"""The newest migration; a test holds it against the folder."""

KNOWN = ("0001", "0002", "0003")
"""Every migration that this version can start from."""


def revision_of(connection: Connection) -> str | None:
    """The schema revision of a database, ``None`` for an empty one."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing, all or none.

    Raises:
        IntegrityError: the database was made by a newer Tailsight, or is not one of its databases.
        BadInput: a PostgreSQL database whose encoding is not UTF-8.
    """
    from alembic import command
    from alembic.config import Config

    if engine.dialect.name == "sqlite":
        with plain_errors(engine), closing(engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA journal_mode=WAL")  # stays with the file; cannot be set inside a transaction
    with writing(engine) as connection:
        revision = revision_of(connection)
        if revision == HEAD:
            return
        if revision is not None and revision not in KNOWN:
            raise IntegrityError(
                f"The ledger has schema {revision}, which this version of Tailsight does not know.",
                cause="It was opened by a newer version, or the database belongs to another program.",
                remedy="Upgrade Tailsight, or give the ledger a database of its own.",
            )
        if engine.dialect.name == "postgresql":
            require_fit(connection)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)


def is_current(engine: Engine) -> bool:
    """Whether the database has the newest schema.

    Raises:
        IntegrityError: the file is not a database.
        TailsightError: the database cannot be reached.
    """
    with reading(engine) as connection:
        return revision_of(connection) == HEAD
