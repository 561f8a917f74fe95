"""May this candidate become champion? A pure function from paired predictions to a decision with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.profile import GateSettings
from domain_models.calibration import ece, ece_of_a_calibrated_model
from domain_models.class_counts import ClassCounts, confusion_matrix, count_columns, counts_from_sums
from domain_models.decision_costs import most_probable
from domain_models.intervals import CONFIDENCE, bootstrap_weights, group_codes, group_sums
from domain_models.metrics import checked_predictions

REPLICATES = 2000
REQUIRED_LINEAGE = ("dataset_version", "taxonomy_version", "profile_hash", "run_key")
"""What must be known of a candidate: which data, which classes, which settings, which training run."""


class Rule(StrEnum):
    """The rules of the gate."""

    MACRO_F1 = "macro_f1"
    BALANCED_ACCURACY = "balanced_accuracy"
    CLASS_RECALL = "class_recall"
    CALIBRATION = "calibration"
    LINEAGE = "lineage"


@dataclass(frozen=True)
class PairedPredictions:
    """One model's calibrated predictions on the test edition, in the same order of images for both models.

    Attributes:
        version: of the model.
        probabilities: float [n, k], columns in the order of the classes that the gate is given.
        predicted: int64 [n], indices of these classes; ``None``: the most probable ones.
        lineage: what the model was made from; see :data:`REQUIRED_LINEAGE`. Not looked at for the champion.
    """

    version: str
    probabilities: NDArray[np.floating]
    lineage: Mapping[str, object] = field(default_factory=dict)
    predicted: NDArray[np.int64] | None = None

    def of(self, labels: ArrayLike, classes: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Probabilities float64 [n, k] and predicted classes int64 [n], checked against labels [n] and k classes."""
        values, _ = checked_predictions(self.probabilities, labels, classes)
        return values, most_probable(values) if self.predicted is None else self.predicted


class GateCheck(BaseModel):
    """One rule applied: what was seen, what was required, and the sentence that says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule
    subject: str | None = None
    passed: bool
    value: float | None = None
    bound: float | None = None
    required: float | None = None
    sentence: str


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
    seed: int = 0,
    replicates: int = REPLICATES,
) -> GateDecision:
    """Apply every rule; all must pass.

    Against a champion: the lower 95% bound (paired bootstrap over groups) of the macro-F1 difference is above
    ``macro_f1_margin``; and no class with enough test images loses more recall than ``recall_tolerance`` where the loss
    is beyond chance (its interval, at 95% for all gated classes together, lies above zero). A first champion faces
    absolute limits instead. Both: ECE within ``maximum_ece``, or within what a perfectly calibrated model would show on
    these predictions 95% of the time; and the lineage known.

    Args:
        candidate: predictions [n, k].
        champion: predictions [n, k] on the same images, or ``None`` for a first champion.
        labels: int [n], class indices.
        groups: one value per image, or ``None``.
        classes: k names in index order.
        settings: the profile's limits.
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
        checks = _absolute(counts, len(classes), settings)
    else:
        other = champion.of(labels, classes)[1]
        checks = _relative(truth, predicted, other, codes, classes, gated, settings, seed=seed, replicates=replicates)
    checks += [_calibration(values, truth, predicted, settings, seed), _lineage(candidate.lineage)]
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


def _absolute(counts: ClassCounts, k: int, settings: GateSettings) -> list[GateCheck]:
    macro_f1, balanced = float(counts.macro_f1), float(counts.balanced_accuracy)
    required = 1 / k + settings.first_minimum_balanced_accuracy_over_chance
    return [
        GateCheck(
            rule=Rule.MACRO_F1,
            passed=macro_f1 >= settings.first_minimum_macro_f1,
            value=macro_f1,
            required=settings.first_minimum_macro_f1,
            sentence=f"First champion: macro-F1 {macro_f1:.3f}, required {settings.first_minimum_macro_f1:.3f}.",
        ),
        GateCheck(
            rule=Rule.BALANCED_ACCURACY,
            passed=balanced >= required,
            value=balanced,
            required=required,
            sentence=f"First champion: balanced accuracy {balanced:.3f}, required {required:.3f} "
            f"(chance is {1 / k:.3f}).",
        ),
    ]


