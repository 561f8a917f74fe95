"""Room on the disk: asked for before long work begins, taken before it is written to, and said plainly when it ends."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from data_contracts.errors import NoSpace

NEEDED_MB = 50
"""With less, a run cannot even write down how it ended."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_DATABASE = "database or disk is full"
_FAILED_WRITE = "disk I/O error"  # of SQLite: a full disk or a failing one


def require_space(folder: Path) -> None:
    """Refuse to begin where there is next to no room.

    Raises:
        NoSpace: less than :data:`NEEDED_MB` are free.
    """
    if _free_mb(folder) < NEEDED_MB:
        raise no_space(folder)


def reserve(file: BinaryIO, size: int) -> None:
    """Make a file at least ``size`` bytes long, with room on the disk for each of them.

    A file that is written through memory must be made so: where the disk turns out to be full, the system kills the
    process that writes.

    Raises:
        OSError: the disk is full (ENOSPC).
    """
    if size <= 0:
        return
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    elif os.fstat(file.fileno()).st_size < size:
        file.truncate(size)


def space_error(error: BaseException, folder: Path) -> NoSpace | None:
    """What to tell a person if an error, or what led to it, is a full disk."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, NoSpace):
            return cause
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return no_space(folder, cause.filename)
        said = str(cause)
        if _FULL_DATABASE in said or (_FAILED_WRITE in said and _free_mb(folder) < NEEDED_MB):
            return no_space(folder)
        cause = cause.__cause__ or cause.__context__
    return None


def no_space(folder: Path, file: object = None) -> NoSpace:
    """The error of a full disk; ``file`` is what could not be written."""
    what = f"{file} could not be written: the" if file else "The"
    return NoSpace(
        f"{what} disk of {_existing(folder)} is full ({_free_mb(folder):,.0f} MB free).",
        cause="What was done before is kept.",
        remedy="Free some room (`tailsight doctor` says how much is wanted), then run the same command again: it goes "
        "on where it stopped.",
    )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _free_mb(folder: Path) -> float:
    return shutil.disk_usage(_existing(folder)).free / 2**20
