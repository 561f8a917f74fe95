"""Every name that an image goes by, for looking many images up at once (a labels file of a hundred thousand rows)."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path

from sqlalchemy import select

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.tables import EXTERNAL_ID, IMAGE, OCCURRENCE, ROOT

SHORTEST_PREFIX = 8


class ImageNames:
    """Image ids by every exact name: id, uri, path under a root, absolute path, file name, external id.

    A snapshot; the one-image equivalent is :func:`~data_contracts.ledger.images.find_images`.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._paths: defaultdict[str, set[str]] = defaultdict(set)
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        with ledger.reading() as connection:
            roots = {row.root_id: row.folder for row in connection.execute(select(ROOT))}
            images = connection.execute(select(IMAGE.c.image_id, IMAGE.c.uri)).all()
            places = connection.execute(
                select(OCCURRENCE.c.image_id, OCCURRENCE.c.root_id, OCCURRENCE.c.path, OCCURRENCE.c.file_name)
            ).all()
            others = connection.execute(select(EXTERNAL_ID.c.image_id, EXTERNAL_ID.c.value)).all()
        self._ids = sorted(image_id for image_id, _ in images)
        for image_id, uri in images:
            self._paths[uri].add(image_id)
        for image_id, root_id, path, file_name in places:
            self._paths[f"{roots[root_id]}/{path}"].add(image_id)
            self._names[path].add(image_id)
            self._names[file_name].add(image_id)
        for image_id, value in others:
            self._names[value].add(image_id)

    def find(self, text: str, *, relative_to: Path | None = None) -> set[str]:
        """Ids of the images that ``text`` names: the most exact kind of name that fits decides.

        Args:
            text: an image id or its first 8 or more characters, a path, a file name, or an external id.
            relative_to: folder that a relative path is tried under first.
        """
        if not text:
            return set()
        if self._has_id(text):
            return {text}
        if relative_to is not None and (found := self._paths.get(str((relative_to / text).resolve()))):
            return set(found)
        if found := self._paths.get(text) or self._names.get(text.removeprefix("./")):
            return set(found)
        return self._with_prefix(text.lower()) if len(text) >= SHORTEST_PREFIX else set()

    def nearest(self, text: str) -> str | None:
        """The path or name most like ``text``, for a person who mistyped; slow for many names."""
        near = difflib.get_close_matches(text, list(self._names), n=1, cutoff=0.8)
        return near[0] if near else None

    def _has_id(self, text: str) -> bool:
        place = bisect_left(self._ids, text)
        return place < len(self._ids) and self._ids[place] == text

    def _with_prefix(self, prefix: str) -> set[str]:
        place = bisect_left(self._ids, prefix)
        found = set()
        while place < len(self._ids) and self._ids[place].startswith(prefix):
            found.add(self._ids[place])
            place += 1
        return found
