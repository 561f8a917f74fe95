"""What the screens need of a workspace, in plain Python: classes with their keys, the queue, pictures, errors in words.

One :class:`ReviewService` serves all people of a server process. It shapes what :mod:`data_contracts.review` says and
decides nothing itself; it never imports Streamlit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from data_contracts.display import DisplayCopies
from data_contracts.errors import NotFound, Refused, TailsightError
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.profile import Profile
from data_contracts.settings import Settings
from data_contracts.taxonomy import TaxonomyClass
from data_contracts.vocabulary import Role
from data_contracts.workspace import Workspace
from review_app.canvas.frame import Picture
from review_app.texts import Texts

CLASS_KEYS = "1234567890qwetyghjlvmik"
"""Keys of the classes in the taxonomy's order, which never changes for a class once given; actions have the others."""

SHORT_ID = 10
"""Characters of an image id that a person is shown."""

LARGE, SMALL, OVERLAY = "L", "S", "O"
"""Kinds of pictures; a picture's name is its kind, a colon and the image id."""

_LOG = logging.getLogger("tailsight.review_app")


@dataclass(frozen=True)
class ClassKey:
    """A class as a button: its name, the key it has unless a person chose another, and what it means."""

    name: str
    key: str | None
    description: str


class ReviewService:
    """An open workspace as the app uses it; safe to share between sessions.

    Args:
        workspace: whose queue is worked on.
        settings: where the ledger is, if not in the workspace.
    """

    def __init__(self, workspace: Workspace, settings: Settings | None = None) -> None:
        self.workspace = workspace.require()
        self.ledger = Ledger.open(workspace, settings)
        self.copies = DisplayCopies(workspace)
        self._profile: tuple[int, Profile] | None = None

    def close(self) -> None:
        """Give the ledger back."""
        self.ledger.close()

    @property
    def profile(self) -> Profile:
        """The profile as it stands now; the file is read again once it has changed."""
        changed = self.workspace.profile_path.stat().st_mtime_ns
        if self._profile is None or self._profile[0] != changed:
            self._profile = (changed, self.workspace.profile)
        return self._profile[1]

    def classes(self) -> list[ClassKey]:
        """The classes in the order of the taxonomy, each with its key; classes past the last key have none."""
        known = current_taxonomy(self.ledger).classes or self.profile.taxonomy
        return [ClassKey(item.name, _key(place), _meaning(item)) for place, item in enumerate(known)]

    def window(self) -> dict[str, float] | None:
        """The profile's window for 16-bit images: centre and width in stored values."""
        given = self.profile.input
        if given.window_centre is None or given.window_width is None:
            return None
        return {"centre": given.window_centre, "width": given.window_width}

    def picture(self, name: str) -> Picture | None:
        """A picture by its name, or ``None`` where the pipeline has made no display copy of the image."""
        kind, _, image_id = name.partition(":")
        try:
            if kind == OVERLAY:
                content = self.copies.overlay(image_id)
                return None if content is None else Picture(name, "image/webp", content)
            content, mime = self.copies.large(image_id) if kind == LARGE else self.copies.small(image_id)
        except NotFound:
            return None
        return Picture(name, mime, content)

    def pictures(self, names: Iterable[str]) -> tuple[list[Picture], list[str]]:
        """The pictures that there are, and the names of those that there are not."""
        found, missing = [], []
        for name in dict.fromkeys(names):
            picture = self.picture(name)
            if picture is None:
                missing.append(name)
            else:
                found.append(picture)
        return found, missing

    def source_size(self, image_id: str) -> dict[str, int] | None:
        """Width and height in px of the file that the display copy was made of."""
        try:
            about = self.copies.about(image_id)
        except NotFound:
            return None
        return {"width": about.width, "height": about.height}


def error_sentence(error: Exception, texts: Texts) -> str:
    """An error as one line for the screen; a defect of ours is logged and named without its details."""
    if not isinstance(error, TailsightError):
        _LOG.exception("a request failed", exc_info=error)
        return texts("errors.defect")
    kind = "refused" if isinstance(error, Refused) else "failed"
    return texts(f"errors.{kind}", what=_told(error, texts))


def _told(error: TailsightError, texts: Texts) -> str:
    """What happened and what to do, in the reader's language where the catalogues know the situation."""
    if error.situation is None or not texts.has(f"situations.{error.situation}"):
        return error.what if error.remedy is None else f"{error.what} {error.remedy}"
    facts = {name: texts(f"app.role_{fact}") if fact in set(Role) else fact for name, fact in error.facts.items()}
    return texts(f"situations.{error.situation}", **facts)


def _key(place: int) -> str | None:
    return CLASS_KEYS[place] if place < len(CLASS_KEYS) else None


def _meaning(item: TaxonomyClass) -> str:
    parent = f"({item.parent}) " if item.parent else ""
    return f"{parent}{item.description}".strip()
