"""Registered roots: the folders, or prefixes on S3-compatible storage, under which image files lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import insert, select

from data_contracts.errors import NotFound
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, now
from data_contracts.ledger.tables import ROOT
from data_contracts.object_storage import ObjectAddress, Place, place_of


def root_id_of(folder: Place) -> str:
    """First 12 hexadecimal digits of the sha256 of the folder's resolved path, or of the address."""
    return hashlib.sha256(_written(folder).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def register_root(ledger: Ledger, folder: Place) -> str:
    """Register a folder or an address and return its root id; registering it again changes nothing.

    Raises:
        NotFound: the folder does not exist.
    """
    if isinstance(folder, Path) and not folder.is_dir():
        raise NotFound(f"{folder} is not a folder.", remedy="Check the path.")
    root_id = root_id_of(folder)
    with ledger.reading() as connection:
        if connection.execute(select(ROOT.c.root_id).where(ROOT.c.root_id == root_id)).first() is not None:
            return root_id
    with ledger.writing() as connection:
        if connection.execute(select(ROOT.c.root_id).where(ROOT.c.root_id == root_id)).first() is None:
            connection.execute(
                insert(ROOT).values(root_id=root_id, folder=_written(folder), registered_at=as_text(now()))
            )
    return root_id


def registered_roots(ledger: Ledger) -> dict[str, Place]:
    """Folder or address of every registered root, by root id."""
    with ledger.reading() as connection:
        rows = connection.execute(select(ROOT.c.root_id, ROOT.c.folder).order_by(ROOT.c.registered_at)).all()
    return {row.root_id: place_of(row.folder) for row in rows}


def _written(folder: Place) -> str:
    return str(folder) if isinstance(folder, ObjectAddress) else str(folder.resolve())
