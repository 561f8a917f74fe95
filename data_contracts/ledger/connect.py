"""Open a workspace's ledger."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine

from data_contracts.errors import BadInput
from data_contracts.ledger.key import known_key, unlock
from data_contracts.ledger.schema import is_current, migrate
from data_contracts.ledger.transactions import BUSY_SECONDS, reading, server_engine, sqlite_engine, writing
from data_contracts.settings import Settings
from data_contracts.workspace import Workspace


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
        return f"Ledger({self.engine.url.render_as_string(hide_password=True)})"

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
            BadInput: the database URL cannot be used.
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
    if settings is None or settings.database_url is None:
        return sqlite_engine(workspace.ledger_path)
    if not settings.database_url.startswith("postgresql"):
        raise BadInput(
            f"The ledger does not know databases of the kind {settings.database_url.partition(':')[0]!r}.",
            remedy="Give postgresql+psycopg://…, or unset TAILSIGHT_DATABASE_URL to keep a SQLite file.",
        )
    try:
        return server_engine(settings.database_url)
    except ModuleNotFoundError as error:
        raise BadInput(
            f"The database driver {error.name!r} is not installed.", remedy=f"Install it: pip install {error.name}"
        ) from None
