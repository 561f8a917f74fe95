"""What a model's classes mean under the taxonomy of today, and which of them it cannot tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.taxonomy import Taxonomy


@dataclass(frozen=True)
class ClassesToday:
    """What the classes of a model are called today.

    Attributes:
        classes: k names, as the model was trained with.
        names: k names of today; equal ones were merged since. A class that was split since keeps its old name.
        split: for each class that was split since, what it may be now.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    split: dict[str, tuple[str, ...]]

    @property
    def shown(self) -> tuple[str, ...]:
        """Each name of today once, in the order of the classes."""
        return tuple(dict.fromkeys(self.names))

    @property
    def unchanged(self) -> bool:
        """Whether every class is still called what the model calls it."""
        return self.names == self.classes

    @property
    def shares(self) -> NDArray[np.float64]:
        """float64 [k, len(shown)]: 1 where a class is called so today."""
        return np.asarray([[float(name == shown) for shown in self.shown] for name in self.names])

    def added_up(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities float64 [n, k] as float64 [n, len(shown)]: those of merged classes are added up."""
        return np.asarray(probabilities @ self.shares)

    def sentences(self, version: str) -> list[str]:
        """What a person should know of scores under the names of today."""
        said = []
        former = {
            new: [old for old, name in zip(self.classes, self.names, strict=True) if name == new] for new in self.shown
        }
        renamed = [f"{old[0]!r} is now {new!r}" for new, old in former.items() if len(old) == 1 and old[0] != new]
        if renamed:
            said.append(f"Since model version {version} was trained, {', '.join(renamed)}; the scores say so.")
        for new, old in former.items():
            if len(old) > 1:
                said.append(
                    f"Since model version {version} was trained, {_listed(old)} became one class, {new!r}: their "
                    "probabilities are added up. How often automatic decisions err was measured before; train again "
                    "to have it measured for the classes of today."
                )
        for old_name, parts in self.split.items():
            said.append(
                f"{old_name!r} was split into {_listed(parts)}, which model version {version} cannot tell apart: the "
                "scores keep the old name until a model is trained that can."
            )
        return said


def classes_today(classes: Sequence[str], trained_under: int | None, taxonomy: Taxonomy) -> ClassesToday:
    """What a model's classes are called today.

    Args:
        classes: the model's own.
        trained_under: the taxonomy version that it was trained under.
        taxonomy: the one that holds now.
    """
    meant = [taxonomy.possible(name, version=trained_under) for name in classes]
    names = tuple(next(iter(now)) if len(now) == 1 else name for name, now in zip(classes, meant, strict=True))
    split = {
        name: tuple(one for one in taxonomy.names if one in now)
        for name, now in zip(classes, meant, strict=True)
        if len(now) > 1
    }
    if len(set(names)) < 2:  # all is one class now; what the model says is still what it was trained to say
        names = tuple(classes)
    return ClassesToday(tuple(classes), names, split)


def shares_today(classes: Sequence[str], trained_under: int | None, taxonomy: Taxonomy) -> NDArray[np.float64]:
    """How what a model says of its classes is told of the classes in use, float64 [k, classes in use].

    Row i is the share of class i that each class in use gets: 1 for the class that it is now, and equal shares for the
    parts of a class that was split since, because the model cannot tell them apart. A row of zeros is a class that
    means none any more. Probabilities float64 [n, k] times this are probabilities of the classes in use; a class that
    the model has never heard of has 0.

    Args:
        classes: k names, the model's own.
        trained_under: the taxonomy version that it was trained under; without it, the names are read as what they
            mean now, and a name that means none now as what it meant when it was last in use.
        taxonomy: the one that holds now.
    """
    shares = np.zeros((len(classes), len(taxonomy.names)))
    for row, name in enumerate(classes):
        meant = taxonomy.possible(name, version=trained_under)
        split = taxonomy.split_of(name)
        if not meant and trained_under is None and split is not None:
            meant = taxonomy.possible(name, version=split.after_version)
        for part in meant:
            shares[row, taxonomy.names.index(part)] = 1 / len(meant)
    return shares


def indistinct(classes: Sequence[str], trained_under: int | None, taxonomy: Taxonomy) -> list[tuple[str, ...]]:
    """Groups of classes in use that are one class to a model, because it was trained before a split.

    Args:
        classes: the model's own.
        trained_under: the taxonomy version that it was trained under.
        taxonomy: the one that holds now.

    Returns:
        Groups of two or more, each in the order of the taxonomy; no class is in two groups.
    """
    groups: list[set[str]] = []
    for name in classes:
        meant = set(taxonomy.possible(name, version=trained_under))
        if len(meant) > 1:
            touching = [group for group in groups if group & meant]
            groups = [group for group in groups if not group & meant] + [meant.union(*touching)]
    return [tuple(name for name in taxonomy.names if name in group) for group in groups]


def remarks_on_model(version: str, classes: Sequence[str], trained_under: int | None, taxonomy: Taxonomy) -> list[str]:
    """What to know of a model's figures where the classes have changed since it was trained."""
    remarks = [
        f"Model version {version} was trained when {_listed(group)} were one class; it cannot tell them apart and says "
        "each in equal shares, so its figures for them say nothing."
        for group in indistinct(classes, trained_under, taxonomy)
    ]
    heard: set[str] = set()
    for name in classes:
        heard |= taxonomy.possible(name, version=trained_under)
    unheard = [name for name in taxonomy.names if name not in heard]
    if unheard:
        remarks.append(
            f"Model version {version} has never heard of {_listed(unheard)}; every image of "
            f"{'it' if len(unheard) == 1 else 'them'} counts as an error."
        )
    return remarks


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
