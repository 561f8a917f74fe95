"""Open a workspace's ledger."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine

from data_contracts.errors import BadInput
from data_contracts.ledger.key import known_key, unlock
from data_contracts.ledger.schema import is_current, migrate
from data_contracts.ledger.transactions import BUSY_SECONDS, place_of, reading, server_engine, sqlite_engine, writing
from data_contracts.settings import Settings
from data_contracts.workspace import Workspace, write_atomically


class Ledger:
    """An open ledger: an engine and the key. A context manager; safe to share between threads and across forks.

    Attributes:
        workspace: whose ledger it is.
        engine: SQLAlchemy engine at the current schema.
        key: secret of the hash chains.
    """

    def __init__(self, workspace: Workspace, engine: Engine, key: bytes) -> None:
        self.workspace = workspace
        self.engine = engine
        self.key = key

    def __repr__(self) -> str:
        return f"Ledger({place_of(self.engine)})"

    @classmethod
    def open(cls, workspace: Workspace, settings: Settings | None = None) -> Ledger:
        """Open the ledger of ``workspace``, making or migrating its database first if needed.

        Args:
            workspace: an existing workspace.
            settings: a database URL or a key that come from elsewhere; ``None`` keeps both in the workspace.

        Raises:
            NotFound: the folder is not a workspace.
            IntegrityError: the key is missing or wrong, or the database is damaged or of a newer version.
            Busy: another process holds the database.
            Unreachable: its server does not answer now.
            BadInput: the database URL cannot be used, or the workspace's ledger is somewhere else.
            TailsightError: the database cannot be reached or written.
        """
        workspace.require()
        engine = _engine(workspace, settings)
        try:
            if not is_current(engine):
                with workspace.lock("ledger-migration", wait_seconds=BUSY_SECONDS):
                    migrate(engine)
            with reading(engine) as connection:
                key = known_key(connection, workspace, settings)
            if key is None:
                with writing(engine) as connection:
                    key = unlock(connection, workspace, settings)
            _remember_place(workspace, engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(workspace, engine, key)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def writing(self) -> AbstractContextManager[Connection]:
        """A write transaction: one writer at a time, all or nothing."""
        return writing(self.engine)

    def reading(self) -> AbstractContextManager[Connection]:
        """A read transaction: all statements see the same moment."""
        return reading(self.engine)


def _engine(workspace: Workspace, settings: Settings | None) -> Engine:
    """The engine of the one ledger that a workspace has: nobody starts a second one beside it by mistake."""
    if settings is None or settings.database_url is None:
        if workspace.ledger_place_path.is_file():
            place = workspace.ledger_place_path.read_text(encoding="utf-8").strip()
            raise BadInput(
                f"The ledger of {workspace.folder} is on a server ({place}), but TAILSIGHT_DATABASE_URL is not set.",
                remedy="Set TAILSIGHT_DATABASE_URL to that database's address, with its password.",
            )
        return sqlite_engine(workspace.ledger_path)
    if workspace.ledger_path.exists():
        raise BadInput(
            f"The ledger of {workspace.folder} is its file {workspace.ledger_path.name}, "
            "but TAILSIGHT_DATABASE_URL names a server.",
            cause="A workspace has one ledger, made where its first command found it.",
            remedy="Unset TAILSIGHT_DATABASE_URL, or make another workspace on the server.",
        )
    return server_engine(settings.database_url)


def _remember_place(workspace: Workspace, engine: Engine) -> None:
    """Note on which server the ledger is, so that a command without the address does not begin another one."""
    if engine.dialect.name == "sqlite":
        return
    place, path = f"{place_of(engine)}\n", workspace.ledger_place_path
    if not path.is_file() or path.read_text(encoding="utf-8") != place:
        write_atomically(path, place)
