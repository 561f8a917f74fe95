"""The secret that keys the hash chains: outside the database, made once, never replaced silently."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import Connection, func, insert, select, update

from data_contracts.errors import IntegrityError
from data_contracts.ledger.tables import CHAIN_HEAD, LEDGER_META
from data_contracts.settings import Settings
from data_contracts.workspace import Workspace, write_atomically

_FINGERPRINT = "key_fingerprint"
_SHORTEST = 16


def unlock(connection: Connection, workspace: Workspace, settings: Settings | None) -> bytes:
    """The key of this ledger; a ledger without any entry gets a new one.

    Args:
        connection: inside a transaction that may write.
        workspace: whose ``ledger.key`` holds the key, unless ``settings.ledger_key`` does.
        settings: may carry the key (deployments that keep secrets elsewhere).

    Raises:
        IntegrityError: the key is missing, damaged, or not the one that the ledger's entries were written with.
    """
    entries = connection.execute(select(func.coalesce(func.sum(CHAIN_HEAD.c.sequence), 0))).scalar_one()
    known = connection.execute(select(LEDGER_META.c.value).where(LEDGER_META.c.name == _FINGERPRINT)).scalar()
    key = _given_key(workspace, settings)
    if key is None:
        if entries:
            raise IntegrityError(
                f"The ledger has {entries} entries, but its key file {workspace.ledger_key_path} is missing.",
                cause="The key was deleted, or the database was copied without it.",
                remedy="Put the key file back from your backup (or set TAILSIGHT_LEDGER_KEY). "
                "Without it nobody can tell whether the entries were changed.",
            )
        key = secrets.token_hex(32).encode()
        write_atomically(workspace.ledger_key_path, key + b"\n")  # a temporary file of mode 0600, then renamed
    fingerprint = hmac.new(key, b"tailsight ledger key", hashlib.sha256).hexdigest()
    if known is None:
        connection.execute(insert(LEDGER_META).values(name=_FINGERPRINT, value=fingerprint))
    elif not hmac.compare_digest(known, fingerprint):
        if entries:
            raise IntegrityError(
                f"The key does not belong to this ledger (its {entries} entries were written with another one).",
                cause="The key file or TAILSIGHT_LEDGER_KEY comes from another workspace, or was made anew.",
                remedy="Put the original key back from your backup.",
            )
        connection.execute(update(LEDGER_META).where(LEDGER_META.c.name == _FINGERPRINT).values(value=fingerprint))
    return key


def known_key(connection: Connection, workspace: Workspace, settings: Settings | None) -> bytes | None:
    """The key if it is at hand and proven to be this ledger's; ``None`` sends the caller to :func:`unlock`."""
    key = _given_key(workspace, settings)
    if key is None:
        return None
    known = connection.execute(select(LEDGER_META.c.value).where(LEDGER_META.c.name == _FINGERPRINT)).scalar()
    fingerprint = hmac.new(key, b"tailsight ledger key", hashlib.sha256).hexdigest()
    return key if known is not None and hmac.compare_digest(known, fingerprint) else None


def _given_key(workspace: Workspace, settings: Settings | None) -> bytes | None:
    if settings is not None and settings.ledger_key is not None:
        key, origin = settings.ledger_key.encode(), "TAILSIGHT_LEDGER_KEY"
    else:
        try:
            key, origin = workspace.ledger_key_path.read_bytes().strip(), str(workspace.ledger_key_path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IntegrityError(
                f"The ledger's key {workspace.ledger_key_path} cannot be read ({error.strerror}).",
                remedy="Give your account the right to read it.",
            ) from None
    if len(key) < _SHORTEST:
        raise IntegrityError(
            f"The ledger's key in {origin} is damaged ({len(key)} bytes; at least {_SHORTEST} are needed).",
            remedy="Put the original key back from your backup.",
        )
    return key
