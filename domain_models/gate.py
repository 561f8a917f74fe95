"""May this candidate become champion? A pure function from paired predictions to a decision with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.profile import GateSettings
from domain_models.class_counts import ClassCounts, confusion_matrix
from domain_models.decision_costs import most_probable
from domain_models.gate_rules import (
    GateCheck,
    calibration_check,
    champion_checks,
    first_champion_checks,
    lineage_check,
)
from domain_models.intervals import group_codes
from domain_models.metrics import checked_predictions

REPLICATES = 2000


@dataclass(frozen=True)
class PairedPredictions:
    """One model's calibrated predictions on the test edition, in the same order of images for both models.

    Attributes:
        version: of the model.
        probabilities: float [n, k], columns in the order of the classes that the gate is given.
        predicted: int64 [n], indices of these classes; ``None``: the most probable ones.
        lineage: what the model was made from; see
            :data:`~domain_models.gate_rules.REQUIRED_LINEAGE`. Not looked at for the champion.
    """

    version: str
    probabilities: NDArray[np.floating]
    lineage: Mapping[str, object] = field(default_factory=dict)
    predicted: NDArray[np.int64] | None = None

    def of(self, labels: ArrayLike, classes: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Probabilities float64 [n, k] and predicted classes int64 [n], checked against labels [n] and k classes."""
        values, _ = checked_predictions(self.probabilities, labels, classes)
        return values, most_probable(values) if self.predicted is None else self.predicted


class GateDecision(BaseModel):
    """Whether the candidate may become champion. ``reasons`` are the failed rules' sentences, or why it passed.

    ``trained_on`` is the dataset version that the candidate learned, so that people see where their answers went.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    passed: bool
    candidate: str
    champion: str | None
    n: int
    n_groups: int
    reasons: tuple[str, ...]
    checks: tuple[GateCheck, ...]
    not_gated: tuple[str, ...]
    trained_on: str | None = None


def judge(
    candidate: PairedPredictions,
    champion: PairedPredictions | None,
    labels: ArrayLike,
    groups: Sequence[object] | ArrayLike | None,
    classes: Sequence[str],
    settings: GateSettings,
    *,
    costs: NDArray[np.float64] | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> GateDecision:
    """Apply every rule; all must pass.

    Against a champion: the lower 95% bound (paired bootstrap over groups) of the macro-F1 difference is above
    ``macro_f1_margin``; and no class with enough test images loses more recall than ``recall_tolerance`` where the loss
    is beyond chance (its interval, at 95% for all gated classes together, lies above zero). A first champion faces
    absolute limits instead. Where costs decide, mean cost takes the place of macro-F1: the upper 95% bound of the
    difference, as a share of what an image costs without a model, is below ``cost_margin``. Both: ECE within
    ``maximum_ece``, or within what a perfectly calibrated model would show on these predictions 95% of the time; and
    the lineage known.

    Args:
        candidate: predictions [n, k].
        champion: predictions [n, k] on the same images, or ``None`` for a first champion.
        labels: int [n], class indices.
        groups: one value per image, or ``None``.
        classes: k names in index order.
        settings: the profile's limits.
        costs: float64 [k, k], what calling the row's class the column's costs, where costs decide what is predicted.
        seed: of the bootstrap; the same inputs always give the same decision.
        replicates: of the bootstrap.

    Raises:
        ValueError: the two models' predictions or the labels do not match.
    """
    values, predicted = candidate.of(labels, classes)
    truth = np.asarray(labels, dtype=np.int64)
    codes = group_codes(groups, len(truth))
    counts = ClassCounts.of(confusion_matrix(truth, predicted, len(classes)))
    gated = [int(i) for i in np.nonzero(counts.actual >= settings.minimum_test_images)[0]]
    not_gated = tuple(name for i, name in enumerate(classes) if i not in gated)
    if champion is None:
        checks = first_champion_checks(truth, predicted, len(classes), settings, costs)
    else:
        other = champion.of(labels, classes)[1]
        checks = champion_checks(
            truth, predicted, other, codes, classes, gated, settings, costs, seed=seed, replicates=replicates
        )
    checks += [calibration_check(values, truth, predicted, settings, seed), lineage_check(candidate.lineage)]
    passed = all(check.passed for check in checks)
    reasons = [check.sentence for check in checks if check.passed == passed]
    if not_gated:
        reasons.append(f"Not gated (fewer than {settings.minimum_test_images} test images): {', '.join(not_gated)}.")
    return GateDecision(
        passed=passed,
        candidate=candidate.version,
        champion=champion.version if champion else None,
        n=len(truth),
        n_groups=int(codes.max()) + 1,
        reasons=tuple(reasons),
        checks=tuple(checks),
        not_gated=not_gated,
        trained_on=str(trained_on) if (trained_on := candidate.lineage.get("dataset_version")) else None,
    )
