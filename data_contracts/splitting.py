"""Which images may never be parted, and a stratified split that never parts them. Pure: values in, values out.

A *component* is the smallest set closed under "same group" and "confirmed near-duplicate"; a split is given to whole
components only, and :func:`assert_unsplit` is run on every result.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from data_contracts.errors import BadInput, IntegrityError
from data_contracts.vocabulary import LABELLED_SPLITS, Split

DEFAULT_FRACTIONS = (0.7, 0.2, 0.1)
"""Shares of train, val and test."""

_TEST_FIRST = (Split.TEST, Split.VAL, Split.TRAIN)


class Components:
    """Union-find over images: what is joined is never parted."""

    def __init__(self, items: Iterable[str]) -> None:
        self._parent: dict[Hashable, Hashable] = {item: item for item in items}

    def join(self, first: Hashable, second: Hashable) -> bool:
        """Put two images into one component; False if they were already in one."""
        a, b = self._root(first), self._root(second)
        if a == b:
            return False
        self._parent[b] = a
        return True

    def together(self, first: Hashable, second: Hashable) -> bool:
        """Whether two images are in one component."""
        return self._root(first) == self._root(second)

    def names(self) -> dict[str, str]:
        """Component of each image, named after its smallest image id (so the name does not depend on order)."""
        smallest: dict[Hashable, str] = {}
        images = [item for item in self._parent if isinstance(item, str)]
        for image in images:
            root = self._root(image)
            smallest[root] = min(image, smallest.get(root, image))
        return {image: smallest[self._root(image)] for image in images}

    def _root(self, item: Hashable) -> Hashable:
        parent = self._parent
        root = item
        while parent.setdefault(root, root) != root:
            root = parent[root]
        while parent[item] != root:
            parent[item], item = root, parent[item]
        return root


def components(groups: Mapping[str, str | None], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Component name of every image.

    Args:
        groups: group (patient, lesion, lot; ``None`` where unknown) of every image id.
        pairs: binding near-duplicates; a pair with an unknown image is ignored.
    """
    joined = Components(groups)
    for image, group in groups.items():
        if group is not None:
            joined.join(("group", group), image)
    for first, second in pairs:
        if first in groups and second in groups:
            joined.join(first, second)
    return joined.names()


@dataclass(frozen=True)
class Candidate:
    """One image to be split. ``assigned`` is its split for ever (or None); ``given`` is what the user's column says."""

    image_id: str
    component: str
    label: str | None
    assigned: Split | None = None
    given: Split | None = None


@dataclass(frozen=True)
class Leak:
    """A component whose images were given, or hold, different splits. ``kept`` is where it stays."""

    component: str
    splits: tuple[Split, ...]
    kept: Split
    images: int
    images_set_aside: int
    from_given_column: bool


@dataclass(frozen=True)
class SplitResult:
    """Split of every image id; images without a label, and those a leak set aside, are in the pool."""

    splits: dict[str, Split]
    leaks: tuple[Leak, ...] = ()
    sentences: tuple[str, ...] = field(default=())


def split_images(
    candidates: Sequence[Candidate],
    *,
    seed: int,
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS,
    test_is_drawn: bool = False,
) -> SplitResult:
    """Give every labelled image a split: whole components, stratified by label, as near to ``fractions`` as can be.

    Splits that images already hold are kept, then the given ones; the rest of a component follows. Where a component
    holds several, it stays in the strictest (test, then val, then train) and its images elsewhere go to the pool: a
    test set must not contain what a model was trained on. Splits missing from a given column are taken out of its
    training part. Components are dealt largest first (in a random order among equals) to the split whose
    share of the component's classes is most unfilled; a class too small for all three gets train, val, test in this
    order.

    Args:
        candidates: every image.
        seed: of the order among components of one size.
        fractions: shares of train, val and test.
        test_is_drawn: what joins the test was drawn by lot and is given; the rest is dealt between train and val,
            unless the test has nothing yet of a class in it.

    Raises:
        BadInput: the fractions are not positive or do not sum to 1.
    """
    _check_fractions(fractions)
    members: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        members[candidate.component].append(candidate)
    fixed, leaks = _fixed_splits(members)
    sentences: list[str] = []
    open_splits = _carve(members, fixed, sentences)
    chosen = dict(fixed)
    chosen.update(_deal(members, fixed, open_splits, fractions, seed, test_is_drawn))

    splits: dict[str, Split] = {}
    for component, images in members.items():
        for image in images:
            split = chosen.get(component, Split.POOL)
            held = image.assigned or (image.given if image.assigned is None else None)
            parted = held in LABELLED_SPLITS and held != split and component not in open_splits
            splits[image.image_id] = Split.POOL if image.label is None or parted else split
    assert_unsplit({c.image_id: c.component for c in candidates}, splits)
    return SplitResult(splits, tuple(leaks), tuple(sentences) + _small_class_sentences(candidates, splits))


def assert_unsplit(component_of: Mapping[str, str], splits: Mapping[str, Split]) -> None:
    """Make sure that no component is in two of train, val and test.

    Raises:
        IntegrityError: one is; this is a defect of the program or of the stored assignments, never of the images.
    """
    seen: dict[str, Split] = {}
    for image, split in splits.items():
        if split is Split.POOL:
            continue
        first = seen.setdefault(component_of[image], split)
        if first is not split:
            raise IntegrityError(
                f"The images that belong together with {component_of[image]} are in both {first} and {split}.",
                remedy="Nothing was written. Please report this.",
            )


