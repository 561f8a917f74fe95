"""Which objects a prefix, a glob or one address on S3-compatible storage offers: the rules of folders, for keys."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from data_contracts.errors import NotFound
from data_contracts.image_formats import EXTENSIONS, UNSUPPORTED_EXTENSIONS
from data_contracts.object_storage import ObjectAddress, ObjectFacts, Place, require_plain
from data_contracts.vocabulary import QuarantineKind
from pipelines.steps.ingest_discovery import GLOB, SYSTEM_NAMES, Discovery, Found, FoundFile, translate


def discover_objects(kind: Callable[[Place], Found], images: ObjectAddress) -> Found:
    """List the objects below a prefix, those that a glob fits, or one object.

    Args:
        kind: makes a discovery for a root.
        images: the address.

    Raises:
        NotFound: there is no such bucket, or nothing under this address.
        BadInput: the storage does not know who asks, or does not allow listing.
        Unreachable: it does not answer.
    """
    root, pattern, objects = _looked_at(images)
    found = kind(root)
    for facts in objects:
        relative = ObjectAddress(root.bucket, facts.key).below(root)
        if relative is None or relative.endswith("/"):  # a marker that some programs keep for an empty folder
            continue
        file = FoundFile(relative, facts.size_bytes, facts.modified_ns)
        if _is_hidden(relative) or (pattern is not None and not pattern.fullmatch(relative)):
            found.pass_over(file)
        else:
            _take(file, found)
    if found.nothing:
        raise NotFound(f"There are no objects under {images}.", remedy="Check the bucket and the prefix.")
    return found


def _looked_at(images: ObjectAddress) -> tuple[ObjectAddress, re.Pattern[str] | None, Iterator[ObjectFacts]]:
    """Where relative names begin, what they must fit, and what there is."""
    parts = images.key.split("/") if images.key else []
    first = next((number for number, part in enumerate(parts) if GLOB.search(part)), None)
    if first is not None:
        root = ObjectAddress(images.bucket, "/".join(parts[:first]))
        return root, translate(parts[first:]), root.objects()
    if parts and os.path.splitext(images.name)[1].lower() in EXTENSIONS:  # noqa: PTH122
        try:
            return images.parent, None, iter([images.facts()])
        except (FileNotFoundError, PermissionError):
            pass  # a prefix may be named like an image
    return images, None, images.objects()


def _take(file: FoundFile, found: Discovery) -> None:
    extension = os.path.splitext(file.path)[1].lower()  # noqa: PTH122
    try:
        require_plain(file.path)
    except NotFound as error:
        found.add_aside(file.path, QuarantineKind.OUTSIDE_FOLDER, error.what)
        return
    if extension in UNSUPPORTED_EXTENSIONS:
        reason = f"It is named like {UNSUPPORTED_EXTENSIONS[extension]}; PNG, JPEG, TIFF, BMP and WebP are read."
        found.add_aside(file.path, QuarantineKind.UNSUPPORTED, reason)
    elif extension in EXTENSIONS:
        found.add(file)
    else:
        found.pass_over(file)
        found.add_other(extension)


def _is_hidden(relative: str) -> bool:
    parts = relative.split("/")
    return any((part.startswith(".") and part not in (".", "..")) or part.casefold() in SYSTEM_NAMES for part in parts)
