"""What the tables of the ledger are made of: their common metadata, and the kinds of columns that recur."""

from __future__ import annotations

from sqlalchemy import MetaData, String

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = String(80)
INSTANT = String(32)
HASH = String(64)
NAME = String(255)