def thirds(train_counts: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """The classes in thirds by training count: ``many``, ``medium``, ``few`` (the first thirds take the remainder)."""
    ordered = sorted(train_counts, key=lambda name: (-train_counts[name], name))
    parts = np.array_split(np.arange(len(ordered)), 3)
    return {name: tuple(ordered[i] for i in part) for name, part in zip(("many", "medium", "few"), parts, strict=True)}


def _check_fractions(fractions: tuple[float, float, float]) -> None:
    if any(share <= 0 for share in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise BadInput(
            f"The shares of train, val and test must be positive and sum to 1, not {fractions}.",
            remedy="For example 0.7, 0.2, 0.1.",
        )


def _fixed_splits(members: Mapping[str, list[Candidate]]) -> tuple[dict[str, Split], list[Leak]]:
    """Components that have a split already (assigned before, or by the user's column), and those that have two."""
    fixed: dict[str, Split] = {}
    leaks = []
    for component, images in members.items():
        assigned = {i.assigned for i in images if i.assigned in LABELLED_SPLITS}
        given = {i.given for i in images if i.assigned is None and i.given in LABELLED_SPLITS}
        everything = assigned | given
        if not everything:
            continue
        # an assignment is for ever: a given split that arrives later cannot move it, but both count as a leak
        kept = next(split for split in _TEST_FIRST if split in (assigned or given))
        fixed[component] = kept
        if len(everything) > 1:
            elsewhere = sum(1 for i in images if (i.assigned or i.given) not in (None, Split.POOL, kept))
            order = tuple(split for split in LABELLED_SPLITS if split in everything)
            leaks.append(Leak(component, order, kept, len(images), elsewhere, bool(given)))
    return fixed, leaks


def _carve(
    members: Mapping[str, list[Candidate]], fixed: dict[str, Split], sentences: list[str]
) -> dict[str, tuple[Split, ...]]:
    """Where a given column lacks a split, free its training components to be dealt between train and what is missing.

    Returns the splits that each freed component may get; they are removed from ``fixed``.
    """
    by_column = [c for c in fixed if not any(i.assigned for i in members[c])]
    if not by_column:
        return {}
    present = {fixed[c] for c in fixed}
    missing = tuple(split for split in LABELLED_SPLITS if split not in present)
    labelled_elsewhere = any(i.label is not None and i.component not in fixed for m in members.values() for i in m)
    if not missing or labelled_elsewhere or Split.TRAIN in missing:
        return {}
    sentences.append(
        f"The given splits have no {' and no '.join(missing)}; a share of their training images is set aside for it."
    )
    freed = [c for c in by_column if fixed[c] is Split.TRAIN]
    for component in freed:
        del fixed[component]
    return dict.fromkeys(freed, (Split.TRAIN, *missing))


def _deal(
    members: Mapping[str, list[Candidate]],
    fixed: Mapping[str, Split],
    open_splits: Mapping[str, tuple[Split, ...]],
    fractions: tuple[float, float, float],
    seed: int,
    test_is_drawn: bool,
) -> dict[str, Split]:
    share = dict(zip(LABELLED_SPLITS, fractions, strict=True))
    labels = {c: Counter(i.label for i in images if i.label is not None) for c, images in members.items()}
    totals: Counter[str] = Counter()
    for counts in labels.values():
        totals.update(counts)
    filled: dict[Split, Counter[str]] = {split: Counter() for split in LABELLED_SPLITS}
    for component, split in fixed.items():
        filled[split].update(labels[component])
    tested = {name for name, n in filled[Split.TEST].items() if n}

    free = sorted(c for c, counts in labels.items() if counts and c not in fixed)
    order = [free[i] for i in np.random.default_rng(seed).permutation(len(free))]
    order.sort(key=lambda c: -sum(labels[c].values()))
    chosen: dict[str, Split] = {}
    for component in order:
        counts = labels[component]
        allowed = open_splits.get(component, LABELLED_SPLITS)
        if test_is_drawn and component not in open_splits and tested.issuperset(counts):
            allowed = (Split.TRAIN, Split.VAL)

        def room(split: Split, counts: Counter[str] = counts) -> float:
            return sum(n * (1 - filled[split][name] / (share[split] * totals[name])) for name, n in counts.items())

        best = max(allowed, key=lambda split: (round(room(split), 9), -LABELLED_SPLITS.index(split)))
        chosen[component] = best
        filled[best].update(counts)
    return chosen


def _small_class_sentences(candidates: Sequence[Candidate], splits: Mapping[str, Split]) -> tuple[str, ...]:
    """Say which classes are not in all three splits, and what follows."""
    where: dict[str, Counter[Split]] = defaultdict(Counter)
    for candidate in candidates:
        if candidate.label is not None and splits[candidate.image_id] is not Split.POOL:
            where[candidate.label][splits[candidate.image_id]] += 1
    sentences = []
    for name in sorted(where):
        absent = [split for split in LABELLED_SPLITS if not where[name][split]]
        if absent:
            n = sum(where[name].values())
            follows = {
                Split.TRAIN: "it cannot be learned",
                Split.VAL: "its threshold cannot be checked",
                Split.TEST: "how well it is recognised is not measured",
            }
            sentences.append(
                f"Class {name!r} has {n} {'image' if n == 1 else 'images'} (or too few separate groups) "
                f"and none in {' and '.join(absent)}: {'; '.join(follows[split] for split in absent)}."
            )
    return tuple(sentences)
