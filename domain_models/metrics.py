"""Every figure of one model on one labelled split, with intervals that respect groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_contracts.profile import ConfusionCost
from domain_models.calibration import BINS, confidence_bins, ece, ece_of_a_calibrated_model
from domain_models.class_counts import (
    ClassCounts,
    confusion_matrix,
    count_columns,
    counts_from_sums,
    known_mean,
)
from domain_models.decision_costs import cheapest, cost_matrix, most_probable
from domain_models.evaluation import ClassMetrics, ConfusedPair, Evaluation, FrequencyGroups
from domain_models.intervals import (
    CONFIDENCE,
    REPLICATES,
    bootstrap_weights,
    group_codes,
    group_sums,
    percentile_interval,
    share_interval,
)
from domain_models.operating_points import operating_points, pass_rates
from domain_models.ranking import auroc_ovr_macro

__all__ = ["Evaluation", "checked_predictions", "evaluate", "frequency_thirds", "most_confused", "top_accuracy"]

TOP = 5
_SMALLEST = 1e-12


def evaluate(
    probabilities: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    *,
    groups: Sequence[object] | ArrayLike | None = None,
    train_counts: Sequence[int] | None = None,
    pass_class: str | None = None,
    costs: Sequence[ConfusionCost] = (),
    predicted: NDArray[np.int64] | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Evaluation:
    """Measure one model's calibrated predictions.

    Args:
        probabilities: float [n, k], rows summing to 1.
        labels: int [n], class indices.
        classes: k names in index order.
        groups: one value per image; the bootstrap draws whole groups. ``None``: every image is its own.
        train_counts: k training counts, for the thirds of ``groups``; ``None`` leaves those undefined.
        pass_class: the class that means "good"; escape and overkill rates are ``None`` without it or without any
            image that could escape or be killed.
        costs: the profile's costs; other mistakes cost 1, right answers 0.
        predicted: int64 [n]; ``None``: the most probable classes.
        seed: of the bootstrap.
        replicates: of the bootstrap.

    Raises:
        ValueError: shapes do not match, there are no images, or probabilities are not probabilities.
    """
    values, truth = checked_predictions(probabilities, labels, classes)
    n, k = values.shape
    codes = group_codes(groups, n)
    predicted = most_probable(values) if predicted is None else predicted
    confusion = confusion_matrix(truth, predicted, k)
    counts = ClassCounts.of(confusion)
    right = predicted == truth
    nll = -np.log(np.clip(values[np.arange(n), truth], _SMALLEST, None))
    accuracy_ci = share_interval(right, codes)
    intervals = _bootstrap(values, truth, predicted, nll, codes, seed=seed, replicates=replicates)
    if right.all():  # no error to draw again, which does not mean that there is none to come
        intervals |= {"macro_f1_ci": accuracy_ci, "balanced_accuracy_ci": accuracy_ci}
    auroc, auroc_ci = auroc_ovr_macro(values, truth, codes)
    chance, chance_p95 = ece_of_a_calibrated_model(values, predicted=predicted, seed=seed)
    one_hot = np.eye(k)[truth]
    good = list(classes).index(pass_class) if pass_class is not None and pass_class in classes else None
    escape, escape_ci, overkill, overkill_ci = (
        (None, None, None, None) if good is None else pass_rates(truth != good, predicted == good, codes)
    )
    table = cost_matrix(classes, costs)
    return Evaluation(
        n=n,
        n_groups=int(codes.max()) + 1,
        classes=tuple(classes),
        classes_absent=tuple(name for name, count in zip(classes, counts.actual, strict=True) if not count),
        accuracy=float(right.mean()),
        accuracy_ci=accuracy_ci,
        balanced_accuracy=float(counts.balanced_accuracy),
        macro_f1=float(counts.macro_f1),
        auroc_ovr_macro=auroc,
        auroc_ovr_macro_ci=auroc_ci,
        ece=ece(values, truth, predicted=predicted),
        ece_of_a_calibrated_model=chance,
        ece_of_a_calibrated_model_p95=chance_p95,
        nll=float(nll.mean()),
        brier=float(((values - one_hot) ** 2).sum(axis=1).mean()),
        top5_accuracy=top_accuracy(values, truth),
        mean_cost=float(table[truth, predicted].mean()) if costs else None,
        mean_cost_of_cheapest=float(table[truth, cheapest(values, table)].mean()) if costs else None,
        per_class=_per_class(counts, truth, right, classes, codes),
        confusion=tuple(tuple(int(cell) for cell in row) for row in confusion),
        most_confused=most_confused(confusion, classes),
        groups=_frequency_groups(counts.recall, train_counts),
        escape_rate=escape,
        escape_rate_ci=escape_ci,
        overkill_rate=overkill,
        overkill_rate_ci=overkill_ci,
        operating_points=operating_points(values, truth, classes, pass_class, codes),
        **intervals,
    )


def checked_predictions(
    probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities as float64 [n, k] and labels as int64 [n], if they are what they claim to be.

    Raises:
        ValueError: shapes do not match, there are no images, fewer than two classes, duplicate class names, labels out
            of range, or rows that are not probabilities.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(labels)
    if values.ndim != 2 or values.shape[1] != len(classes) or truth.shape != values.shape[:1]:
        raise ValueError(f"probabilities {values.shape}, labels {truth.shape} and {len(classes)} classes do not match")
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ValueError("at least two classes with distinct names are needed")
    if not len(truth):
        raise ValueError("there are no images to measure")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= len(classes):
        raise ValueError(f"labels must be integers from 0 to {len(classes) - 1}")
    if not np.isfinite(values).all() or values.min() < 0 or not np.allclose(values.sum(axis=1), 1, atol=1e-3):
        raise ValueError("rows of probabilities must be finite, not negative, and sum to 1")
    return values, truth.astype(np.int64)


def top_accuracy(probabilities: NDArray[np.float64], labels: NDArray[np.int64], top: int = TOP) -> float:
    """Share of images whose class is among the ``top`` most probable (1 where there are no more classes than that)."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    before = (probabilities > own).sum(axis=1)
    ties_before = ((probabilities == own) & (np.arange(probabilities.shape[1]) < labels[:, None])).sum(axis=1)
    return float((before + ties_before < top).mean())


