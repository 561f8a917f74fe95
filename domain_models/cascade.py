"""Two models as one: a small one answers what it is sure of, a large one the rest.

A cascade decides differently from either, so it is a model version of its own. Each network keeps the calibration that
validation chose for it; what the cascade says is told in logits of the card's one temperature, so that whoever turns
logits into probabilities by the card gets those of the network that answered. An inverse of the card's calibration
would not do: a calibration that takes label smoothing off cannot say all that a surer network says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput
from domain_models.calibration import softmax
from domain_models.calibrators import Calibration, CalibrationKind
from domain_models.compute import Compute, TwoSteps
from domain_models.decision_costs import DecisionCosts
from domain_models.intervals import Interval
from domain_models.preprocessing import Preprocessing, reduced

FIRST_FOLDER = "first"
"""Where in a cascade's package the package of the small model lies."""

_SMALLEST = 1e-30


class ShownByValidation(BaseModel):
    """What a threshold did on the validation images that it was chosen on; macro-F1 of decisions, without intervals.

    Attributes:
        n: images.
        max_loss: of macro-F1, which was asked for.
        loss: macro-F1 of the large model minus that of the cascade.
        loss_bound: the loss is below this with ``confidence``, by a bootstrap of groups.
        share_first: of the images that the small model answered.
        agreement: share of the images that the cascade calls as the large model does.
        macro_f1_ci: of the cascade, 95%.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(ge=0)
    max_loss: float = Field(ge=0)
    loss: float
    loss_bound: float
    confidence: float = Field(gt=0, lt=1)
    share_first: float = Field(ge=0, le=1)
    agreement: float = Field(ge=0, le=1)
    macro_f1_first: float
    macro_f1_large: float
    macro_f1: float
    macro_f1_ci: Interval | None


class Cascade(BaseModel):
    """What makes a package a cascade, as its card keeps it.

    Attributes:
        threshold: the small model answers an image where its relative lead
            (:meth:`domain_models.decision_costs.DecisionCosts.relative_lead`) is at least this; 1: it answers none.
        columns: where each class of the card is among the small model's.
        calibration: of the large network's logits.
        large: the model version whose network is the package's own.
        first: the model version that answers first.
        validation: what was seen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(ge=0, le=1)
    columns: tuple[int, ...]
    calibration: Calibration
    large: str
    first: str
    validation: ShownByValidation

    @property
    def in_words(self) -> str:
        """Who answers what, for reports."""
        return (
            f"A cascade: model version {self.first} answers an image alone where its lead is at least"
            f" {self.threshold:.3f} ({self.validation.share_first:.1%} of the validation images), model version"
            f" {self.large} the others."
        )


def require_reducible(first: Preprocessing, large: Preprocessing) -> None:
    """See that the small model's pixels can be made of the large one's: one image is decoded once, for both.

    How numbers are normalised belongs to each network and may differ.

    Raises:
        BadInput: they cannot; the remedy says how to train a small model whose pixels can.
    """
    if first.pixel_key == large.pixel_key or (first.reduced_from and first.larger().pixel_key == large.pixel_key):
        return
    settings = [f"preprocessing.reduced_from=[{large.height},{large.width}]"]
    settings += [
        f"preprocessing.{name}={getattr(large, name)}"
        for name in ("channels", "resize", "interpolation", "window_centre", "window_width", "reduced_decoding")
        if getattr(first, name) != getattr(large, name)
    ]
    raise BadInput(
        f"The small model's pixels ({_told(first)}) cannot be made of the large one's ({_told(large)}), and a cascade"
        " reads each image once.",
        remedy="Train the small model with " + " ".join(f"--set {one}" for one in settings) + "."
        if large.reduced_from is None
        else "Take a large model whose own pixels are not reduced from larger ones.",
    )


def answers_early(lead: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Whether the small model answers alone, bool [n], by its relative lead float64 [n]; at threshold 1 never."""
    return np.asarray((lead >= threshold) & (threshold < 1.0))


def as_logits(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float32]:
    """Logits float32 [n, k] of which a softmax at this temperature makes these probabilities, float64 [n, k]."""
    return np.asarray(temperature * np.log(np.maximum(probabilities, _SMALLEST)), dtype=np.float32)


def told_by_first(
    logits: NDArray[np.float32], calibration: Calibration, columns: Sequence[int], temperature: float
) -> NDArray[np.float32]:
    """The small model's logits float32 [n, k'], calibrated as its own card says, in logits of the cascade's card."""
    return as_logits(calibration.probabilities(logits)[:, list(columns)], temperature)


def told_by_large(logits: NDArray[np.float32], calibration: Calibration, temperature: float) -> NDArray[np.float32]:
    """The large network's logits in logits of the cascade's card: as they are where that is its own calibration."""
    if calibration == Calibration(temperature=temperature):
        return logits
    return as_logits(calibration.probabilities(logits), temperature)


def lead_of_first(told: NDArray[np.float32], costs: DecisionCosts, temperature: float) -> NDArray[np.float64]:
    """How sure the small model is of what it calls an image, float64 [n] from 0 to 1, by :func:`told_by_first`."""
    return costs.relative_lead(softmax(told, temperature))


def cascading(
    first: Compute,
    large: Compute,
    cascade: Cascade,
    *,
    first_spec: Preprocessing,
    first_calibration: Calibration,
    costs: DecisionCosts,
    temperature: float,
) -> TwoSteps:
    """The cascade as one computation, from pixels as the large model wants them to logits of the cascade's card.

    Two runtimes differ by some thousandths of a logit; an image whose lead is that close to the threshold may be
    answered by either model, and nothing else differs.

    Args:
        first: the small model, on its own pixels.
        large: the large network.
        cascade: of the card.
        first_spec: of the small model's pixels.
        first_calibration: of the small model's card.
        costs: what decides; of the cascade's card.
        temperature: of the cascade's card.
    """

    def quick(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = np.stack([reduced(image, first_spec) for image in batch])
        return told_by_first(first(pixels), first_calibration, cascade.columns, temperature)

    def thorough(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return told_by_large(large(batch), cascade.calibration, temperature)

    def doubtful(told: NDArray[np.float32]) -> NDArray[np.bool_]:
        return ~answers_early(lead_of_first(told, costs, temperature), cascade.threshold)

    return TwoSteps(quick, thorough, doubtful)


def one_temperature(calibration: Calibration) -> Calibration:
    """The temperature of a calibration, alone: what a cascade's card says."""
    return Calibration(kind=CalibrationKind.TEMPERATURE, temperature=calibration.temperature)


def _told(spec: Preprocessing) -> str:
    reduced_from = "" if spec.reduced_from is None else f", reduced from {spec.reduced_from[1]}×{spec.reduced_from[0]}"
    kind = "grey" if spec.channels == 1 else "RGB"
    return f"{spec.width}×{spec.height} px{reduced_from}, {kind}, {spec.resize.value}, {spec.interpolation.value}"
