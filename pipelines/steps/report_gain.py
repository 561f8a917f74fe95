"""What a model learned since the one before it, and what that gained on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from pydantic import BaseModel, ConfigDict

from data_contracts.errors import TailsightError
from data_contracts.ledger.promotions import promotions
from data_contracts.progress import Progress
from data_contracts.records import DatasetVersion, PromotionEvent
from data_contracts.vocabulary import Alias, Split
from data_contracts.workspace import Workspace
from domain_models.model_card import ModelCard, read_card
from domain_models.paired_gain import Difference, PairedGain, paired_gain
from domain_models.report import Section, Table
from domain_models.tracking import Registry
from pipelines.steps.dataset import load_dataset
from pipelines.steps.ledger import open_ledger
from pipelines.steps.model_classes import indistinct
from pipelines.steps.predictions import Predictions, joined, predict_split
from pipelines.steps.retrain_changes import Change, Changes, compare, meanings


class ClassGain(BaseModel):
    """A class that labels were corrected to or away from: training and validation images, and its recall."""

    model_config = ConfigDict(frozen=True)

    name: str
    corrected_to: int
    corrected_away: int
    recall_before: float | None
    recall_after: float | None
    recall_gained_ci: tuple[float, float] | None


class LearnedSince(BaseModel):
    """What a model learned since its predecessor, and what all of it gained together on ``n`` test images.

    ``new`` and ``corrected`` count labelled training and validation images. Figures are the model's minus its
    predecessor's, with paired 95% intervals.
    """

    model_config = ConfigDict(frozen=True)

    predecessor: str
    predecessor_dataset_version: str
    new: int
    corrected: int
    n: int
    macro_f1_before: float
    macro_f1_after: float
    macro_f1_gained: float
    macro_f1_gained_ci: tuple[float, float] | None
    classes: tuple[ClassGain, ...]


@dataclass(frozen=True)
class _Corrected:
    """Corrected training and validation images by class: to it, and away from it."""

    changes: Changes
    to: dict[str, int]
    away: dict[str, int]


def predecessor(card: ModelCard, version: str, history: Sequence[PromotionEvent]) -> str | None:
    """The model that this one was to replace: the champion that training went on from, else that of its time."""
    if card.cascade is not None:
        return None  # it has learned nothing that its large model had not
    if card.retrained_from is not None:
        return card.retrained_from.champion
    earlier = [e for e in history if e.to_alias is Alias.CHAMPION and e.at < card.created_at]
    return earlier[-1].model_version if earlier and earlier[-1].model_version != version else None


def learned_since(
    workspace: Workspace,
    registry: Registry,
    version: str,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    own: Predictions,
    *,
    seed: int,
    progress: Progress,
) -> LearnedSince | None:
    """What a model learned and gained; ``None`` where it had no predecessor, or that one cannot be compared any more.

    Args:
        workspace: whose ledger and caches.
        registry: knows both models.
        version: of the newer one.
        dataset: whose test edition both are judged on.
        manifest: its manifest.
        own: predictions of the newer one on these test images.
        seed: of the bootstrap.
        progress: told of predictions that have to be made.
    """
    card = read_card(registry.package(version))
    with open_ledger(workspace) as ledger:
        before = predecessor(card, version, promotions(ledger))
    if before is None:
        return None
    try:
        former = read_card(registry.package(before))
        other = predict_split(workspace, registry, before, dataset, manifest, Split.TEST, progress)
        corrected = _corrected(workspace, former, card)
        together = indistinct(former.classes, former.taxonomy_version, dataset.taxonomy)
        if together:
            own, other = joined(own, together), joined(other, together)
    except TailsightError:  # pruned, or of classes that nothing in use corresponds to
        return None
    if corrected is None or former.dataset_version is None:
        return None
    gain = paired_gain(
        own.labels,
        other.predicted,
        own.predicted,
        own.components,
        len(own.classes),
        seed=seed,
    )
    parts = (corrected.changes.train, corrected.changes.val)
    return LearnedSince(
        predecessor=before,
        predecessor_dataset_version=former.dataset_version,
        new=sum(part.new for part in parts),
        corrected=sum(part.corrected for part in parts),
        n=len(own.labels),
        macro_f1_before=gain.macro_f1.before,
        macro_f1_after=gain.macro_f1.after,
        macro_f1_gained=gain.macro_f1.gained,
        macro_f1_gained_ci=gain.macro_f1.interval,
        classes=_by_class(corrected, gain, own.classes),
    )


def gain_section(found: LearnedSince) -> Section:
    """The same for a person who reads the report."""
    what = f"model version {found.predecessor}"
    difference = Difference(found.macro_f1_before, found.macro_f1_after, found.macro_f1_gained_ci)
    judged = (
        "a difference that chance alone would not make" if difference.beyond_chance else "no more than chance makes"
    )
    interval = found.macro_f1_gained_ci
    between = "" if interval is None else f" (95% {interval[0]:+.3f} to {interval[1]:+.3f})"
    sentences = [
        f"Since {what}: {found.corrected:,} corrected and {found.new:,} new labels on training and validation images.",
        f"On the same {found.n:,} test images, macro-F1 went from {found.macro_f1_before:.3f} to "
        f"{found.macro_f1_after:.3f}: {found.macro_f1_gained:+.3f}{between}, {judged}.",
        "Both models are held against today's labels. Corrections, new labels and the training itself were learned "
        "together, so this is what they gained together; how much each did cannot be told.",
    ]
    rows = tuple(
        (
            one.name,
            str(one.corrected_to),
            str(one.corrected_away),
            _share(one.recall_before),
            _share(one.recall_after),
            "no interval"
            if one.recall_gained_ci is None
            else f"{100 * one.recall_gained_ci[0]:+.1f} to {100 * one.recall_gained_ci[1]:+.1f}",
        )
        for one in found.classes
    )
    header = ("Class", "Corrected to it", "Corrected away", "Recall before", "Recall now", "Difference in points, 95%")
    caption = "Classes whose labels were corrected"
    tables = (Table(header=header, rows=rows, numeric=(1, 2, 3, 4, 5), caption=caption),) if rows else ()
    return Section(title=f"What it learned since {what}", sentences=tuple(sentences), tables=tables)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _corrected(workspace: Workspace, former: ModelCard, card: ModelCard) -> _Corrected | None:
    """What was corrected between the dataset versions of both; ``None`` where one is not known."""
    if former.dataset_version is None or card.dataset_version is None:
        return None
    _, old = load_dataset(workspace, former.dataset_version)
    dataset, new = load_dataset(workspace, card.dataset_version)
    names_now = meanings(dataset.taxonomy, former.classes, former.taxonomy_version)
    compared = compare(old, new, names_now, dataset.taxonomy.names, former.classes)
    learned = new[new["split"].isin([Split.TRAIN.value, Split.VAL.value])]
    changed = learned[learned["image_id"].map(compared.kinds) == Change.CORRECTED]
    before = changed["image_id"].map(dict(zip(old["image_id"], old["label"], strict=True))).map(names_now)
    return _Corrected(compared.changes, _counts(changed["label"]), _counts(before.dropna()))


def _counts(names: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in names.value_counts().items()}


def _by_class(corrected: _Corrected, gain: PairedGain, classes: Sequence[str]) -> tuple[ClassGain, ...]:
    """Classes that corrections concern, in index order; not those that are compared as one with another."""
    found = []
    for name, recall in zip(classes, gain.recall, strict=True):
        to, away = corrected.to.get(name, 0), corrected.away.get(name, 0)
        if to or away:
            found.append(
                ClassGain(
                    name=name,
                    corrected_to=to,
                    corrected_away=away,
                    recall_before=None if recall is None else recall.before,
                    recall_after=None if recall is None else recall.after,
                    recall_gained_ci=None if recall is None else recall.interval,
                )
            )
    return tuple(found)
