"""Files that were set aside at ingest, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from sqlalchemy import Connection, bindparam, delete, insert, select

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, now
from data_contracts.ledger.tables import QUARANTINE
from data_contracts.records import QuarantinedFile


def record_quarantine(ledger: Ledger, root_id: str, files: Sequence[QuarantinedFile], batch: str) -> None:
    """Keep files in quarantine; a file that was there already gets the new reason."""
    given = {file.path: file for file in files}
    if not given:
        return
    at = as_text(now())
    with ledger.writing() as connection:
        _remove(connection, root_id, given)
        connection.execute(
            insert(QUARANTINE),
            [{**file.model_dump(mode="json"), "root_id": root_id, "batch": batch, "at": at} for file in given.values()],
        )


def release(ledger: Ledger, root_id: str, paths: Iterable[str]) -> None:
    """Take files that are fine now (or gone) out of quarantine; paths that are not in it are passed over."""
    listed = list(paths)
    if listed:
        with ledger.writing() as connection:
            _remove(connection, root_id, listed)


def quarantine_frame(ledger: Ledger) -> pd.DataFrame:
    """Files in quarantine: ``root_id, path, kind, reason, batch, at`` (UTC), by root and path."""
    columns = ["root_id", "path", "kind", "reason", "batch", "at"]
    query = select(*(QUARANTINE.c[name] for name in columns)).order_by(QUARANTINE.c.root_id, QUARANTINE.c.path)
    with ledger.reading() as connection:
        frame = pd.DataFrame(connection.execute(query).all(), columns=columns, dtype=object)
    return frame.assign(at=pd.to_datetime(frame["at"], format="ISO8601", utc=True).astype("datetime64[ns, UTC]"))


def _remove(connection: Connection, root_id: str, paths: Iterable[str]) -> None:
    place = (QUARANTINE.c.root_id == bindparam("of_root")) & (QUARANTINE.c.path == bindparam("at_path"))
    connection.execute(delete(QUARANTINE).where(place), [{"of_root": root_id, "at_path": path} for path in paths])
