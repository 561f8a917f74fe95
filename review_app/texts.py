"""What the app says, in the person's language: texts come from ``catalogues/<language>.yaml``, never from code."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib import resources

import yaml

CANVAS = "canvas"
"""The section whose texts go to the browser with the canvas."""


class Language(StrEnum):
    """Languages with a complete catalogue."""

    ENGLISH = "en"
    CHINESE = "zh"


LANGUAGE_NAMES = {Language.ENGLISH: "English", Language.CHINESE: "中文"}


@cache
def catalogue(language: Language) -> dict[str, dict[str, str]]:
    """All texts of a language by section and key."""
    path = resources.files("review_app.catalogues").joinpath(f"{language.value}.yaml")
    content: dict[str, dict[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def language_of(locale: str | None) -> Language:
    """The language for a browser's locale such as ``zh-CN``; English where there is no catalogue."""
    start = (locale or "").split("-")[0].lower()
    return Language(start) if start in set(Language) else Language.ENGLISH


class Texts:
    """The texts of one language: ``texts("audit.search")``, ``texts("progress.due_next", time="14:05")``."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._sections = catalogue(language)

    def __call__(self, place: str, **values: object) -> str:
        """The text at ``section.key`` with ``{name}`` filled in.

        Raises:
            KeyError: there is no such text; a test holds every catalogue to be complete.
        """
        section, _, key = place.partition(".")
        text = self._sections[section][key]
        for name, value in values.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    def has(self, place: str) -> bool:
        """Whether there is such a text."""
        section, _, key = place.partition(".")
        return key in self._sections.get(section, {})

    @property
    def canvas(self) -> dict[str, str]:
        """The texts that the browser needs."""
        return self._sections[CANVAS]
