"""Registered roots: the folders under which image files lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import insert, select

from data_contracts.errors import NotFound
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, now
from data_contracts.ledger.tables import ROOT


def root_id_of(folder: Path) -> str:
    """First 12 hexadecimal digits of the sha256 of the folder's resolved path."""
    return hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def register_root(ledger: Ledger, folder: Path) -> str:
    """Register a folder and return its root id; registering it again changes nothing.

    Raises:
        NotFound: the folder does not exist.
    """
    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder.", remedy="Check the path.")
    root_id = root_id_of(folder)
    with ledger.reading() as connection:
        if connection.execute(select(ROOT.c.root_id).where(ROOT.c.root_id == root_id)).first() is not None:
            return root_id
    with ledger.writing() as connection:
        if connection.execute(select(ROOT.c.root_id).where(ROOT.c.root_id == root_id)).first() is None:
            connection.execute(
                insert(ROOT).values(root_id=root_id, folder=str(folder.resolve()), registered_at=as_text(now()))
            )
    return root_id


def registered_roots(ledger: Ledger) -> dict[str, Path]:
    """Folder of every registered root, by root id."""
    with ledger.reading() as connection:
        rows = connection.execute(select(ROOT.c.root_id, ROOT.c.folder).order_by(ROOT.c.registered_at)).all()
    return {row.root_id: Path(row.folder) for row in rows}
