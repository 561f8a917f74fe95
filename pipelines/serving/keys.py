"""API keys: kept and compared as hashes, in constant time, and never written down by the server."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from data_contracts.errors import BadInput

SHORTEST = 20
"""Characters of a key that a person may choose; ours have 43."""

_HASHED = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Keys:
    """The hashes of the keys that open the server; empty: nobody is asked.

    A key is long and random, so its SHA-256 cannot be tried out, and needs no salt.
    """

    digests: tuple[bytes, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.digests)

    def open_for(self, given: str | None) -> bool:
        """Whether a key is one of ours; takes as long whether and wherever it matches."""
        digest = _digest(given or "")
        matches = [hmac.compare_digest(digest, known) for known in self.digests]
        return given is not None and any(matches)


def read_keys(variable: str | None, file: Path | None) -> Keys:
    """The keys of the environment (separated by commas) and of a file (one a line, optionally behind a name).

    Args:
        variable: what ``TAILSIGHT_SERVE_KEYS`` holds.
        file: readable by its owner alone; ``#`` begins a comment. An entry is a key or, better, ``sha256:`` and the
            64 hexadecimal digits of its hash.

    Raises:
        BadInput: the file is not there or others may read it, or an entry is too short to be safe.
    """
    digests = [_read(entry, "TAILSIGHT_SERVE_KEYS") for entry in (variable or "").split(",") if entry.strip()]
    if file is not None:
        for number, line in enumerate(_private_text(file).splitlines(), start=1):
            words = line.partition("#")[0].split()
            if words:
                digests.append(_read(words[-1], f"{file}, line {number}"))
        if not digests:
            raise BadInput(
                f"There is no key in {file}.", remedy=f"Make one: `tailsight serve --new-key NAME --keys-file {file}`."
            )
    return Keys(tuple(digests))


def add_key(file: Path, name: str) -> str:
    """Make a key, append its hash to a file that its owner alone may read, and hand the key out, this once.

    Raises:
        BadInput: the name is no name, or the file cannot be written or is readable by others.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name for a key.", remedy="Use up to 64 letters, digits, '.', '_' or '-'.")
    key = secrets.token_urlsafe(32)
    try:
        if file.exists():
            _require_private(file, file.stat().st_mode)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(f"{name} sha256:{_digest(key).hex()}\n")
    except OSError as error:
        raise BadInput(f"The key file {file} cannot be written ({error.strerror}).") from None
    return key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _read(entry: str, place: str) -> bytes:
    entry = entry.strip()
    if hashed := _HASHED.fullmatch(entry):
        return bytes.fromhex(hashed.group(1))
    if entry.startswith("sha256:") or len(entry) < SHORTEST:
        raise BadInput(  # what stands there may be a key, so it is not repeated
            f"An entry of {place} is neither a key of {SHORTEST} characters or more nor 'sha256:' and 64 digits.",
            remedy="Make one with `tailsight serve --new-key NAME --keys-file FILE`.",
        )
    return _digest(entry)


def _private_text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            _require_private(file, os.fstat(opened.fileno()).st_mode)
            return opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The key file {file} cannot be read ({type(error).__name__}).") from None


def _require_private(file: Path, mode: int) -> None:
    if mode & _OTHERS:
        raise BadInput(
            f"Others may read or change the key file {file}.", remedy=f"Run `chmod 600 {file}`, then start again."
        )
