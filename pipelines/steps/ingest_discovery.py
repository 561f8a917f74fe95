"""Which files a folder, a glob or a single path offers: regular image files, and what was set aside unread.

Never follows a link out of the folder, never opens a pipe, and leaves hidden and system files alone.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from data_contracts.errors import BadInput, NotFound
from data_contracts.image_formats import EXTENSIONS, UNSUPPORTED_EXTENSIONS
from data_contracts.label_rules import printable
from data_contracts.object_storage import ObjectAddress, Place
from data_contracts.records import QuarantinedFile
from data_contracts.vocabulary import QuarantineKind

SYSTEM_NAMES = {
    "thumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "__pycache__",
}
GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class FoundFile:
    """A regular file. ``path`` is relative to the folder, with slashes; size in bytes, modification time in ns."""

    path: str
    size_bytes: int
    modified_ns: int


@dataclass
class Discovery:
    """What a folder offers: files to read, what was set aside, and how many files of which other kinds there are."""

    root: Place
    files: dict[str, FoundFile] = field(default_factory=dict)
    set_aside: dict[str, QuarantinedFile] = field(default_factory=dict)
    other_kinds: dict[str, int] = field(default_factory=dict)
    passed_over: dict[str, FoundFile] = field(default_factory=dict)
    """Of remote storage: what was listed beside the files, so that a labels CSV may name it without a new question."""

    def add(self, file: FoundFile) -> None:
        """A file to read."""
        self.files[file.path] = file

    def add_aside(self, relative: str, kind: QuarantineKind, reason: str) -> None:
        """Something that is not read; its name is kept as it can be shown."""
        shown = relative.encode("utf-8", "backslashreplace").decode("utf-8")
        self.set_aside[relative] = QuarantinedFile(path=shown, kind=kind, reason=reason)

    def add_other(self, extension: str) -> None:
        """A file of another kind."""
        kind_of_file = extension or "no extension"
        self.other_kinds[kind_of_file] = self.other_kinds.get(kind_of_file, 0) + 1

    def pass_over(self, file: FoundFile) -> None:
        """A remote object that is no image by its name."""
        self.passed_over[file.path] = file

    @property
    def nothing(self) -> bool:
        """Whether there was nothing at all."""
        return not (self.files or self.set_aside or self.passed_over or self.other_kinds)

    @property
    def folder(self) -> Path:
        """The root, for work that needs a folder on disk.

        Raises:
            BadInput: it is an address.
        """
        if isinstance(self.root, ObjectAddress):
            raise BadInput(f"{self.root} is no folder on disk, and this needs one.", remedy="Copy the images to disk.")
        return self.root


Found = TypeVar("Found", bound=Discovery)


def discover(images: Place, *, ignore: Iterable[Path] = ()) -> Discovery:
    """Look through a folder, a glob (``**`` crosses folders) or at one file, on disk or on S3-compatible storage.

    Args:
        images: a folder, a glob such as ``line3/*.png``, or an image file; or the address of a prefix or an object.
        ignore: folders and files that are not looked at (the workspace's own).

    Raises:
        NotFound: there is nothing under this path.
        BadInput: it is neither a folder, a file nor a glob.
    """
    return discover_into(Discovery, images, ignore=ignore, in_order=True)


def discover_into(
    kind: Callable[[Place], Found], images: Place, *, ignore: Iterable[Path] = (), in_order: bool
) -> Found:
    """:func:`discover` into any kind of :class:`Discovery`.

    Args:
        kind: makes one for a root.
        images: see :func:`discover`.
        ignore: see :func:`discover`.
        in_order: files come sorted, folder by folder; without it no folder's names are held in memory.
    """
    if isinstance(images, ObjectAddress):
        from pipelines.steps.ingest_objects import discover_objects

        return discover_objects(kind, images)
    root, pattern = _root_and_pattern(images)
    found = kind(root)
    skipped = {str(path.resolve()) for path in ignore}
    for entry, relative in _walk(str(root), "", skipped, found, in_order):
        if pattern is None or pattern.fullmatch(relative):
            _take(entry, relative, found)
    return found


def take_named(found: Discovery, relative: str) -> bool:
    """Add a file that a labels CSV names although its name alone would not mark it as an image.

    Returns whether there is such a file (it may have been set aside).
    """
    if relative in found.files or relative in found.set_aside:
        return True
    if isinstance(found.root, ObjectAddress):
        if relative in found.passed_over:
            found.files[relative] = found.passed_over[relative]
        return relative in found.files
    path = found.root / relative
    if not os.path.lexists(path):
        return False
    if path.parent.resolve() != path.parent:
        found.add_aside(relative, QuarantineKind.OUTSIDE_FOLDER, "A link to a folder lies on the way to it.")
        return True
    _take(path, relative, found, named=True)
    return True


def _root_and_pattern(images: Path) -> tuple[Path, re.Pattern[str] | None]:
    text = str(images)
    try:
        if images.is_dir():
            return images.resolve(), None
        if images.exists():
            if not images.is_file():
                raise BadInput(f"{images} is neither a folder nor a file.")
            return images.resolve().parent, re.compile(re.escape(images.name))
    except OSError as error:
        raise BadInput(f"{images} cannot be read ({error.strerror}).") from None
    if not GLOB.search(text):
        raise NotFound(f"There is no folder {printable(text)}.", remedy="Check the path of the images.")
    parts = images.parts
    first = next(i for i, part in enumerate(parts) if GLOB.search(part))
    root = Path(*parts[:first]) if first else Path()
    if not root.is_dir():
        raise NotFound(f"There is no folder {root}, where {printable(text)} begins.")
    return root.resolve(), translate(parts[first:])


def translate(parts: Sequence[str]) -> re.Pattern[str]:
    """A glob's parts as a regular expression over relative paths; ``*`` stays within a folder."""
    pieces = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            pieces.append(".*" if last else "(?:[^/]+/)*")
            continue
        out, i = "", 0
        while i < len(part):
            character = part[i]
            closing = part.find("]", i + 2) if character == "[" else -1
            if character in "*?":
                out += "[^/]*" if character == "*" else "[^/]"
            elif closing > 0:
                inside = part[i + 1 : closing].replace("\\", r"\\")
                out += f"[{'^' + inside[1:] if inside[0] == '!' else inside}]"
                i = closing
            else:
                out += re.escape(character)
            i += 1
        pieces.append(out if last else out + "/")
    return re.compile("".join(pieces), re.DOTALL)


def _walk(
    folder: str, prefix: str, skipped: set[str], found: Discovery, in_order: bool
) -> Iterator[tuple[os.DirEntry[str], str]]:
    """All entries but folders, hidden and system ones left out; links are yielded, never followed."""
    for entry in _entries(folder, prefix, found, in_order):
        if entry.name.startswith(".") or entry.name.casefold() in SYSTEM_NAMES:
            continue
        if entry.path in skipped:
            continue
        relative = f"{prefix}/{entry.name}" if prefix else entry.name
        if entry.is_dir(follow_symlinks=False):
            if _extension(entry.name) in EXTENSIONS:
                reason = "It is a folder that is named like an image; what is in it is looked at as usual."
                found.add_aside(relative, QuarantineKind.NOT_A_FILE, reason)
            yield from _walk(entry.path, relative, skipped, found, in_order)
        else:
            yield entry, relative


def _entries(folder: str, prefix: str, found: Discovery, in_order: bool) -> Iterator[os.DirEntry[str]]:
    """The entries of one folder; sorted by name, or one after another as the file system gives them."""
    try:
        with os.scandir(folder) as listing:
            yield from sorted(listing, key=lambda entry: entry.name) if in_order else listing
    except OSError as error:
        reason = f"The folder cannot be read ({error.strerror})."
        found.add_aside(prefix or ".", QuarantineKind.UNREADABLE, reason)


def _take(entry: os.DirEntry[str] | Path, relative: str, found: Discovery, *, named: bool = False) -> None:
    extension = _extension(relative)
    picture = named or extension in EXTENSIONS or extension in UNSUPPORTED_EXTENSIONS
    if not picture and not (Path(entry).is_symlink() and Path(entry).is_dir()):
        found.add_other(extension)
        return
    try:
        relative.encode("utf-8")
    except UnicodeEncodeError:
        reason = "Its name is not valid UTF-8; rename the file."
        found.add_aside(relative, QuarantineKind.UNREADABLE, reason)
        return
    try:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            status = _followed(Path(entry), found.folder)
    except _SetAside as aside:
        found.add_aside(relative, aside.kind, str(aside))
        return
    except OSError as error:
        found.add_aside(relative, QuarantineKind.UNREADABLE, f"The file cannot be read ({error.strerror}).")
        return
    kind = _kind_in_words(status.st_mode)
    if kind is not None:
        found.add_aside(relative, QuarantineKind.NOT_A_FILE, f"It is {kind}, not a file.")
    elif extension in UNSUPPORTED_EXTENSIONS:
        reason = f"It is named like {UNSUPPORTED_EXTENSIONS[extension]}; PNG, JPEG, TIFF, BMP and WebP are read."
        found.add_aside(relative, QuarantineKind.UNSUPPORTED, reason)
    else:
        found.add(FoundFile(relative, status.st_size, status.st_mtime_ns))


class _SetAside(Exception):
    def __init__(self, kind: QuarantineKind, reason: str) -> None:
        self.kind = kind
        super().__init__(reason)


def _followed(link: Path, root: Path) -> os.stat_result:
    """Status of what a link leads to, if that lies in ``root`` and is a file."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        loop = isinstance(error, RuntimeError) or getattr(error, "errno", None) == 40
        reason = "It is a link that leads back to itself." if loop else "It is a link that leads to nothing."
        raise _SetAside(QuarantineKind.NOT_A_FILE, reason) from None
    if not target.is_relative_to(root):
        reason = "It is a link that leads out of the folder; such links are not followed."
        raise _SetAside(QuarantineKind.OUTSIDE_FOLDER, reason)
    if target.is_dir():
        raise _SetAside(QuarantineKind.NOT_A_FILE, "It is a link to a folder; such links are not followed.")
    return target.stat()


def _kind_in_words(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((words for test, words in kinds if test(mode)), "something special")


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - ten times as fast as Path.suffix, for every file
