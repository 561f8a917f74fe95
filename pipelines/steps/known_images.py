"""Scored files become images that the ledger knows, without a label, so that what people say of them can be learned."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.roots import registered_roots
from data_contracts.object_storage import READS_AT_ONCE, ObjectAddress, Place, place_of
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
        files: absolute paths or addresses, as score rows have them.
        batch: name of the delivery.
        copy_files: take custody, for files that will be moved or deleted.
        progress: told of each file.
    """
    max_megapixels = workspace.profile.input.max_megapixels
    by_root, gone = _by_root([place_of(file) for file in files], registered_roots(ledger).values())
    added = 0
    for root, places in by_root.items():
        found = Discovery(root)
        for place, file in zip(places, _found(root, places), strict=True):
            if file is None:
                gone.append(str(place))
            else:
                found.files[file.path] = file
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


def _found(root: Place, places: Sequence[Place]) -> list[FoundFile | None]:
    """Size and time of change of each, now; None where it is gone. Storage is asked about several at once."""
    if isinstance(root, Path):
        return [_on_disk(root, Path(str(place))) for place in places]
    with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="ask") as pool:
        return list(pool.map(lambda place: _in_storage(root, place), places))


def _on_disk(root: Path, path: Path) -> FoundFile | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return FoundFile(path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns)


def _in_storage(root: ObjectAddress, place: Place) -> FoundFile | None:
    relative = place.below(root) if isinstance(place, ObjectAddress) else None
    if relative is None or not isinstance(place, ObjectAddress):
        return None
    try:
        facts = place.facts()
    except OSError:
        return None
    return FoundFile(relative, facts.size_bytes, facts.modified_ns)


def _by_root(files: Iterable[Place], roots: Iterable[Place]) -> tuple[dict[Place, list[Place]], list[str]]:
    """Files by the folder or prefix that they are recorded under, and those whose folder is gone."""
    roots = list(roots)
    folders = sorted(
        (root for root in roots if isinstance(root, Path) and root.is_dir()), key=lambda root: -len(root.parts)
    )
    prefixes = sorted((root for root in roots if isinstance(root, ObjectAddress)), key=lambda root: -len(root.key))
    grouped: dict[Place, list[Place]] = defaultdict(list)
    homeless: list[Path] = []
    homeless_objects: dict[str, list[ObjectAddress]] = defaultdict(list)
    gone: list[str] = []
    for place in files:
        if isinstance(place, ObjectAddress):
            prefix = next((prefix for prefix in prefixes if place.below(prefix) is not None), None)
            (homeless_objects[place.bucket] if prefix is None else grouped[prefix]).append(place)
            continue
        if not place.parent.is_dir():
            gone.append(str(place))
            continue
        resolved = place.parent.resolve() / place.name
        root = next((root for root in folders if resolved.is_relative_to(root)), None)
        if root is None:
            homeless.append(resolved)
        else:
            grouped[root].append(resolved)
    if homeless:
        common = Path(os.path.commonpath([path.parent for path in homeless]))
        grouped[common] = [*grouped.get(common, []), *homeless]
    for bucket, objects in homeless_objects.items():
        prefix = ObjectAddress(bucket, os.path.commonpath([f"/{one.parent.key}" for one in objects]).strip("/"))
        grouped[prefix] = [*grouped.get(prefix, []), *objects]
    return dict(grouped), gone
