"""Changes of the taxonomy: rename, merge, split, and what the profile says anew. Pure: a version in, the next one out.

The rules, in full:

1. **Rename**: the class keeps its place; the old name becomes an alias, so old labels still mean it.
2. **Merge**: what the merged classes were called becomes aliases of the class that takes them in; old labels of each
   mean that class. The merged classes keep their places as retired.
3. **Split**: labels of the class mean *one of* the new classes and nobody knows which: their images are unlabelled and
   wait, until somebody says one of the new classes, whatever the source of the old label and of the new.
4. Each is undone by another: a rename by renaming back; a split by merging its parts into the former name (the old
   labels then mean one class again); a merge by splitting into the former names, whose own labels mean them again,
   while what was said under the common name in between waits for a person.
5. A name that was retired by a split never becomes another class, and no change makes a label mean two classes.

Long because each change stands beside the rule that undoes it; apart, the two would drift.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from data_contracts.errors import BadInput, NotFound, Refused
from data_contracts.label_rules import FORMULA_MARKS, unusable_label
from data_contracts.taxonomy import (
    ChangeKind,
    ClassSplit,
    RetiredClass,
    Taxonomy,
    TaxonomyChange,
    TaxonomyClass,
)


def renamed(taxonomy: Taxonomy, old: str, new: str) -> Taxonomy:
    """The next version, in which the class ``old`` is called ``new`` and ``old`` is an alias.

    Raises:
        NotFound: no class in use goes by ``old``.
        BadInput: ``new`` is no usable name, or means another class.
    """
    index, item = _find(taxonomy, old)
    new = _usable(new)
    if new == item.name:
        raise BadInput(f"The class is called {new!r} already.")
    _require_free(taxonomy, new, but=item.name)
    aliases = tuple(name for name in _distinct(*item.spellings) if name != new)
    classes = _reparented(
        _replaced(taxonomy, index, item.model_copy(update={"name": new, "aliases": aliases})), item, new
    )
    return _checked(taxonomy, ChangeKind.RENAME, (item.name,), (new,), classes)


def merged(taxonomy: Taxonomy, sources: Sequence[str], into: str, *, events: int) -> Taxonomy:
    """The next version, in which labels of all ``sources`` mean ``into``: one of them, another class, or a new one.

    A name that was split before comes back into use in its old place.

    Args:
        taxonomy: the current version.
        sources: names of classes in use.
        into: the class that takes them in.
        events: how many label events there are.

    Raises:
        NotFound: a source is no class in use.
        BadInput: nothing would change, or ``into`` is no usable name.
    """
    found = dict(_find(taxonomy, name) for name in _distinct(*sources))
    target_name = taxonomy.resolve(into)
    into = into if target_name is not None else _usable(into)
    classes, retired = taxonomy.classes, taxonomy.retired
    if target_name is not None:
        index, target = _find(taxonomy, target_name)
    elif (back := _retired(taxonomy, into, ChangeKind.SPLIT)) is not None:
        index, target = back.index, classes[back.index]
        retired = tuple(item for item in retired if item is not back)
        free = {*target.aliases} - {name for item in taxonomy.active for name in item.spellings}
        target = target.model_copy(update={"aliases": tuple(name for name in target.aliases if name in free)})
    else:
        if len(found) == 1:
            raise BadInput(
                f"There is no class {into!r}, and merging one class alone would only rename it.",
                remedy=f"Use `tailsight taxonomy rename {next(iter(found.values())).name} {into}`, or merge several.",
            )
        index, target = len(classes), _new_class(into, list(found.values()))
        classes = (*classes, target)
    gone = {number: item for number, item in found.items() if number != index}
    if not gone:
        raise BadInput(f"Merging {target.name!r} into itself changes nothing.", remedy="Name at least one other class.")
    aliases = _distinct(*target.aliases, *(name for item in gone.values() for name in item.spellings))
    target = target.model_copy(update={"aliases": tuple(name for name in aliases if name != target.name)})
    classes = (*classes[:index], target, *classes[index + 1 :])
    for item in gone.values():
        classes = _reparented(classes, item, target.name)
    now = taxonomy.version + 1
    retired += tuple(
        RetiredClass(index=number, kind=ChangeKind.MERGE, into=(target.name,), version=now, events=events)
        for number in gone
    )
    names = tuple(item.name for item in found.values())
    return _checked(taxonomy, ChangeKind.MERGE, names, (target.name,), classes, retired=retired)


def split(taxonomy: Taxonomy, source: str, into: Sequence[str], *, events: int) -> Taxonomy:
    """The next version, in which labels of ``source`` mean one of ``into`` and wait for a person.

    Classes that were merged into ``source`` before get their own labels back. ``source`` may itself be in ``into``:
    it then stays, and only labels since the merge that is being undone (all, where there was none) wait.

    Args:
        taxonomy: the current version.
        source: name of a class in use.
        into: at least two names: classes in use, former classes, or new ones.
        events: how many label events there are.

    Raises:
        NotFound: ``source`` is no class in use.
        BadInput: fewer than two names, or one that cannot be used.
    """
    index, item = _find(taxonomy, source)
    others = {name: other for name in into if (other := taxonomy.resolve(name)) not in (None, item.name)}
    names = _distinct(
        *(others[name] if name in others else name if name == item.name else _usable(name) for name in into)
    )
    if len(names) < 2:
        raise BadInput(f"Splitting {item.name!r} needs at least two classes.", remedy="Give --into B C.")
    classes, retired = taxonomy.classes, list(taxonomy.retired)
    own = list(item.spellings)
    back: list[RetiredClass] = []
    added: list[TaxonomyClass] = []
    for name in names:
        former = _merged_into(taxonomy, name, item.name)
        if name == item.name or name in others.values():
            continue
        if former is not None:
            back.append(former)
            own = [spelling for spelling in own if spelling not in classes[former.index].spellings]
            continue
        if _retired(taxonomy, name, ChangeKind.SPLIT) is not None:
            raise _burnt(taxonomy, name)
        added.append(_new_class(name, [item]))
    now, stays = taxonomy.version + 1, item.name in names
    retired = [one for one in retired if one not in back]
    if stays:
        kept = tuple(spelling for spelling in own if spelling not in names and spelling != item.name)
        classes = _replaced(taxonomy, index, item.model_copy(update={"aliases": kept}))
    else:
        left = item.model_copy(update={"aliases": tuple(spelling for spelling in own if spelling != item.name)})
        classes = _reparented(_replaced(taxonomy, index, left), item, None)
        retired.append(RetiredClass(index=index, kind=ChangeKind.SPLIT, into=names, version=now, events=events))
    only_back = stays and len(back) == len(names) - 1
    record = ClassSplit(
        labels=tuple(own),
        into=names,
        version=now,
        events=events,
        after_version=min(one.version for one in back) if only_back else 0,
        after_events=min(one.events for one in back) if only_back else 0,
    )
    return _checked(
        taxonomy, ChangeKind.SPLIT, (item.name,), names, classes + tuple(added),
        retired=tuple(retired), splits=(*taxonomy.splits, record),
    )  # fmt: skip


def described(taxonomy: Taxonomy, said: Sequence[TaxonomyClass]) -> tuple[Taxonomy, tuple[str, ...]]:
    """What a profile's classes change: descriptions, severities, reference images, more aliases, classes at the end.

    Nothing is ever taken away: a class that the profile no longer has stays, and so do aliases. A former name in the
    profile is no new class; a sentence says so.

    Returns:
        The next version (the same one where nothing changes) and sentences that a person should read.

    Raises:
        BadInput: an alias or a new name already means another class.
    """
    if taxonomy.version == 0 and said:
        names = tuple(item.name for item in said)
        return _checked(taxonomy, ChangeKind.ADD, (), names, tuple(said)), ()
    away = {item.index for item in taxonomy.retired}
    places = {item.name: index for index, item in enumerate(taxonomy.classes) if index not in away}
    classes, sentences, touched, added = list(taxonomy.classes), [], [], []
    for item in said:
        current = taxonomy.resolve(item.name)
        if current is None and taxonomy.split_of(item.name) is not None:
            parts = " and ".join(_last_split(taxonomy, item.name).into)
            sentences.append(
                f"The profile still has the class {item.name!r}, which was split into {parts}; it is left out. "
                "Write the new classes into the profile."
            )
        elif current is None:
            added.append(item)
        elif current != item.name:
            sentences.append(
                f"The profile calls a class {item.name!r} that is now {current!r}; write the new name into the "
                "profile, so that its description counts."
            )
        else:
            old = classes[places[current]]
            parent = None if item.parent is None else taxonomy.resolve(item.parent) or item.parent
            new = item.model_copy(update={"aliases": _distinct(*old.aliases, *item.aliases), "parent": parent})
            if new != old:
                classes[places[current]] = new
                touched.append(item.name)
    if added:
        known = {name for item in said for name in item.spellings}
        missing = [item.name for item in taxonomy.active if not known & {*item.spellings}]
        if missing:
            sentences.append(
                f"The profile adds {_listed(item.name for item in added)} and no longer has {_listed(missing)}, which "
                "stays. If one is a new name of the other, say so: `tailsight taxonomy merge OLD --into NEW`."
            )
    if not touched and not added:
        return taxonomy, tuple(sentences)
    kind = ChangeKind.ADD if added else ChangeKind.DESCRIBE
    names = tuple(item.name for item in added) if added else tuple(touched)
    return _checked(taxonomy, kind, (), names, (*classes, *added)), tuple(sentences)


def _find(taxonomy: Taxonomy, name: str) -> tuple[int, TaxonomyClass]:
    """Place and entry of the class in use that goes by ``name`` or has it as an alias."""
    resolved = taxonomy.resolve(name)
    away = {item.index for item in taxonomy.retired}
    for index, item in enumerate(taxonomy.classes):
        if index not in away and item.name == resolved:
            return index, item
    split_before = taxonomy.split_of(name)
    near = difflib.get_close_matches(name, taxonomy.names, n=1, cutoff=0.5)
    if split_before is not None:
        remedy = f"It was split into {_listed(split_before.into)}."
    elif near:
        remedy = f"Did you mean {near[0]!r}?"
    else:
        remedy = f"The classes are: {', '.join(taxonomy.names) or 'none yet'}."
    raise NotFound(f"There is no class {name!r}.", remedy=remedy)


def _usable(name: str) -> str:
    name = unicodedata.normalize("NFC", name).strip()
    problem = unusable_label(name)
    if not name:
        problem = "It is empty."
    elif name.startswith(FORMULA_MARKS):
        problem = f"It begins with {name[0]!r}, which a spreadsheet runs as a formula."
    if problem:
        raise BadInput(f"{name[:60]!r} cannot be the name of a class.", cause=problem)
    return name


def _require_free(taxonomy: Taxonomy, name: str, *, but: str) -> None:
    holder = taxonomy.resolve(name)
    if holder is not None and holder != but:
        raise BadInput(
            f"{name!r} is already {'a class' if holder == name else f'another name of the class {holder!r}'}.",
            remedy=f"To make one class of both, use `tailsight taxonomy merge {but} --into {holder}`.",
        )
    if _retired(taxonomy, name, ChangeKind.SPLIT) is not None:
        raise _burnt(taxonomy, name)


def _burnt(taxonomy: Taxonomy, name: str) -> Refused:
    parts = _last_split(taxonomy, name).into
    return Refused(
        f"{name!r} was split into {_listed(parts)}, and labels that say {name!r} wait for a person.",
        remedy=f"Choose another name, or take the split back with `tailsight taxonomy merge {' '.join(parts)} "
        f"--into {name}`.",
    )


def _last_split(taxonomy: Taxonomy, name: str) -> ClassSplit:
    return next(item for item in reversed(taxonomy.splits) if name in item.labels)


def _retired(taxonomy: Taxonomy, name: str, kind: ChangeKind) -> RetiredClass | None:
    """The retired class of this name that was retired last in this way."""
    found = [item for item in taxonomy.retired if item.kind is kind and taxonomy.classes[item.index].name == name]
    return max(found, key=lambda item: item.version, default=None)


def _merged_into(taxonomy: Taxonomy, name: str, holder: str) -> RetiredClass | None:
    """The class ``name`` that was merged into what is now called ``holder``."""
    former = _retired(taxonomy, name, ChangeKind.MERGE)
    return former if former is not None and taxonomy.resolve(former.into[0]) == holder else None


def _new_class(name: str, sources: Sequence[TaxonomyClass]) -> TaxonomyClass:
    parents = {item.parent for item in sources}
    return TaxonomyClass(
        name=name,
        parent=parents.pop() if len(parents) == 1 else None,
        severity=max(item.severity for item in sources),
    )


def _replaced(taxonomy: Taxonomy, index: int, item: TaxonomyClass) -> tuple[TaxonomyClass, ...]:
    return (*taxonomy.classes[:index], item, *taxonomy.classes[index + 1 :])


def _reparented(classes: tuple[TaxonomyClass, ...], old: TaxonomyClass, new: str | None) -> tuple[TaxonomyClass, ...]:
    """Children of a class follow it."""
    follow = new if new is not None else old.parent
    return tuple(
        item.model_copy(update={"parent": None if follow == item.name else follow}) if item.parent == old.name else item
        for item in classes
    )


def _distinct(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _checked(
    taxonomy: Taxonomy,
    kind: ChangeKind,
    sources: tuple[str, ...],
    into: tuple[str, ...],
    classes: tuple[TaxonomyClass, ...],
    *,
    retired: tuple[RetiredClass, ...] | None = None,
    splits: tuple[ClassSplit, ...] | None = None,
) -> Taxonomy:
    change = TaxonomyChange(kind=kind, sources=sources, into=into)
    try:
        return taxonomy.changed(change=change, classes=classes, retired=retired, splits=splits)
    except ValidationError as error:
        problem = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise BadInput(
            f"The classes cannot be changed in this way: {problem}.",
            remedy="Give each name and alias to one class only; `tailsight taxonomy merge` makes one class of two.",
        ) from None
