"""The classes that images are sorted into: names, parents, aliases, severities, and what became of former classes.

Two things hold for ever: a class keeps its place (its index in :attr:`Taxonomy.classes`), and a label keeps what it
meant when it was said. A class that was merged or split away stays in its place as *retired*; labels are never
rewritten, only read anew (:meth:`Taxonomy.possible`). :mod:`data_contracts.taxonomy_changes` makes the changes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ChangeKind(StrEnum):
    """What made one version of the taxonomy out of the one before."""

    ADD = "add"
    DESCRIBE = "describe"
    RENAME = "rename"
    MERGE = "merge"
    SPLIT = "split"


class TaxonomyClass(BaseModel):
    """One class. ``name`` is what labels say; ``aliases`` are other spellings that mean the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    parent: str | None = None
    aliases: tuple[str, ...] = ()
    description: str = ""
    severity: int = Field(default=0, ge=0, le=10)
    reference_images: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        """Everything that labels may say and mean this class: its name, then its aliases."""
        return (self.name, *self.aliases)


class TaxonomyChange(BaseModel):
    """What a version changed, from which classes to which: kept in the version, so that an auditor can read it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ChangeKind
    sources: tuple[str, ...]
    into: tuple[str, ...]


class RetiredClass(BaseModel):
    """A class that is no longer used; its entry stays at ``index`` so that no other class moves.

    ``version`` and ``events`` say when: the taxonomy version that retired it, and how many label events there were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=0)
    kind: ChangeKind
    into: tuple[str, ...]
    version: int
    events: int


class ClassSplit(BaseModel):
    """Labels that say one of ``labels`` mean one of ``into``, and only a person can say which.

    This holds for what was said in the events numbered ``after_events + 1`` to ``events``, and by models trained under
    the taxonomy versions from ``after_version`` to the one before ``version``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[str, ...]
    into: tuple[str, ...]
    version: int
    after_version: int = 0
    events: int
    after_events: int = 0

    def covers(self, event: int | None, version: int | None) -> bool:
        """Whether something said in this event, or under this taxonomy version, was said before the split."""
        if event is not None and not self.after_events < event <= self.events:
            return False
        if version is not None and not self.after_version <= version < self.version:
            return False
        return event is not None or version is not None


class Taxonomy(BaseModel):
    """An ordered set of classes; ``version`` 0 is empty and open, later versions are recorded migrations.

    The order of :attr:`names` is the class index of every probability column. Classes keep their order for ever.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(default=0, ge=0)
    classes: tuple[TaxonomyClass, ...] = ()
    retired: tuple[RetiredClass, ...] = ()
    splits: tuple[ClassSplit, ...] = ()
    change: TaxonomyChange | None = None

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        seen: dict[str, str] = {}
        for item in self.active:
            for spelling in item.spellings:
                if spelling in seen:
                    raise ValueError(f"{spelling!r} names both {seen[spelling]!r} and {item.name!r}")
                seen[spelling] = item.name
        return self

    @property
    def active(self) -> tuple[TaxonomyClass, ...]:
        """The classes in use, in order."""
        away = {item.index for item in self.retired}
        return tuple(item for index, item in enumerate(self.classes) if index not in away)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes in use, in index order."""
        return tuple(item.name for item in self.active)

    def resolve(self, label: str) -> str | None:
        """The class that a label or alias means when it is said now, or ``None``."""
        for item in self.active:
            if label in item.spellings:
                return item.name
        return None

    def possible(self, label: str, *, event: int | None = None, version: int | None = None) -> frozenset[str]:
        """The classes in use that a label may mean: one, several after a split, none where it is unknown.

        Args:
            label: as it was said.
            event: number of the label event that said it.
            version: taxonomy version of the model that said it. Without either, it is said now.
        """
        return self._possible(label, event, version, 0)

    def _possible(self, label: str, event: int | None, version: int | None, first: int) -> frozenset[str]:
        for number, split in enumerate(self.splits[first:], start=first):
            if label in split.labels and split.covers(event, version):
                then = (None if event is None else split.events, None if version is None else split.version)
                return frozenset().union(*(self._possible(name, *then, number + 1) for name in split.into))
        resolved = self.resolve(label)
        return frozenset() if resolved is None else frozenset({resolved})

    def split_before(self, label: str, event: int) -> ClassSplit | None:
        """The first split since this label event that took the label's meaning apart."""
        return next((split for split in self.splits if label in split.labels and split.covers(event, None)), None)

    def split_of(self, label: str) -> ClassSplit | None:
        """The split that took a class of this name out of use, if the label means no class now because of it."""
        if self.resolve(label) is not None:
            return None
        return next((split for split in reversed(self.splits) if label in split.labels), None)

    def extended(self, new_names: list[str]) -> Taxonomy:
        """A next version with classes appended; existing indices stay."""
        return self.changed(
            classes=self.classes + tuple(TaxonomyClass(name=name) for name in new_names),
            change=TaxonomyChange(kind=ChangeKind.ADD, sources=(), into=tuple(new_names)),
        )

    def changed(
        self,
        *,
        change: TaxonomyChange,
        classes: tuple[TaxonomyClass, ...] | None = None,
        retired: tuple[RetiredClass, ...] | None = None,
        splits: tuple[ClassSplit, ...] | None = None,
    ) -> Taxonomy:
        """The next version: what is not given stays."""
        return Taxonomy(
            version=self.version + 1,
            classes=self.classes if classes is None else classes,
            retired=self.retired if retired is None else retired,
            splits=self.splits if splits is None else splits,
            change=change,
        )
