"""Recorded changes of the taxonomy, and what they do to the labels that there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from pydantic import BaseModel, ConfigDict

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.taxonomies import change_taxonomy, follow_profile
from data_contracts.profile import Profile
from data_contracts.taxonomy import ChangeKind, Taxonomy
from data_contracts.taxonomy_changes import merged, renamed, split
from data_contracts.workspace import Workspace
from pipelines.steps.ledger import open_ledger

LOCK_SECONDS = 60.0


class ClassEntry(BaseModel):
    """A class in use. ``index`` is its place in the taxonomy, which it keeps; ``images`` bear its label now."""

    model_config = ConfigDict(frozen=True)

    index: int
    name: str
    aliases: list[str]
    images: int


class FormerClass(BaseModel):
    """A class that is no longer used, and what became of it in which version."""

    model_config = ConfigDict(frozen=True)

    index: int
    name: str
    kind: ChangeKind
    into: list[str]
    version: int


class TaxonomyReport(BaseModel):
    """What was changed. ``relabelled`` images mean another class than before; ``waiting`` ones mean none any more."""

    model_config = ConfigDict(frozen=True)

    kind: ChangeKind
    sources: list[str]
    into: list[str]
    version: int
    previous_version: int
    who: str
    why: str
    relabelled: int
    waiting: int
    settled: int
    classes: list[ClassEntry]
    retired: list[FormerClass]
    undo: str
    sentences: list[str]


def rename_class(workspace: Workspace, old: str, new: str, *, who: str, why: str) -> TaxonomyReport:
    """Call a class by a new name; the old one stays as an alias.

    Raises:
        NotFound: no class goes by ``old``.
        BadInput: the new name cannot be used or means another class, or who or why is blank.
        Busy: an ingest or curate is at work in this workspace.
    """
    return _change(workspace, lambda current, _: renamed(current, old, new), who, why)


def merge_classes(workspace: Workspace, sources: Sequence[str], into: str, *, who: str, why: str) -> TaxonomyReport:
    """Make one class of several; every label of theirs then means it.

    Raises:
        NotFound: one of ``sources`` is no class.
        BadInput: nothing would change, a name cannot be used, or who or why is blank.
        Busy: see :func:`rename_class`.
    """
    return _change(workspace, lambda current, events: merged(current, sources, into, events=events), who, why)


def split_class(workspace: Workspace, source: str, into: Sequence[str], *, who: str, why: str) -> TaxonomyReport:
    """Make several classes of one; its images wait until a person says which.

    Raises:
        NotFound: ``source`` is no class.
        BadInput: fewer than two classes, a name cannot be used, or who or why is blank.
        Refused: a name that was split itself.
        Busy: see :func:`rename_class`.
    """
    return _change(workspace, lambda current, events: split(current, source, into, events=events), who, why)


def _change(workspace: Workspace, change: Callable[[Taxonomy, int], Taxonomy], who: str, why: str) -> TaxonomyReport:
    profile = workspace.require().profile
    with workspace.lock("ingest", wait_seconds=LOCK_SECONDS), open_ledger(workspace) as ledger:
        before, remarks = follow_profile(ledger, profile.taxonomy, "profile")
        labels_before = _labels(ledger)
        after = change_taxonomy(ledger, change, who, why)
        labels = _labels(ledger)
    assert after.change is not None
    # a former name in the profile still means the class; what the profile says of it is what the person should move
    old, new = labels_before.align(labels)
    away = {item.index: item for item in after.retired}
    return TaxonomyReport(
        kind=after.change.kind,
        sources=list(after.change.sources),
        into=list(after.change.into),
        version=after.version,
        previous_version=before.version,
        who=who,
        why=why,
        relabelled=int((old.notna() & new.notna() & (old != new)).sum()),
        waiting=int((old.notna() & new.isna()).sum()),
        settled=int((old.isna() & new.notna()).sum()),
        classes=[
            ClassEntry(index=index, name=item.name, aliases=list(item.aliases), images=int((labels == item.name).sum()))
            for index, item in enumerate(after.classes)
            if index not in away
        ],
        retired=[
            FormerClass(
                index=item.index,
                name=after.classes[item.index].name,
                kind=item.kind,
                into=list(item.into),
                version=item.version,
            )
            for item in after.retired
        ],
        undo=_undo(before, after),
        sentences=[*remarks, *_profile_sentences(profile, after)],
    )


def _labels(ledger: Ledger) -> pd.Series[str]:
    """Current label by image id; ``None`` where there is none."""
    return image_answers(ledger).set_index("image_id")["label"]


def _undo(before: Taxonomy, after: Taxonomy) -> str:
    """The command that takes the change back."""
    change = after.change
    assert change is not None
    verb = "tailsight taxonomy"
    sources, into = (" ".join(_word(name) for name in names) for names in (change.sources, change.into))
    if change.kind is ChangeKind.RENAME:
        return f"{verb} rename {into} {sources}"
    if change.kind is ChangeKind.SPLIT:
        parts = " ".join(_word(name) for name in change.into if name not in change.sources)
        return f"{verb} merge {parts} --into {sources}"
    target = change.into[0]
    parts_of = [name for name in change.sources if name != target]
    if target in before.names:
        parts_of.insert(0, target)
    return f"{verb} split {into} --into {' '.join(_word(name) for name in parts_of)}"


def _word(name: str) -> str:
    import shlex

    return shlex.quote(name)


def _profile_sentences(profile: Profile, taxonomy: Taxonomy) -> list[str]:
    """Where tailsight.yaml still uses a name that is no longer the name of a class."""
    places = {
        "pass_class": [profile.pass_class] if profile.pass_class else [],
        "costs": [name for cost in profile.costs for name in (cost.actual, cost.predicted)],
        "taxonomy": [item.name for item in profile.taxonomy],
    }
    sentences = []
    for place, names in places.items():
        for name in dict.fromkeys(names):
            if name in taxonomy.names:
                continue
            meant = taxonomy.resolve(name)
            if meant is not None:
                sentences.append(f"tailsight.yaml, {place}: {name!r} is read as {meant!r}; write the new name there.")
            elif (parts := taxonomy.split_of(name)) is not None:
                sentences.append(
                    f"tailsight.yaml, {place}: {name!r} was split into {', '.join(parts.into)} and counts for nothing "
                    "there any more; say which of them is meant."
                )
    return sentences
