"""A fast computation that asks an exact one where it is close: nearly the fast one's speed, the exact one's decisions.

In bf16 a logit of a small network is off by some hundredths, so that one image in a hundred, whose two best classes
lie closer together than that, is called something else. Those are known beforehand by their lead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from domain_models.compute import Compute, TwoSteps
from domain_models.decision_costs import DecisionCosts
from domain_models.model_package import ModelCard


class SecondLook(BaseModel):
    """Images whose predicted class leads by less than ``lead`` are computed again, exactly.

    Attributes:
        lead: in expected cost, see :meth:`domain_models.decision_costs.DecisionCosts.lead`.
        share: of the validation images that are computed twice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lead: float = Field(ge=0)
    share: float = Field(ge=0, le=1)


def choose_second_look(card: ModelCard, fast: NDArray[np.float32], exact: NDArray[np.float32]) -> SecondLook:
    """A second look at every image whose lead is smaller than the largest error of a lead on these images.

    Args:
        card: of the model.
        fast: logits float32 [n, k] of validation images.
        exact: the same, as they should be.
    """
    (lead, predicted), (true_lead, wanted) = (_lead(card, logits) for logits in (fast, exact))
    error = np.abs(lead - np.where(predicted == wanted, true_lead, -true_lead))
    largest = float(error.max(initial=0.0))
    return SecondLook(lead=largest, share=float((lead < largest).mean()))


def looking_twice(fast: Compute, exact: Compute, card: ModelCard, look: SecondLook) -> Compute:
    """Compute fast, and what is close again exactly."""
    return TwoSteps(fast, exact, lambda logits: _lead(card, logits)[0] < look.lead)


def _lead(card: ModelCard, logits: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    probabilities = card.probabilities(logits)
    costs: DecisionCosts = card.decision_costs
    return costs.lead(probabilities), costs.predicted(probabilities)
