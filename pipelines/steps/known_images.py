"""Scored files become images that the ledger knows, without a label, so that what people say of them can be learned."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.roots import registered_roots
from data_contracts.progress import Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.steps.ingest_discovery import Discovery, FoundFile
from pipelines.steps.ingest_files import take_files
from pipelines.steps.near_duplicates import find_near_duplicates


@dataclass(frozen=True)
class MadeKnown:
    """``added`` images are new to the ledger; ``gone`` are files that are not there any more."""

    added: int
    gone: tuple[str, ...]


def make_known(
    workspace: Workspace,
    ledger: Ledger,
    files: Sequence[str],
    *,
    batch: str,
    copy_files: bool,
    progress: Progress,
) -> MadeKnown:
    """Take scored files in as images without labels; folders do not label here, whatever they are called.

    A file under a registered root belongs to that root; other files get the folder that they have in common. Files that
    the ledger knows as they are now are not read again.

    Args:
        workspace: whose profile limits the size of images.
        ledger: where.
        files: absolute paths, as score rows have them.
        batch: name of the delivery.
        copy_files: take custody, for files that will be moved or deleted.
        progress: told of each file.
    """
    max_megapixels = workspace.profile.input.max_megapixels
    by_root, gone = _by_root(files, registered_roots(ledger).values())
    added = 0
    for root, paths in by_root.items():
        found = Discovery(root)
        for path in paths:
            try:
                status = path.stat()
            except OSError:
                gone.append(str(path))
                continue
            relative = path.relative_to(root).as_posix()
            found.files[relative] = FoundFile(relative, status.st_size, status.st_mtime_ns)
        taken = take_files(
            workspace,
            ledger,
            found,
            {},
            batch=batch,
            copy_files=copy_files,
            max_megapixels=max_megapixels,
            processes=read_settings().processes,
            progress=progress,
        )
        added += len(taken.new)
    if added:
        # what looks the same must not end up on both sides of a split
        find_near_duplicates(workspace, ledger, max_megapixels=max_megapixels, progress=progress)
    return MadeKnown(added, tuple(gone))


def _by_root(files: Iterable[str], roots: Iterable[Path]) -> tuple[dict[Path, list[Path]], list[str]]:
    """Files by the folder that they are recorded under, and those whose folder is gone."""
    known = sorted((root for root in roots if root.is_dir()), key=lambda root: -len(root.parts))
    grouped: dict[Path, list[Path]] = defaultdict(list)
    homeless: list[Path] = []
    gone: list[str] = []
    for text in files:
        path = Path(text)
        if not path.parent.is_dir():
            gone.append(text)
            continue
        resolved = path.parent.resolve() / path.name
        root = next((root for root in known if resolved.is_relative_to(root)), None)
        if root is None:
            homeless.append(resolved)
        else:
            grouped[root].append(resolved)
    if homeless:
        common = Path(os.path.commonpath([path.parent for path in homeless]))
        grouped[common] = [*grouped.get(common, []), *homeless]
    return dict(grouped), gone
