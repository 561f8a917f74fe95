"""Which two models become a cascade, and whether they can: one data set, one list of classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data_contracts.errors import BadInput, Refused
from data_contracts.records import DatasetVersion
from data_contracts.workspace import Workspace
from domain_models.model_card import ModelCard, read_card
from pipelines.steps.dataset import load_dataset
from pipelines.steps.registry import open_registry, resolve_model
from pipelines.steps.retrain_changes import meanings


@dataclass(frozen=True)
class Member:
    """One of the two models: its version ("" before it has one), its package and the content hash of that."""

    version: str
    package: Path
    sha256: str
    card: ModelCard

    @property
    def told(self) -> str:
        """How a sentence calls it."""
        return f"model version {self.version}" if self.version else "the small model"


def find_members(workspace: Workspace, model: str | None, first_name: str) -> tuple[Member, Member]:
    """The large model (``None``: the champion, else the candidate) and the small one.

    Raises:
        NotFound: there is no such model.
        BadInput: one is a cascade itself, or both are the same.
    """
    found = []
    with open_registry(workspace) as registry:
        for name in (model, first_name):
            version = resolve_model(registry, name)
            package = registry.package(version)
            found.append(Member(version, package, registry.info(version).package_sha256, read_card(package)))
    large, first = found
    for one in found:
        if one.card.cascade is not None:
            raise BadInput(
                f"Model version {one.version} is a cascade itself.",
                remedy=f"Name one of its models: --model {one.card.cascade.large} or --first {one.card.cascade.first}.",
            )
    if large.version == first.version:
        raise BadInput(f"Model version {large.version} cannot answer before itself.", remedy="Name another --first.")
    return large, first


def learned_from(workspace: Workspace, large: Member) -> tuple[DatasetVersion, pd.DataFrame]:
    """The dataset version that the large model learned from, and its manifest.

    Raises:
        Refused: nobody knows which, or its classes are others.
    """
    if large.card.dataset_version is None:
        raise Refused(
            f"Model version {large.version} does not say which dataset version it learned from.",
            remedy="Train it here, and make a cascade of what was trained.",
        )
    dataset, manifest = load_dataset(workspace, large.card.dataset_version)
    if tuple(dataset.taxonomy.names) != large.card.classes:
        raise Refused(
            f"Model version {large.version} and its dataset version {large.card.dataset_version} have different"
            " classes.",
            remedy="Train a new model.",
        )
    return dataset, manifest


def columns_of_first(large: Member, first: Member, dataset: DatasetVersion) -> tuple[int, ...]:
    """Where each class of the large model is among the small one's.

    Raises:
        BadInput: they decide for different classes.
    """
    names = list(first.card.classes)
    if sorted(names) != sorted(large.card.classes):  # some may only be called otherwise
        now = meanings(dataset.taxonomy, names, first.card.taxonomy_version)
        names = [now.get(name, name) for name in names]
    if sorted(names) != sorted(large.card.classes):
        differing = sorted(set(names) ^ set(large.card.classes))
        raise BadInput(
            f"Model versions {large.version} and {first.version} decide for different classes:"
            f" {', '.join(map(repr, differing))} only in one of them.",
            remedy="Train both on one dataset version.",
        )
    return tuple(names.index(name) for name in large.card.classes)