def _relative(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    champion: NDArray[np.int64],
    codes: NDArray[np.int64],
    classes: Sequence[str],
    gated: Sequence[int],
    settings: GateSettings,
    *,
    seed: int,
    replicates: int,
) -> list[GateCheck]:
    k = len(classes)
    columns = [count_columns(truth, predicted, k), count_columns(truth, champion, k)]
    sums = group_sums(np.hstack(columns), codes)
    drawn_f1, drawn_loss = [], []
    for weights in bootstrap_weights(len(sums), replicates=replicates, seed=seed):
        drawn = (weights @ sums).astype(np.float64)
        new, old = counts_from_sums(drawn[:, : 3 * k], k), counts_from_sums(drawn[:, 3 * k :], k)
        drawn_f1.append(new.macro_f1 - old.macro_f1)
        drawn_loss.append(old.recall - new.recall)
    new, old = (ClassCounts.of(confusion_matrix(truth, one, k)) for one in (predicted, champion))
    difference = float(new.macro_f1 - old.macro_f1)
    bound = float(np.nanquantile(np.concatenate(drawn_f1), 1 - CONFIDENCE))
    checks = [
        GateCheck(
            rule=Rule.MACRO_F1,
            passed=bound > settings.macro_f1_margin,
            value=difference,
            bound=bound,
            required=settings.macro_f1_margin,
            sentence=f"Macro-F1 differs by {difference:+.3f} from the champion's, by {bound:+.3f} at the lower 95% "
            f"bound, which must be above {settings.macro_f1_margin:+.3f}.",
        )
    ]
    losses = np.concatenate(drawn_loss)
    tail = (1 - CONFIDENCE) / 2 / max(1, len(gated))
    for index in gated:
        known = losses[np.isfinite(losses[:, index]), index]
        loss = float(old.recall[index] - new.recall[index])
        least = float(np.quantile(known, tail))
        checks.append(
            GateCheck(
                rule=Rule.CLASS_RECALL,
                subject=classes[index],
                passed=not (loss > settings.recall_tolerance and least > 0),
                value=-loss,
                bound=-least,
                required=-settings.recall_tolerance,
                sentence=f"Recall of {classes[index]} differs by {-loss:+.3f}"
                f" ({old.recall[index]:.3f} to {new.recall[index]:.3f}, {int(new.actual[index])} test images); "
                + (
                    f"a loss above {settings.recall_tolerance:.3f} that is beyond chance is not allowed."
                    if loss > 0
                    else "no loss."
                ),
            )
        )
    return checks


def _calibration(
    values: NDArray[np.float64],
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    settings: GateSettings,
    seed: int,
) -> GateCheck:
    error = ece(values, truth, predicted=predicted)
    _, by_chance = ece_of_a_calibrated_model(values, predicted=predicted, seed=seed)
    return GateCheck(
        rule=Rule.CALIBRATION,
        passed=error <= settings.maximum_ece or error <= by_chance,
        value=error,
        bound=by_chance,
        required=settings.maximum_ece,
        sentence=f"Calibration error {error:.3f}; the limit is {settings.maximum_ece:.3f}, and a perfectly calibrated "
        f"model would show up to {by_chance:.3f} on these images by chance.",
    )


def _lineage(lineage: Mapping[str, object]) -> GateCheck:
    missing = [name for name in REQUIRED_LINEAGE if lineage.get(name) in (None, "")]
    return GateCheck(
        rule=Rule.LINEAGE,
        passed=not missing,
        sentence=f"Lineage is not known: no {', '.join(missing)}." if missing else "Lineage is known.",
    )
