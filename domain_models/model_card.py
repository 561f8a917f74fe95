"""The card of a model: what it is, what it was made from, and how its output becomes a decision. Knows no framework."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_contracts.errors import IntegrityError, NotFound
from domain_models.architecture import Architecture
from domain_models.calibrators import Calibration
from domain_models.cascade import Cascade
from domain_models.decision_costs import EQUAL_COSTS, DecisionCosts
from domain_models.preprocessing import Preprocessing

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.json"
ONNX_FILE = "model.onnx"


class RetrainedFrom(BaseModel):
    """Where an incremental training began and what it learned, in training images.

    ``last_full_at`` and ``full_preset`` are those of the last full training among its ancestors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: str
    champion_run_key: str
    champion_dataset_version: str | None
    last_full_at: datetime
    full_preset: str | None = None
    new: int = Field(ge=0)
    corrected: int = Field(ge=0)
    replayed: int = Field(ge=0)


class ModelCard(BaseModel):
    """What a model is, what it was made from, and how its output becomes a decision.

    ``temperature`` divides the logits before the softmax; ``calibration`` says what else is done to them, if anything
    (:meth:`probabilities` does all of it). The predicted class is the one that is expected to cost least by
    ``decision_costs``. ``triage`` is the triage rule as its own module wrote it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    architecture: Architecture
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float = Field(default=1.0, gt=0)
    calibration: Calibration | None = None
    decision_costs: DecisionCosts = EQUAL_COSTS
    triage: dict[str, Any] = Field(default_factory=dict)
    dataset_version: str | None = None
    taxonomy_version: int | None = None
    profile_hash: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    preset: str | None = None
    choices: tuple[str, ...] = Field(default=(), description="what the preset chose, in words")
    seed: int = 0
    parents: tuple[str, ...] = Field(default=(), description="model versions that training began with")
    retrained_from: RetrainedFrom | None = None
    cascade: Cascade | None = Field(default=None, description="a smaller model in `first/` answers what it is sure of")
    metrics: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def calibrated_by(self) -> Calibration:
        """How logits become probabilities."""
        return self.calibration or Calibration(temperature=self.temperature)

    @property
    def network_calibrated_by(self) -> Calibration:
        """The same for logits of the package's own network; in a cascade it answers a part of the images only."""
        return self.cascade.calibration if self.cascade else self.calibrated_by

    def probabilities(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Calibrated probabilities float64 [n, k] of logits float [n, k]."""
        return self.calibrated_by.probabilities(logits)


def read_card(folder: Path) -> ModelCard:
    """The card of a package.

    Raises:
        NotFound: the folder holds no (finished) package.
        IntegrityError: the card cannot be read.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise NotFound(f"{folder} holds no model ({CARD_FILE} is missing).")
    try:
        return ModelCard.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"The model card {path} cannot be read ({type(error).__name__}).",
            cause="The file was damaged, or written by another version.",
        ) from None
