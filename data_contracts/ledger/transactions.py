"""Transactions: readers see one moment, writers come one after another."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError

from data_contracts.disk_space import space_error
from data_contracts.errors import Busy, IntegrityError, TailsightError
from data_contracts.ledger import postgresql

BUSY_SECONDS = 60
_IMMEDIATE = "tailsight_immediate"

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_left_to_the_parent: list[object] = []


def _after_fork() -> None:
    """A forked child must neither use nor close its parent's SQLite connections: it starts with an empty pool."""
    for engine in list(_engines):
        _left_to_the_parent.append(engine.pool)  # keeps them from being closed by the child's garbage collector
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_after_fork)


def sqlite_engine(path: Path) -> Engine:
    """An engine for a SQLite file, with transactions under our control and the pragmas that the ledger relies on."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's sqlite3 would otherwise begin deferred, and late
        for pragma in ("foreign_keys=ON", "recursive_triggers=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(_IMMEDIATE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    _engines.add(engine)
    return engine


def server_engine(address: str) -> Engine:
    """An engine for a database on a PostgreSQL server; see :func:`data_contracts.ledger.postgresql.server_engine`."""
    engine = postgresql.server_engine(address)
    _engines.add(engine)
    return engine


def place_of(engine: Engine) -> str:
    """Where a database is, for people: never with a password."""
    secret = [name for name in engine.url.query if "pass" in name.lower()]
    return engine.url.difference_update_query(secret).render_as_string(hide_password=True)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that holds the only writer's place from its first statement; commits at the end, or nothing.

    Raises:
        Busy, IntegrityError, TailsightError: see :func:`plain_errors`.
    """
    with plain_errors(engine), engine.connect() as connection:
        connection = connection.execution_options(**{_IMMEDIATE: True})
        with connection.begin():
            if connection.dialect.name == "postgresql":
                postgresql.take_the_writers_place(connection, BUSY_SECONDS)
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction whose statements all see the same moment.

    Raises:
        Busy, IntegrityError, TailsightError: see :func:`plain_errors`.
    """
    with plain_errors(engine), engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def plain_errors(engine: Engine) -> Iterator[None]:
    """Say what the database's operational errors mean.

    Raises:
        Busy: another process holds the database, or (NoSpace) the disk is full.
        IntegrityError: the file is damaged, or no database at all.
        TailsightError: the database cannot be reached or written (rights, server gone).
    """
    try:
        yield
    except DatabaseError as error:
        name, reason = place_of(engine), str(error.orig).strip()
        if engine.dialect.name == "postgresql":
            meant = postgresql.plain_error(error, name, BUSY_SECONDS)
            if meant is None:
                raise
            raise meant from None
        if "not a database" in reason or "malformed" in reason:
            raise IntegrityError(
                f"The ledger {name} is not a readable database ({reason}).", remedy="Restore it from your backup."
            ) from None
        if not isinstance(error, OperationalError):
            raise
        if "locked" in reason or "busy" in reason:
            raise Busy(
                f"The ledger {name} is held by another process, for longer than {BUSY_SECONDS} seconds.",
                remedy="Wait for it to end, or stop it; its work is not lost.",
            ) from None
        if full := space_error(error, Path(engine.url.database or ".").parent):
            raise full from None
        raise TailsightError(
            f"The ledger {name} cannot be used: {reason}.",
            remedy="Check that its folder exists and that you may write there.",
        ) from None
