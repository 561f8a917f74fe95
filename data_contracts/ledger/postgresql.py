"""What PostgreSQL needs so that a ledger behaves there exactly as in a SQLite file."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import URL, Connection, Engine, bindparam, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from data_contracts.errors import BadInput, Busy, NoSpace, TailsightError, Unreachable

CONNECT_SECONDS = 10
_WRITERS_PLACE = 0x7A11_516E  # one number for the ledger of a database; each database has one ledger
_DRIVERS = ("postgresql", "postgresql+psycopg")
_LOCK_NOT_AVAILABLE = "55P03"
_NO_RIGHT, _READ_ONLY, _DISK_FULL = "42501", "25006", "53100"
_WRONG_ADDRESS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "connection option", "no password")

_ROW, _BEFORE, _DELETE, _UPDATE, _TRUNCATE = 1, 2, 8, 16, 32  # bits of pg_trigger.tgtype
_ENABLED = ("O", "A")


def server_engine(address: str) -> Engine:
    """An engine for the database at a ``postgresql://user:password@host:port/database`` address; does not connect yet.

    Raises:
        BadInput: the address cannot be read, names another kind of database, or the driver is not installed.
    """
    url = _url(address)
    waiting = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    try:
        return create_engine(
            url.set(drivername=_DRIVERS[-1]),
            pool_pre_ping=True,  # a server that was started anew in the meantime is no error
            hide_parameters=True,  # what people answered belongs into no traceback
            connect_args={"application_name": "tailsight", **waiting},
        )
    except ModuleNotFoundError:
        raise BadInput(
            "The ledger's database is PostgreSQL, but its driver is not installed.",
            remedy="Install it: pip install 'tailsight[postgresql]'.",
        ) from None


def _url(address: str) -> URL:
    kind = address.partition(":")[0]
    if kind not in _DRIVERS:
        raise BadInput(
            f"The ledger does not know databases of the kind {kind!r}.",
            remedy="Give postgresql://user:password@host:port/database, or unset TAILSIGHT_DATABASE_URL "
            "to keep a SQLite file in the workspace.",
        )
    try:
        return make_url(address)
    except (ArgumentError, ValueError):  # their texts may repeat parts of the password
        raise BadInput(
            "TAILSIGHT_DATABASE_URL cannot be read as an address.",
            cause="A password may hold a character that means something else there ('@', ':', '/', '#', '%').",
            remedy="Give postgresql://user:password@host:port/database, such characters percent-encoded.",
        ) from None


def take_the_writers_place(connection: Connection, seconds: float) -> None:
    """Wait until nobody else writes to this ledger; the place is given back when the transaction ends.

    Raises:
        sqlalchemy.exc.OperationalError: somebody held it for longer than ``seconds``; see :func:`plain_error`.
    """
    wait = text("SELECT set_config('lock_timeout', :milliseconds, true)")
    connection.execute(wait, {"milliseconds": f"{max(1, round(seconds * 1000))}"})
    connection.execute(text("SELECT pg_advisory_xact_lock(:place)"), {"place": _WRITERS_PLACE})


def plain_error(error: DatabaseError, name: str, busy_seconds: float) -> TailsightError | None:
    """What a server's error means to a person, ``None`` where it is an error of ours.

    Args:
        error: what the driver raised.
        name: the database, without its password.
        busy_seconds: how long a writer waits for the one before it.
    """
    state = getattr(error.orig, "sqlstate", None)
    reason = " ".join(str(error.orig).split())
    if state == _LOCK_NOT_AVAILABLE:
        return Busy(
            f"The ledger {name} is held by another process, for longer than {busy_seconds:g} seconds.",
            remedy="Wait for it to end, or stop it; its work is not lost.",
        )
    if state == _DISK_FULL:
        return NoSpace(
            f"The disk of the server of the ledger {name} is full ({reason}).",
            remedy="Free some room there; what was not acknowledged was not written.",
        )
    if state in (_NO_RIGHT, _READ_ONLY):
        return TailsightError(
            f"The ledger {name} cannot be written: {reason}.",
            cause="Its user does not own the tables, or the server is a read-only copy.",
            remedy="Give the user of TAILSIGHT_DATABASE_URL the right to create and write tables there.",
        )
    if isinstance(error, OperationalError) or error.statement is None:
        kind = Unreachable if _may_pass(error, reason) else TailsightError
        return kind(
            f"The ledger {name} cannot be reached: {reason}.",
            remedy="Check that the server runs and that TAILSIGHT_DATABASE_URL names its host, port, database, user "
            "and password. What was not acknowledged was not written.",
        )
    return None


def _may_pass(error: DatabaseError, reason: str) -> bool:
    """Whether the server is only gone for now, in contrast to an address or a password that is wrong."""
    if error.statement is not None:
        return error.connection_invalidated
    return not any(words in reason for words in _WRONG_ADDRESS)


def require_fit(connection: Connection) -> None:
    """Refuse a database that cannot keep every text.

    Raises:
        BadInput: its encoding is not UTF-8.
    """
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding not in ("UTF8", b"UTF8"):  # with SQL_ASCII the driver gives bytes
        raise BadInput(
            f"The database {connection.engine.url.database} has the encoding {encoding}.",
            cause="File names and answers may hold any character.",
            remedy="Make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
        )


def keep_text_as_it_is(connection: Connection, tables: Collection[str]) -> None:
    """Give every text column of ``tables`` SQLite's behaviour: no limit of length, order and equality byte by byte.

    A server's own collation would sort, and so split and queue, differently from one installation to the next.
    """
    columns = connection.execute(
        text(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() "
            "AND table_name IN :tables AND data_type IN ('character varying', 'text') "
            "AND (data_type <> 'text' OR collation_name IS DISTINCT FROM 'C') ORDER BY table_name, ordinal_position"
        ).bindparams(bindparam("tables", expanding=True)),
        {"tables": list(tables)},
    ).all()
    changes: dict[str, list[str]] = {}
    for table, column in columns:
        changes.setdefault(table, []).append(f'ALTER COLUMN "{column}" TYPE text COLLATE "C"')
    for table, parts in changes.items():
        connection.execute(text(f'ALTER TABLE "{table}" {", ".join(parts)}'))


def guard_statements(table: str) -> list[str]:
    """The DDL that makes ``table`` append-only. INSERT … ON CONFLICT DO UPDATE and MERGE fire the UPDATE trigger."""
    return [
        f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $${_refusal(table)}$$",
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_refuse()",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()",
    ]


def _refusal(table: str) -> str:
    return f" BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'restrict_violation'; END "


def unguarded(connection: Connection, tables: Collection[str]) -> list[str]:
    """Those of ``tables`` whose triggers somebody removed, switched off or changed, or whose function says nothing."""
    rows = connection.execute(
        text(
            "SELECT c.relname, t.tgname, t.tgenabled, t.tgtype, t.tgqual IS NULL AND t.tgattr = '' AS always, p.prosrc "
            "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND n.nspname = current_schema()"
        )
    )
    sound = {
        (row.relname, row.tgname, row.tgtype)
        for row in rows
        if row.tgenabled in _ENABLED and row.always and row.prosrc == _refusal(row.relname)
    }
    kinds = {"no_change": _ROW | _BEFORE | _DELETE | _UPDATE, "no_truncate": _BEFORE | _TRUNCATE}
    return [t for t in tables if not {(t, f"{t}_{name}", bits) for name, bits in kinds.items()} <= sound]
