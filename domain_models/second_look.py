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
from domain_models.model_card import ModelCard


class SecondLook(BaseModel):
    """Images whose predicted class leads by less than ``lead`` are computed again, exactly.

    Attributes:
        lead: in expected cost, see :meth:`domain_models.decision_costs.DecisionCosts.lead`.
        share: of the validation images that are computed twice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lead: float = Field(ge=0)
    share: float = Field(ge=0, le=1)


TOLERATED = 0.001
"""Share of images that may still be called something else than in exact arithmetic: a fifth of what the gate allows."""


def choose_second_look(card: ModelCard, fast: NDArray[np.float32], exact: NDArray[np.float32]) -> SecondLook:
    """The smallest lead below which a second look leaves at most :data:`TOLERATED` of all decisions changed.

    A decision changes where the error of its lead is larger than the lead. Few validation images change, too few to
    choose by; so every lead is held against every error: images of lead l are expected to change as often as errors
    are larger than l.

    Args:
        card: of the model.
        fast: logits float32 [n, k] of validation images.
        exact: the same, as they should be.
    """
    (lead, predicted), (true_lead, wanted) = (_lead(card, logits) for logits in (fast, exact))
    errors = np.sort(np.abs(lead - np.where(predicted == wanted, true_lead, -true_lead)))
    descending = np.sort(lead)[::-1]
    changed = 1.0 - np.searchsorted(errors, descending, side="right") / max(1, len(errors))
    left = np.cumsum(changed) / max(1, len(lead)) <= TOLERATED  # true down to some lead, then false
    count = int(left.sum())
    if count == len(lead):
        return SecondLook(lead=0.0, share=0.0)
    limit = float(descending[count - 1] if count else np.nextafter(descending[0], np.inf))
    return SecondLook(lead=limit, share=float((lead < limit).mean()))


def looking_twice(fast: Compute, exact: Compute, card: ModelCard, look: SecondLook) -> Compute:
    """Compute fast, and what is close again exactly."""
    return TwoSteps(fast, exact, lambda logits: _lead(card, logits)[0] < look.lead)


def _lead(card: ModelCard, logits: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    probabilities = card.probabilities(logits)
    costs: DecisionCosts = card.decision_costs
    return costs.lead(probabilities), costs.predicted(probabilities)
