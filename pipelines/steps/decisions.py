"""From logits to a decision: calibration, costs, triage rule and conformal sets of one model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from data_contracts.errors import IntegrityError
from domain_models.calibrators import Calibration
from domain_models.conformal import ConformalRule, set_names, sets
from domain_models.decision_costs import EQUAL_COSTS, DecisionCosts
from domain_models.passing import PassRule
from domain_models.triage import TriageRule, decide
from pipelines.steps.model_classes import ClassesToday

if TYPE_CHECKING:  # whoever only hands decisions over needs no torch
    from domain_models.model_card import ModelCard

RULE, CONFORMAL, PASSING = "rule", "conformal", "passing"
"""Keys of a model card's ``triage``."""


@dataclass(frozen=True)
class Decided:
    """What is said of one image. ``probabilities`` float64 [k]; ``reason`` is ``None`` where it is automatic.

    ``confidence`` is the probability of the predicted class; ``margin`` the lead of the most probable over the second.
    """

    predicted: str
    confidence: float
    margin: float
    entropy: float
    probabilities: NDArray[np.float64]
    conformal_set: list[str]
    decision: str
    reason: str | None


@dataclass(frozen=True)
class Decider:
    """Everything of a model card that turns logits into decisions."""

    classes: tuple[str, ...]
    calibration: Calibration
    rule: TriageRule
    conformal: ConformalRule
    passing: PassRule | None = None
    costs: DecisionCosts = EQUAL_COSTS

    @classmethod
    def from_card(cls, card: ModelCard) -> Decider:
        """Read the rules that training wrote into the card.

        Raises:
            IntegrityError: the card has none.
        """
        if not {RULE, CONFORMAL} <= set(card.triage):
            raise IntegrityError("The model card has no triage rule.", remedy="Train the model again.")
        return cls(
            classes=card.classes,
            calibration=card.calibrated_by,
            rule=TriageRule.model_validate(card.triage[RULE]),
            conformal=ConformalRule.model_validate(card.triage[CONFORMAL]),
            passing=PassRule.model_validate(card.triage[PASSING]) if card.triage.get(PASSING) else None,
            costs=card.decision_costs,
        )

    def decide(self, logits: NDArray[np.float32]) -> list[Decided]:
        """Decide ``logits`` float32 [n, k]; n results in the same order."""
        return self.decide_of(self.calibration.probabilities(logits))

    def decide_of(self, own: NDArray[np.float64], today: ClassesToday | None = None) -> list[Decided]:
        """Decide calibrated probabilities, float64 [n, k]; n results in the same order.

        Args:
            own: of the model's own classes.
            today: what these are called today, where they are to be told by these names: merged classes are decided as
                one, and always reviewed only if each of them was.
        """
        best = self.costs.predicted(own)
        members = set_names(sets(own, self.conformal, best), own, self.classes)
        probabilities, classes, rule = own, self.classes, self.rule
        if today is not None and not today.unchanged:
            probabilities, classes = today.added_up(own), today.shown
            best = self.costs.predicted(own, today.shares)
            checked = {now for old, now in zip(today.classes, today.names, strict=True) if old not in rule.rare_classes}
            rule = rule.model_copy(update={"rare_classes": tuple(name for name in classes if name not in checked)})
            now = dict(zip(today.classes, today.names, strict=True))
            # the set holds the right class as often as before, whatever was merged
            members = [list(dict.fromkeys(now[name] for name in names)) for names in members]
        held_back = self._held_back(own, best, classes, today)
        decisions, reasons = decide(probabilities, rule, classes, held_back, best)
        ranked = np.sort(probabilities, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.where(probabilities > 0, probabilities * np.log(probabilities), 0.0).sum(axis=1)
        return [
            Decided(
                predicted=classes[best[row]],
                confidence=float(probabilities[row, best[row]]),
                margin=float(ranked[row, -1] - ranked[row, -2]),
                entropy=float(entropy[row]),
                probabilities=probabilities[row],
                conformal_set=members[row],
                decision=str(decisions[row]),
                reason=reasons[row],
            )
            for row in range(len(best))
        ]

    def _held_back(
        self,
        own: NDArray[np.float64],
        predicted: NDArray[np.int64],
        classes: Sequence[str],
        today: ClassesToday | None,
    ) -> NDArray[np.bool_] | None:
        """Images that are called good without being sure enough of it, bool [n]; ``None`` where nobody set a limit."""
        if self.passing is None:
            return None
        names = self.classes if today is None else today.names
        good = dict(zip(self.classes, names, strict=True))[self.passing.pass_class]
        called_good = np.asarray(classes)[predicted] == good
        return np.asarray(called_good & ~self.passing.passes(own, self.classes))


def card_triage(rule: TriageRule, conformal: ConformalRule, passing: PassRule | None = None) -> dict[str, Any]:
    """The rules as a model card keeps them."""
    rules: dict[str, BaseModel | None] = {RULE: rule, CONFORMAL: conformal, PASSING: passing}
    return {name: item.model_dump(mode="json") for name, item in rules.items() if item is not None}
