"""The model behind a round: its network for embeddings and overlays, its classes as the taxonomy calls them today."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import NotFound
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace
from pipelines.steps.embeddings import Embedder

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RoundModel:
    """A registered model. ``classes`` are its own, in index order; ``confusion`` int64 [k, k] of validation images."""

    version: str
    embedder: Embedder
    classes: tuple[str, ...]
    temperature: float
    confusion: NDArray[np.int64]

    def probabilities(self, embeddings: NDArray[np.float32]) -> Floats:
        """Calibrated probabilities, float64 [n, k], of embeddings float32 [n, d]; a row of NaN stays one."""
        from domain_models.calibration import softmax

        layer = self.embedder.network.classifier
        weight = layer.weight.detach().float().cpu().numpy()
        bias = layer.bias.detach().float().cpu().numpy() if layer.bias is not None else np.zeros(len(weight))
        out = np.full((len(embeddings), len(self.classes)), np.nan)
        known = np.isfinite(embeddings).all(axis=1)
        if known.any():
            logits = (embeddings[known] @ weight.T + bias).astype(np.float32)
            out[known] = softmax(logits, self.temperature)
        return out


def load_round_model(workspace: Workspace, name: str | None) -> RoundModel | None:
    """The named model; without a name the champion, or ``None`` where there is none yet.

    Raises:
        NotFound: the name names nothing.
    """
    from domain_models.model_package import load_package
    from pipelines.steps.registry import open_registry

    if not workspace.mlflow.exists():
        if name is not None and name != Alias.CHAMPION.value:
            raise NotFound(f"There is no model {name!r} yet.", remedy="Run `tailsight train` first.")
        return None
    with open_registry(workspace) as registry:
        version = registry.alias(Alias.CHAMPION) if name is None else registry.resolve(name)
        if version is None:
            return None
        network, card = load_package(registry.package(version))
    validation = card.metrics.get("validation", {})
    k = len(card.classes)
    confusion = np.zeros((k, k), dtype=np.int64)
    if validation.get("classes") and set(validation["classes"]) <= set(card.classes):
        place = [card.classes.index(one) for one in validation["classes"]]
        confusion[np.ix_(place, place)] = np.asarray(validation["confusion"], dtype=np.int64)
    return RoundModel(
        version=version,
        embedder=Embedder.of(network, card.preprocessing),
        classes=card.classes,
        temperature=card.temperature,
        confusion=confusion,
    )


def columns_today(classes: tuple[str, ...], taxonomy: Taxonomy) -> list[int | None]:
    """For each class of a model, its index in the taxonomy as it is now; ``None`` where it is gone."""
    index = {name: number for number, name in enumerate(taxonomy.names)}
    return [index.get(taxonomy.resolve(name) or "") for name in classes]


def in_taxonomy(values: Floats, classes: tuple[str, ...], taxonomy: Taxonomy) -> Floats:
    """Probabilities of a model's classes, float64 [n, k], as float64 [n, classes of the taxonomy].

    A class that the model has never heard of has 0; classes that were merged since add up.
    """
    out = np.zeros((len(values), len(taxonomy.names)))
    for column, target in enumerate(columns_today(classes, taxonomy)):
        if target is not None:
            out[:, target] += values[:, column]
    out[~np.isfinite(values).all(axis=1)] = np.nan
    return out


def confusion_today(model: RoundModel, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """The model's confusion matrix between the classes of the taxonomy, int64 [k, k]."""
    k = len(taxonomy.names)
    out = np.zeros((k, k), dtype=np.int64)
    targets = columns_today(model.classes, taxonomy)
    for actual, row in enumerate(targets):
        for predicted, column in enumerate(targets):
            if row is not None and column is not None:
                out[row, column] += model.confusion[actual, predicted]
    return out
