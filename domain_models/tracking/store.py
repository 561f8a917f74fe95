"""The database behind MLflow: a SQLite file made whole or not at all, or a database on a server."""

from __future__ import annotations

import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from data_contracts.errors import BadInput, Busy
from domain_models.tracking.artifacts import UNFINISHED, remove_unfinished
from domain_models.tracking.quiet_mlflow import load_mlflow

DATABASE_FILE = "mlflow.sqlite"
ARTIFACTS_FOLDER = "artifacts"
_LOCK_SECONDS = 120.0
_DRIVER = "psycopg"


def database_uri(folder: Path) -> str:
    """The address that MLflow's own tools take (``mlflow ui --backend-store-uri``).

    Raises:
        BadInput: the folder's name holds a character that a database address cannot.
    """
    return _uri(folder.resolve() / DATABASE_FILE)


def _uri(path: Path) -> str:
    if any(character in str(path) for character in "?#%"):
        raise BadInput(
            f"The folder {path.parent} cannot hold a model registry.",
            cause="Its path has a '?', '#' or '%', which mean something else in a database address.",
            remedy="Use a workspace whose path has none of them.",
        )
    return f"sqlite:///{path}"


def lock(folder: Path) -> FileLock:
    """The lock under which the registry is made and written; freed by the system when its holder dies."""
    return FileLock(folder / ".registry.lock", timeout=_LOCK_SECONDS)


def ensure_store(folder: Path, server_address: str | None = None) -> str:
    """Make MLflow's database if there is none; return its address.

    MLflow builds its tables by some fifty migrations (about two seconds). They run on a file under another name that is
    moved into place when complete, so a process killed half-way leaves no half-migrated database behind.

    Args:
        folder: of the registry; artefacts lie there wherever the database is.
        server_address: ``postgresql://…`` of a database of MLflow's own; MLflow makes its tables when it opens it.

    Raises:
        BadInput: see :func:`database_uri`; or ``server_address`` is of another kind.
        Busy: another process has been making it for two minutes.
    """
    if server_address is not None:
        return _on_server(folder, server_address)
    address = database_uri(folder)
    final = folder.resolve() / DATABASE_FILE
    if final.exists():
        return address
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock(folder):
            if not final.exists():
                _create(final)
    except Timeout:
        raise busy(folder) from None
    return address


def _on_server(folder: Path, address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if scheme not in ("postgresql", f"postgresql+{_DRIVER}") or not separator:
        raise BadInput(
            f"The model registry does not know databases of the kind {scheme.partition(':')[0]!r}.",
            remedy="Give postgresql://user:password@host:port/database in TAILSIGHT_MLFLOW_DATABASE_URL.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    return f"postgresql+{_DRIVER}://{rest}"


def busy(folder: Path) -> Busy:
    """The error for a registry that somebody else keeps locked."""
    return Busy(
        f"The model registry in {folder} is held by another process.",
        remedy="Wait for the other command to end, then run this one again.",
    )


def _create(final: Path) -> None:
    load_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    remove_unfinished(final.parent)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=UNFINISHED) as scratch:
        unfinished = Path(scratch) / DATABASE_FILE
        store = SqlAlchemyStore(_uri(unfinished), (final.parent / ARTIFACTS_FOLDER).as_uri())
        store.engine.dispose()
        unfinished.replace(final)
