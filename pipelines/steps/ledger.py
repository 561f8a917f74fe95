"""The ledger of a workspace as the environment says where it is: in the workspace, or at a database URL."""

from __future__ import annotations

from data_contracts.ledger.connect import Ledger
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace


def open_ledger(workspace: Workspace) -> Ledger:
    """Open the ledger, with the database URL and the key of the environment where it names them."""
    return Ledger.open(workspace, read_settings())
