"""Folders of model files: copied whole or not at all, and known by their content."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

UNFINISHED = ".new-"
"""How the name of a folder under construction begins."""

_CHUNK = 1 << 20


def digest(path: Path) -> str:
    """sha256 over the relative names and bytes of all files of a folder (or of one file), in name order."""
    whole = hashlib.sha256()
    members = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    for item in members:
        name = item.name if item == path else item.relative_to(path).as_posix()
        content = hashlib.sha256()
        with item.open("rb") as file:
            while chunk := file.read(_CHUNK):
                content.update(chunk)
        whole.update(f"{name}\0{content.hexdigest()}\n".encode())
    return whole.hexdigest()


def copy_whole(source: Path, target: Path) -> str:
    """Copy a file or folder so that ``target`` is either complete or as it was; return its :func:`digest`.

    A target that already holds the same content is left alone. What a killed copy left beside the target is removed, so
    callers hold the registry's lock.
    """
    wanted = digest(source)
    if target.exists() and digest(target) == wanted:
        return wanted
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=UNFINISHED) as scratch:
        fresh = Path(scratch) / target.name
        if source.is_dir():
            shutil.copytree(source, fresh)
        else:
            shutil.copy2(source, fresh)
        if target.exists():
            target.replace(Path(scratch) / "replaced")
        fresh.replace(target)
    return wanted


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left under construction in ``folder``."""
    for left in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
