"""The rules of the gate, one function for each: what was seen, what is required, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.profile import GateSettings
from domain_models.calibration import ece, ece_of_a_calibrated_model
from domain_models.class_counts import ClassCounts, confusion_matrix, count_columns, counts_from_sums
from domain_models.intervals import CONFIDENCE, bootstrap_weights, group_sums

REQUIRED_LINEAGE = ("dataset_version", "taxonomy_version", "profile_hash", "run_key")
"""What must be known of a candidate: which data, which classes, which settings, which training run."""


class Rule(StrEnum):
    """The rules of the gate."""

    MACRO_F1 = "macro_f1"
    BALANCED_ACCURACY = "balanced_accuracy"
    MEAN_COST = "mean_cost"
    CLASS_RECALL = "class_recall"
    CALIBRATION = "calibration"
    LINEAGE = "lineage"


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


def first_champion_checks(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    k: int,
    settings: GateSettings,
    costs: NDArray[np.float64] | None = None,
) -> list[GateCheck]:
    """What a model must show where there is no champion to compare it with.

    Args:
        truth: int64 [n], class indices.
        predicted: int64 [n].
        k: number of classes.
        settings: the profile's limits.
        costs: float64 [k, k], where costs decide what is predicted: the model must cost less than the cheapest
            prediction that looks at no image. ``None``: macro-F1 and balanced accuracy have limits.
    """
    if costs is not None:
        return [_cheaper_than_no_model(truth, predicted, costs)]
    counts = ClassCounts.of(confusion_matrix(truth, predicted, k))
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


def champion_checks(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    champion: NDArray[np.int64],
    codes: NDArray[np.int64],
    classes: Sequence[str],
    gated: Sequence[int],
    settings: GateSettings,
    costs: NDArray[np.float64] | None = None,
    *,
    seed: int,
    replicates: int,
) -> list[GateCheck]:
    """What a candidate must show beside the champion, on the same images: a paired bootstrap over groups.

    Args:
        truth: int64 [n], class indices.
        predicted: int64 [n], by the candidate.
        champion: int64 [n], by the champion.
        codes: int64 [n], groups numbered from 0.
        classes: k names in index order.
        gated: indices of the classes whose recall is looked at.
        settings: the profile's limits.
        costs: float64 [k, k], where costs decide what is predicted: mean cost is compared in place of macro-F1.
        seed: of the bootstrap.
        replicates: of the bootstrap.
    """
    k = len(classes)
    columns = [count_columns(truth, predicted, k), count_columns(truth, champion, k)]
    if costs is not None:
        columns.append((costs[truth, predicted] - costs[truth, champion])[:, None])
    sums = group_sums(np.hstack(columns), codes)
    drawn_f1, drawn_loss, drawn_cost = [], [], []
    for weights in bootstrap_weights(len(sums), replicates=replicates, seed=seed):
        drawn = (weights @ sums).astype(np.float64)
        new, old = counts_from_sums(drawn[:, : 3 * k], k), counts_from_sums(drawn[:, 3 * k : 6 * k], k)
        drawn_f1.append(new.macro_f1 - old.macro_f1)
        drawn_loss.append(old.recall - new.recall)
        if costs is not None:
            drawn_cost.append(drawn[:, -1] / new.actual.sum(axis=1))
    new, old = (ClassCounts.of(confusion_matrix(truth, one, k)) for one in (predicted, champion))
    losses = np.concatenate(drawn_loss)
    recalls = [_class_recall(new, old, losses, index, len(gated), classes[index], settings) for index in gated]
    if costs is not None:
        dearer = _mean_cost(truth, predicted, champion, costs, np.concatenate(drawn_cost), settings)
        return [dearer, *recalls]
    return [_macro_f1(float(new.macro_f1 - old.macro_f1), np.concatenate(drawn_f1), settings), *recalls]


def _macro_f1(difference: float, drawn: NDArray[np.float64], settings: GateSettings) -> GateCheck:
    bound = float(np.nanquantile(drawn, 1 - CONFIDENCE))
    return GateCheck(
        rule=Rule.MACRO_F1,
        passed=bound > settings.macro_f1_margin,
        value=difference,
        bound=bound,
        required=settings.macro_f1_margin,
        sentence=f"Macro-F1 differs by {difference:+.3f} from the champion's, by {bound:+.3f} at the lower 95% "
        f"bound, which must be above {settings.macro_f1_margin:+.3f}.",
    )


def _mean_cost(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    champion: NDArray[np.int64],
    costs: NDArray[np.float64],
    drawn: NDArray[np.float64],
    settings: GateSettings,
) -> GateCheck:
    """Costs have no unit, so the difference is a share of what the cheapest prediction without a model costs."""
    scale = cost_without_a_model(truth, costs) or 1.0
    new, old = (float(costs[truth, one].mean()) for one in (predicted, champion))
    difference, bound = (new - old) / scale, float(np.quantile(drawn, CONFIDENCE)) / scale
    return GateCheck(
        rule=Rule.MEAN_COST,
        passed=bound < settings.cost_margin,
        value=difference,
        bound=bound,
        required=settings.cost_margin,
        sentence=f"An image costs {new:.3f} in the mean, with the champion {old:.3f}: a difference of {difference:+.3f}"
        f" of what it costs without a model ({scale:.3f}), and of {bound:+.3f} at the upper 95% bound, which must be"
        f" below {settings.cost_margin:+.3f}.",
    )


def cost_without_a_model(truth: NDArray[np.int64], costs: NDArray[np.float64]) -> float:
    """Mean cost per image of calling every image the same, the cheapest such class.

    Args:
        truth: int64 [n], class indices.
        costs: float64 [k, k], what calling the row's class the column's costs.
    """
    return float(costs[truth].mean(axis=0).min())


def _cheaper_than_no_model(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], costs: NDArray[np.float64]
) -> GateCheck:
    value, required = float(costs[truth, predicted].mean()), cost_without_a_model(truth, costs)
    return GateCheck(
        rule=Rule.MEAN_COST,
        passed=value < required,
        value=value,
        required=required,
        sentence=f"First champion: an image costs {value:.3f} in the mean; it must be less than the {required:.3f} of"
        " calling all of them the same.",
    )


def _class_recall(
    new: ClassCounts,
    old: ClassCounts,
    losses: NDArray[np.float64],
    index: int,
    gated: int,
    name: str,
    settings: GateSettings,
) -> GateCheck:
    """``losses``: float64 [replicates, k]; the interval is at 95% for all ``gated`` classes together."""
    known = losses[np.isfinite(losses[:, index]), index]
    loss = float(old.recall[index] - new.recall[index])
    least = float(np.quantile(known, (1 - CONFIDENCE) / 2 / gated))
    return GateCheck(
        rule=Rule.CLASS_RECALL,
        subject=name,
        passed=not (loss > settings.recall_tolerance and least > 0),
        value=-loss,
        bound=-least,
        required=-settings.recall_tolerance,
        sentence=f"Recall of {name} differs by {-loss:+.3f}"
        f" ({old.recall[index]:.3f} to {new.recall[index]:.3f}, {int(new.actual[index])} test images); "
        + (
            f"a loss above {settings.recall_tolerance:.3f} that is beyond chance is not allowed."
            if loss > 0
            else "no loss."
        ),
    )


def calibration_check(
    values: NDArray[np.float64],
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    settings: GateSettings,
    seed: int,
) -> GateCheck:
    """Calibrated, or as far from it as a calibrated model may be by chance.

    Args:
        values: float64 [n, k], probabilities.
        truth: int64 [n].
        predicted: int64 [n].
        settings: the profile's limits.
        seed: of the chance.
    """
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


def lineage_check(lineage: Mapping[str, object]) -> GateCheck:
    """Everything of :data:`REQUIRED_LINEAGE` is known."""
    missing = [name for name in REQUIRED_LINEAGE if lineage.get(name) in (None, "")]
    return GateCheck(
        rule=Rule.LINEAGE,
        passed=not missing,
        sentence=f"Lineage is not known: no {', '.join(missing)}." if missing else "Lineage is known.",
    )
