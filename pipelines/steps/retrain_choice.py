"""Which champion a retraining goes on from, what changed since, and which mode follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from data_contracts.errors import BadInput, IntegrityError, NotFound
from data_contracts.records import DatasetVersion
from data_contracts.vocabulary import Alias, Split
from data_contracts.workspace import Workspace
from domain_models.model_card import ModelCard, RetrainedFrom, read_card
from domain_models.retraining_choice import DAYS_PER_MONTH, ChangeFacts, Mode, choose_mode
from pipelines.steps.dataset import load_dataset
from pipelines.steps.registry import open_registry
from pipelines.steps.retrain_changes import Changes, Compared, compare, meanings


@dataclass(frozen=True)
class FormerChampion:
    """The champion, and the manifest that it was trained on (``None`` where that cannot be read any more)."""

    version: str
    run_key: str
    package: Path
    card: ModelCard
    manifest: pd.DataFrame | None

    @property
    def last_full_at(self) -> datetime:
        """When it, or the ancestor that training went on from, was trained in full."""
        return self.card.retrained_from.last_full_at if self.card.retrained_from else self.card.created_at

    @property
    def full_preset(self) -> str | None:
        """The preset of that full training."""
        return self.card.retrained_from.full_preset if self.card.retrained_from else self.card.preset

    def names_now(self, dataset: DatasetVersion) -> dict[str, str]:
        """What its classes are called in a dataset version."""
        return meanings(dataset.taxonomy, self.card.classes, self.card.taxonomy_version)

    def origin(self, changes: Changes, replayed: int) -> RetrainedFrom:
        """What the card of a model says that was trained on from it."""
        return RetrainedFrom(
            champion=self.version,
            champion_run_key=self.run_key,
            champion_dataset_version=self.card.dataset_version,
            last_full_at=self.last_full_at,
            full_preset=self.full_preset,
            new=changes.train.new,
            corrected=changes.train.corrected,
            replayed=replayed,
        )


def parse_mode(name: str) -> Mode:
    """A mode by name.

    Raises:
        BadInput: there is no such mode.
    """
    try:
        return Mode(name)
    except ValueError:
        raise BadInput(
            f"There is no mode {name!r}.", remedy=f"Modes: {', '.join(mode.value for mode in Mode)}."
        ) from None


def former_champion(workspace: Workspace) -> FormerChampion | None:
    """The champion as it stands, ``None`` where there is none."""
    with open_registry(workspace) as registry:
        version = registry.alias(Alias.CHAMPION)
        if version is None:
            return None
        package = registry.package(version)
        run_key = registry.info(version).run_key
    card = read_card(package)
    manifest = None
    if card.dataset_version is not None:
        try:
            _, manifest = load_dataset(workspace, card.dataset_version)
        except (NotFound, IntegrityError):
            manifest = None
    return FormerChampion(version, run_key, package, card, manifest)


def compared_with(before: FormerChampion | None, dataset: DatasetVersion, manifest: pd.DataFrame) -> Compared | None:
    """What changed since the champion; ``None`` where there is nothing to compare with."""
    if before is None or before.manifest is None:
        return None
    return compare(before.manifest, manifest, before.names_now(dataset), dataset.taxonomy.names, before.card.classes)


def chosen_mode(
    wanted: Mode, before: FormerChampion | None, compared: Compared | None, manifest: pd.DataFrame, now: datetime
) -> tuple[Mode | None, list[str]]:
    """The mode and why; no mode where there is nothing to learn."""
    if before is None:
        return Mode.FULL, ["There is no champion to go on from."]
    if wanted is Mode.FULL:
        return Mode.FULL, ["A full training was asked for."]
    if compared is not None and not compared.changes.anything_to_learn:
        tested = compared.changes.test.changed
        return None, [
            f"Nothing new to learn since model version {before.version}: no label of a training or validation image "
            "was added, corrected or taken away" + (f" ({tested} test images changed)." if tested else ".")
        ]
    if wanted is Mode.INCREMENTAL:
        return Mode.INCREMENTAL, ["An incremental training was asked for."]
    changes = compared.changes if compared else None
    choice = choose_mode(
        ChangeFacts(
            changed=changes.train.changed if changes else 0,
            training_images=max(1, int((manifest["split"] == Split.TRAIN.value).sum())),
            new_classes=changes.new_classes if changes else {},
            gone_classes=changes.gone_classes if changes else (),
            months_since_full=(now - before.last_full_at).total_seconds() / 86400 / DAYS_PER_MONTH,
            champion_readable=compared is not None,
        )
    )
    return choice.mode, list(choice.reasons)
