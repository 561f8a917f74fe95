"""Classes as a tree: pass or fail first, then what the taxonomy's parents say, then the class itself.

The probability of a class is the product of the probabilities along its path, each given the level above. One softmax
over the classes holds all of them: a group's probability is the sum over its classes, and a class given its group is
the quotient. So levels need no network of their own, and everything that works on class probabilities still does.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.taxonomy import TaxonomyClass

PASS, FAIL = "pass", "fail"

Level = tuple[int, ...]
"""One level: the number of the group of each class, [k]; groups are numbered from 0 in the order of the classes."""


def levels_of(classes: Sequence[TaxonomyClass], pass_class: str | None) -> tuple[Level, ...]:
    """The levels above the classes, coarsest first; none where the taxonomy is flat.

    A class belongs to the group of its ancestors. One that others name as their parent is in a group with them. A level
    on which every class stands alone, or all together, says nothing and is left out.

    Args:
        classes: k, in index order.
        pass_class: the class that means "good": then pass against fail comes first.

    Raises:
        ValueError: classes are each other's ancestors.
    """
    by_name = {item.name: item for item in classes}
    paths = [_path(item, by_name) for item in classes]
    if pass_class is not None and pass_class in by_name:
        paths = [
            ((PASS,) if item.name == pass_class else (FAIL,)) + path for item, path in zip(classes, paths, strict=True)
        ]
    found: list[Level] = []
    for depth in range(max((len(path) for path in paths), default=0)):
        numbers: dict[tuple[str, ...], int] = {}
        level = tuple(numbers.setdefault(path[: depth + 1], len(numbers)) for path in paths)
        if 1 < len(numbers) < len(classes) and level not in found:
            found.append(level)
    return tuple(found)


def _path(item: TaxonomyClass, by_name: dict[str, TaxonomyClass]) -> tuple[str, ...]:
    """Names from the farthest ancestor down to the class."""
    path, parent = [item.name], item.parent
    while parent is not None:
        if parent in path:
            raise ValueError(f"the classes {', '.join(path)} are each other's parents")
        path.append(parent)
        parent = by_name[parent].parent if parent in by_name else None
    return tuple(reversed(path))
