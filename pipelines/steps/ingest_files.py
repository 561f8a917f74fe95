"""Files into the ledger: read what is new or changed, chunk by chunk, one transaction each."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import add_images, images_frame, occurrences_frame, repoint_images
from data_contracts.ledger.quarantine import quarantine_frame, record_quarantine, release
from data_contracts.ledger.roots import register_root, registered_roots
from data_contracts.object_storage import Place
from data_contracts.progress import Progress
from data_contracts.records import ImageRecord, Occurrence, QuarantinedFile
from data_contracts.workspace import Workspace
from pipelines.steps.ingest_discovery import Discovery
from pipelines.steps.ingest_reading import ReadFile, ReadOrder, read_files
from pipelines.steps.ingest_statements import Statement, Statements

_FILES_PER_TRANSACTION = 500

SaidOfFiles = Mapping[str, Sequence[Statement]]


@dataclass
class Taken:
    """Which images the files hold, which of them are new, what was set aside.

    ``other_places`` are files with the bytes of an image here that were ingested before and are not offered now.
    """

    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    set_aside: list[QuarantinedFile] = field(default_factory=list)
    other_places: dict[str, list[Place]] = field(default_factory=dict)

    @property
    def image_ids(self) -> set[str]:
        """Distinct images of the files."""
        return {image for images in self.images.values() for image in images}

    @property
    def occurrences(self) -> int:
        """Images of all files, copies counted each time."""
        return sum(len(images) for images in self.images.values())

    def statements_by_image(self, said: Statements) -> dict[str, list[Statement]]:
        """What is said of each image, through all its files."""
        grouped: dict[str, list[Statement]] = defaultdict(list)
        for statement in said.statements:
            for image in self.images.get(statement.path, ()):
                grouped[image].append(statement)
        return dict(grouped)


def take_files(
    workspace: Workspace,
    ledger: Ledger,
    found: Discovery,
    said: SaidOfFiles,
    *,
    batch: str,
    copy_files: bool,
    max_megapixels: float,
    processes: int,
    progress: Progress,
) -> Taken:
    """Read the files that the ledger does not know as they are now, and record their images, occurrences and troubles.

    A file whose size and modification time are unchanged is not read again, unless custody of it is still to be taken.
    """
    root_id = register_root(ledger, found.root)
    before = images_frame(ledger)
    uris = dict(zip(before["image_id"], before["uri"], strict=True))
    occurrences = occurrences_frame(ledger)
    unchanged = _unchanged(occurrences[occurrences["root_id"] == root_id], found)
    custody_root = None
    if copy_files:
        workspace.custody.mkdir(exist_ok=True)
        custody_root = register_root(ledger, workspace.custody)
        unchanged = {
            path: images
            for path, images in unchanged.items()
            if all(_in_custody(uris[image], custody_root, workspace.custody) for image in images)
        }
    taken = Taken(images=dict(unchanged))
    orders = [
        ReadOrder(
            str(found.root),
            path,
            max_megapixels,
            str(workspace.custody) if copy_files else None,
            file.size_bytes,
            file.modified_ns,
        )
        for path, file in found.files.items()
        if path not in unchanged
    ]
    recorder = _Recorder(ledger, root_id, custody_root, uris, said, batch, taken)
    with progress.step("Reading images", len(found.files)) as step:
        step.advance(len(unchanged), f"{len(unchanged):,} unchanged" if unchanged else None)
        waiting: list[ReadFile] = []
        for result in read_files(orders, processes):
            step.advance()
            waiting.append(result)
            if len(waiting) >= _FILES_PER_TRANSACTION:
                recorder.record(waiting)
                waiting = []
        recorder.record(waiting)
    _record_set_aside(ledger, root_id, found, taken, batch)
    taken.other_places = _other_places(ledger, occurrences, root_id, taken)
    return taken


class _Recorder:
    """Writes chunks of what was read; knows which images are new."""

    def __init__(
        self,
        ledger: Ledger,
        root_id: str,
        custody_root: str | None,
        uris: dict[str, str],
        said: SaidOfFiles,
        batch: str,
        taken: Taken,
    ) -> None:
        self._ledger = ledger
        self._root_id = root_id
        self._custody_root = custody_root
        self._uris = uris
        self._said = said
        self._batch = batch
        self._taken = taken
        self._roots = registered_roots(ledger)

    def record(self, results: Sequence[ReadFile]) -> None:
        """One transaction for the images and occurrences of a chunk."""
        images: list[ImageRecord] = []
        occurrences: list[Occurrence] = []
        moved: dict[str, str] = {}
        for result in results:
            if result.kind is not None:
                aside = QuarantinedFile(path=result.path, kind=result.kind, reason=result.reason)
                self._taken.set_aside.append(aside)
                continue
            statements = self._said.get(result.path, ())
            ids = {name: value for statement in statements for name, value in statement.ids.items()}
            self._taken.images[result.path] = tuple(image.image_id for image in result.images)
            for image in result.images:
                uri = self._uri(result, image.frame)
                if image.image_id not in self._uris:
                    self._taken.new.add(image.image_id)
                    self._uris[image.image_id] = uri
                    images.append(
                        ImageRecord(
                            image_id=image.image_id,
                            uri=uri,
                            width=image.width,
                            height=image.height,
                            mode=image.mode,
                            bit_depth=image.bit_depth,
                            format=image.format,
                            size_bytes=result.size_bytes,
                            perceptual_hash=image.perceptual_hash,
                            brightness=image.brightness,
                            group=next((s.group for s in statements if s.group), None),
                            given_split=next((s.split for s in statements if s.split), None),
                        )
                    )
                elif self._uris[image.image_id] != uri and (
                    result.kept_as is not None or self._is_gone(image.image_id)
                ):
                    self._uris[image.image_id] = moved[image.image_id] = uri
                occurrences.append(
                    Occurrence(
                        image_id=image.image_id,
                        root_id=self._root_id,
                        path=result.path,
                        size_bytes=result.size_bytes,
                        modified_ns=result.modified_ns,
                        external_ids=ids,
                    )
                )
        if occurrences:
            add_images(self._ledger, images, occurrences, self._batch)
        if moved:
            repoint_images(self._ledger, moved)

    def _is_gone(self, image_id: str) -> bool:
        """Whether the file that a known image is read from was moved away; then this one takes its place."""
        root, _, relative = self._uris[image_id].partition("/")
        path = relative.rpartition("#")[0] if "#" in image_id else relative
        return not (self._roots[root] / path).is_file()

    def _uri(self, result: ReadFile, frame: int | None) -> str:
        fragment = "" if frame is None else f"#{frame}"
        if result.kept_as is not None:
            return f"{self._custody_root}/{result.kept_as}{fragment}"
        return f"{self._root_id}/{result.path}{fragment}"


def _unchanged(occurrences: pd.DataFrame, found: Discovery) -> dict[str, tuple[str, ...]]:
    """Images of the files that have the size and modification time that the ledger remembers."""
    same: dict[str, list[str]] = defaultdict(list)
    columns = (occurrences[name].to_list() for name in ("path", "image_id", "size_bytes", "modified_ns"))
    for path, image_id, size, modified in zip(*columns, strict=True):
        file = found.files.get(path)
        if file is not None and file.size_bytes == size and file.modified_ns == modified:
            same[path].append(image_id)
    return {path: tuple(images) for path, images in same.items()}


def _in_custody(uri: str, custody_root: str, folder: Path) -> bool:
    root, _, relative = uri.partition("/")
    return root == custody_root and os.path.isfile(folder / relative.partition("#")[0])  # noqa: PTH113 - every file


def _record_set_aside(ledger: Ledger, root_id: str, found: Discovery, taken: Taken, batch: str) -> None:
    taken.set_aside = sorted([*found.set_aside.values(), *taken.set_aside], key=lambda item: item.path)
    record_quarantine(ledger, root_id, taken.set_aside, batch)
    held = quarantine_frame(ledger)
    held = held[held["root_id"] == root_id]
    release(ledger, root_id, [path for path in held["path"] if path in taken.images])


def _other_places(ledger: Ledger, occurrences: pd.DataFrame, root_id: str, taken: Taken) -> dict[str, list[Place]]:
    """Earlier files with the same bytes as images here, as far as they are not offered now."""
    places: dict[str, list[Place]] = defaultdict(list)
    roots = registered_roots(ledger)
    here = taken.image_ids
    columns = (occurrences[name].to_list() for name in ("image_id", "root_id", "path"))
    for image_id, root, path in zip(*columns, strict=True):
        if image_id in here and not (root == root_id and path in taken.images):
            places[image_id].append(roots[root] / path)
    return dict(places)
