"""The model behind a round: its network for embeddings and overlays, its classes as the taxonomy calls them today."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import NotFound
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace
from domain_models.calibrators import Calibration
from pipelines.steps.embeddings import Embedder
from pipelines.steps.model_classes import shares_today

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RoundModel:
    """A registered model.

    ``classes`` are its own, in index order, as taxonomy version ``trained_under`` calls them; ``confusion`` int64
    [k, k] of validation images.
    """

    version: str
    embedder: Embedder
    classes: tuple[str, ...]
    trained_under: int | None
    calibration: Calibration
    confusion: NDArray[np.int64]

    def shares(self, taxonomy: Taxonomy) -> Floats:
        """See :func:`~pipelines.steps.model_classes.shares_today`."""
        return shares_today(self.classes, self.trained_under, taxonomy)

    def probabilities(self, embeddings: NDArray[np.float32]) -> Floats:
        """Calibrated probabilities, float64 [n, k], of embeddings float32 [n, d]; a row of NaN stays one."""
        layer = self.embedder.network.classifier
        weight = layer.weight.detach().float().cpu().numpy()
        bias = layer.bias.detach().float().cpu().numpy() if layer.bias is not None else np.zeros(len(weight))
        out = np.full((len(embeddings), len(self.classes)), np.nan)
        known = np.isfinite(embeddings).all(axis=1)
        if known.any():
            logits = (embeddings[known] @ weight.T + bias).astype(np.float32)
            out[known] = self.calibration.probabilities(logits)
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
        trained_under=card.taxonomy_version,
        calibration=card.network_calibrated_by,
        confusion=confusion,
    )


def confusion_today(model: RoundModel, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """The model's confusion matrix between the classes in use, int64 [k, k].

    The parts of a class that was split since share its counts: to this model they are one class, so they are confused.
    """
    shares = model.shares(taxonomy)
    return np.rint(shares.T @ model.confusion @ shares).astype(np.int64)