def most_confused(confusion: NDArray[np.int64], classes: Sequence[str], top: int = 5) -> tuple[ConfusedPair, ...]:
    """The largest cells off the diagonal, by count and then by share of the actual class."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    actual = np.maximum(confusion.sum(axis=1), 1)
    pairs = [(int(row), int(column)) for row, column in np.argwhere(wrong)]
    pairs.sort(key=lambda cell: (-wrong[cell], -wrong[cell] / actual[cell[0]], *cell))
    return tuple(
        ConfusedPair(
            actual=classes[row],
            predicted=classes[column],
            count=int(wrong[row, column]),
            share=float(wrong[row, column] / actual[row]),
        )
        for row, column in pairs[:top]
    )


def frequency_thirds(train_counts: Sequence[int]) -> dict[str, list[int]]:
    """Class indices of the thirds with most, middling and fewest training images; two classes are many and few."""
    order = sorted(range(len(train_counts)), key=lambda index: (-train_counts[index], index))
    outer = round(len(order) / 3) or (1 if len(order) > 1 else 0)
    return {"many": order[:outer], "medium": order[outer : len(order) - outer], "few": order[len(order) - outer :]}


def _bootstrap(
    values: NDArray[np.float64],
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    nll: NDArray[np.float64],
    codes: NDArray[np.int64],
    *,
    seed: int,
    replicates: int,
) -> dict[str, Any]:
    if codes.max() == 0:  # one group says nothing of how groups differ
        return dict.fromkeys(("macro_f1_ci", "balanced_accuracy_ci", "ece_ci", "nll_ci"))
    n, k = values.shape
    confidence = values[np.arange(n), predicted]
    gap = np.zeros((n, BINS))
    gap[np.arange(n), confidence_bins(confidence)] = confidence - (predicted == truth)
    sums = group_sums(np.hstack([count_columns(truth, predicted, k), gap, nll[:, None], np.ones((n, 1))]), codes)
    macro_f1, balanced, errors, losses = [], [], [], []
    for weights in bootstrap_weights(len(sums), replicates=replicates, seed=seed):
        drawn = (weights @ sums).astype(np.float64)
        counts = counts_from_sums(drawn, k)
        macro_f1.append(counts.macro_f1)
        balanced.append(counts.balanced_accuracy)
        errors.append(np.abs(drawn[:, 3 * k : 3 * k + BINS]).sum(axis=1) / drawn[:, -1])
        losses.append(drawn[:, -2] / drawn[:, -1])
    estimate = ece(values, truth, predicted=predicted)
    error_interval = percentile_interval(np.concatenate(errors), centre_on=estimate)
    return {
        "macro_f1_ci": percentile_interval(np.concatenate(macro_f1)),
        "balanced_accuracy_ci": percentile_interval(np.concatenate(balanced)),
        "ece_ci": error_interval and (max(0.0, error_interval[0]), min(1.0, error_interval[1])),
        "nll_ci": percentile_interval(np.concatenate(losses)),
    }


def _per_class(
    counts: ClassCounts,
    truth: NDArray[np.int64],
    right: NDArray[np.bool_],
    classes: Sequence[str],
    codes: NDArray[np.int64],
) -> dict[str, ClassMetrics]:
    def one(index: int) -> ClassMetrics:
        inside = truth == index
        return ClassMetrics(
            n=int(counts.actual[index]),
            predicted=int(counts.predicted[index]),
            precision=_known(counts.precision[index]),
            recall=_known(counts.recall[index]),
            f1=_known(counts.f1[index]),
            recall_ci=share_interval(right[inside], codes[inside], CONFIDENCE),
        )

    return {name: one(index) for index, name in enumerate(classes)}


def _frequency_groups(recall: NDArray[np.float64], train_counts: Sequence[int] | None) -> FrequencyGroups:
    if train_counts is None:
        return FrequencyGroups(many=None, medium=None, few=None)
    if len(train_counts) != len(recall):
        raise ValueError(f"{len(train_counts)} training counts for {len(recall)} classes")
    return FrequencyGroups(
        **{name: _known(known_mean(recall[indices])) for name, indices in frequency_thirds(train_counts).items()}
    )


def _known(value: float | np.floating[Any] | NDArray[np.float64]) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
