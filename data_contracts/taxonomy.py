"""The classes that images are sorted into: names, parents, aliases, severities."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TaxonomyClass(BaseModel):
    """One class. ``name`` is what labels say; ``aliases`` are other spellings that mean the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    parent: str | None = None
    aliases: tuple[str, ...] = ()
    description: str = ""
    severity: int = Field(default=0, ge=0, le=10)
    reference_images: tuple[str, ...] = ()


class Taxonomy(BaseModel):
    """An ordered set of classes; ``version`` 0 is empty and open, later versions are recorded migrations.

    The order is the class index of every probability column and never changes for a class once given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(default=0, ge=0)
    classes: tuple[TaxonomyClass, ...] = ()

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        seen: dict[str, str] = {}
        for item in self.classes:
            for spelling in (item.name, *item.aliases):
                if spelling in seen:
                    raise ValueError(f"{spelling!r} names both {seen[spelling]!r} and {item.name!r}")
                seen[spelling] = item.name
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in index order."""
        return tuple(item.name for item in self.classes)

    def resolve(self, label: str) -> str | None:
        """The class name that a label or alias means, or ``None``."""
        for item in self.classes:
            if label == item.name or label in item.aliases:
                return item.name
        return None

    def extended(self, new_names: list[str]) -> Taxonomy:
        """A next version with classes appended; existing indices stay."""
        added = tuple(TaxonomyClass(name=name) for name in new_names)
        return Taxonomy(version=self.version + 1, classes=self.classes + added)
