"""A model as files that anything can read: weights (safetensors), a card (JSON), a graph (ONNX). Never a pickle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load_file, save_file

from data_contracts.errors import BadInput, IntegrityError, NotFound
from data_contracts.workspace import write_atomically
from domain_models.architecture import Architecture
from domain_models.backbones import Classifier
from domain_models.calibrators import Calibration
from domain_models.cascade import Cascade
from domain_models.decision_costs import EQUAL_COSTS, DecisionCosts
from domain_models.graph import write_graph
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


def save_package(folder: Path, network: Classifier, card: ModelCard, *, onnx: bool = True) -> Path:
    """Write a network and its card; the card comes last, so a folder with a card is whole.

    Args:
        folder: made if needed; files of an earlier, unfinished attempt are replaced.
        network: the trained network, moved to the CPU and put in evaluation mode.
        card: describes it.
        onnx: also write the ONNX graph (:func:`domain_models.graph.write_graph`), after checking that ONNX Runtime
            agrees with torch for one image and for several.

    Returns:
        The folder.

    Raises:
        BadInput: the card does not describe the network.
        Refused: the ONNX graph does not compute what the network computes.
    """
    if card.architecture != network.architecture or len(card.classes) != card.architecture.classes:
        raise BadInput("The model card does not describe the network: its architecture or classes differ.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD_FILE).unlink(missing_ok=True)
    network.to("cpu").eval()
    temporary = folder / f".{WEIGHTS_FILE}"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, temporary)
    temporary.replace(folder / WEIGHTS_FILE)
    if onnx:
        write_graph(folder / ONNX_FILE, network, card.preprocessing)
    write_atomically(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    return folder


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


def load_package(folder: Path, device: str = "cpu") -> tuple[Classifier, ModelCard]:
    """Build the network again from its files, in evaluation mode; nothing is unpickled.

    Raises:
        NotFound: the folder holds no package.
        IntegrityError: card and weights do not fit together or are damaged.
    """
    card = read_card(folder)
    if not (folder / WEIGHTS_FILE).is_file():
        raise NotFound(f"{folder} has no {WEIGHTS_FILE}.")
    network = Classifier(card.architecture)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS_FILE), strict=True)
    except Exception as error:  # safetensors and torch raise their own kinds
        raise IntegrityError(
            f"The weights in {folder} do not fit their card ({type(error).__name__}).",
            cause="A file was damaged or replaced.",
        ) from None
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval(), card
