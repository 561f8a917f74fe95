"""Which predictions a machine may decide alone: thresholds whose error limit holds with stated confidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.profile import Limits
from data_contracts.vocabulary import Decision, ReviewReason
from domain_models.decision_costs import most_probable
from domain_models.intervals import Interval, clopper_pearson, group_codes, independent_equivalent
from domain_models.learn_then_test import fewest_faultless, most_lenient_threshold

NEVER = 1.01
"""A threshold above every probability: nothing is decided automatically."""

SECONDS_PER_IMAGE = 8.0
_RISK_SHARES = (0.9, 0.1)  # of the allowed risk: thresholds on confidence, thresholds on margin
_FEWEST_OF_A_CLASS = 5
_PAIR_SHARE = 0.8


class TriageRule(BaseModel):
    """When a prediction is decided automatically: confidence and margin at least these, and no rare class predicted.

    Confidence is the probability of the predicted class, margin its lead over the most probable other. Where that is
    negative (costs may have another class predicted than the most probable) a person looks, whatever the thresholds.
    The figures describe the calibration images the rule was set on. ``expected_error`` is the share of wrong ones among
    their automatic decisions (``None`` where there were none), its interval Clopper-Pearson at ``confidence_level``.
    ``rare_classes`` had too few calibration images for anybody to know how often they are wrongly predicted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence_threshold: float
    margin_threshold: float
    limit: float
    confidence_level: float
    share_automatic: float
    expected_error: float | None
    expected_error_ci: Interval | None
    n_calibration: int
    n_groups: int
    n_automatic: int
    n_wrong: int
    rare_classes: tuple[str, ...]
    cold_start: bool
    seconds_per_image: float
    reader_hours_per_1000: float
    sentences: tuple[str, ...]


def fit_triage(
    probabilities: ArrayLike,
    labels: ArrayLike,
    limits: Limits,
    *,
    classes: Sequence[str],
    groups: Sequence[object] | ArrayLike | None = None,
    predicted: NDArray[np.int64] | None = None,
    seconds_per_image: float = SECONDS_PER_IMAGE,
) -> TriageRule:
    """Set thresholds so that at most ``limits.automatic_error`` of automatic decisions are wrong.

    The promise: over repeated draws of calibration images, the automatic decisions of the rule stay within the limit in
    at least ``limits.confidence`` of them, counted on a next batch of as many images. Where groups hold several images,
    the images of a group count as if they always agreed, which errs on the careful side. The result has no element of
    chance.

    Args:
        probabilities: float [n, k], calibrated, of images that neither network nor temperature was fitted on.
        labels: int [n], class indices.
        limits: of the profile.
        classes: k names in index order.
        groups: one value per image, or ``None``.
        predicted: int64 [n]; ``None``: the most probable classes.
        seconds_per_image: how long a person takes for one image.

    Raises:
        ValueError: shapes do not match.
    """
    values, truth = checked(probabilities, labels, len(classes))
    codes = group_codes(groups, len(truth))
    rare = np.bincount(truth, minlength=len(classes)) < _FEWEST_OF_A_CLASS
    confidence, margin, predicted = confidence_and_margin(values, predicted)
    wrong = predicted != truth
    eligible = ~rare[predicted] & (margin >= 0)
    best = (0, NEVER, 0.0)
    for scores, share, by_margin in zip((confidence, margin), _RISK_SHARES, (False, True), strict=True):
        risk = (1 - limits.confidence) * share
        found = most_lenient_threshold(
            scores[eligible], 1 - confidence[eligible], wrong[eligible], codes[eligible], limits.automatic_error, risk
        )
        if found is not None:
            count = int((eligible & (scores >= found)).sum())
            if count > best[0]:
                best = (count, 0.0, found) if by_margin else (count, found, 0.0)
    _, confidence_threshold, margin_threshold = best
    automatic = eligible & (confidence >= confidence_threshold) & (margin >= margin_threshold)
    n, chosen, errors = len(truth), int(automatic.sum()), int((automatic & wrong).sum())
    share_automatic = chosen / n if n else 0.0
    worth = independent_equivalent(codes[automatic])
    error = errors / chosen if chosen else None
    interval = clopper_pearson(error * worth, worth, limits.confidence) if error is not None else None
    hours = (1 - share_automatic) * 1000 * seconds_per_image / 3600
    cold = not chosen and independent_equivalent(codes) < _fewest_images(limits)
    rare_names = tuple(name for name, few in zip(classes, rare, strict=True) if few)
    figures = TriageRule(
        confidence_threshold=confidence_threshold,
        margin_threshold=margin_threshold,
        limit=limits.automatic_error,
        confidence_level=limits.confidence,
        share_automatic=share_automatic,
        expected_error=error,
        expected_error_ci=interval,
        n_calibration=n,
        n_groups=int(codes.max()) + 1 if n else 0,
        n_automatic=chosen,
        n_wrong=errors,
        rare_classes=rare_names,
        cold_start=cold,
        seconds_per_image=seconds_per_image,
        reader_hours_per_1000=hours,
        sentences=(),
    )
    return figures.model_copy(update={"sentences": _sentences(figures, _fewest_images(limits))})


def decide(
    probabilities: ArrayLike,
    rule: TriageRule,
    classes: Sequence[str],
    held_back: NDArray[np.bool_] | None = None,
    predicted: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.str_], list[str | None]]:
    """Apply a rule to predictions.

    Args:
        probabilities: float [n, k], calibrated.
        rule: from :func:`fit_triage`.
        classes: k names in index order.
        held_back: bool [n], images that a person must see whatever the rule says.
        predicted: int64 [n]; ``None``: the most probable classes.

    Returns:
        decisions: str [n], values of :class:`Decision`.
        reasons: n values of :class:`ReviewReason` (``confused_pair:a|b`` with the predicted class first), ``None``
            where the decision is automatic.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    confidence, margin, named = confidence_and_margin(values, predicted)
    index_of = {name: index for index, name in enumerate(classes)}
    rare = np.zeros(len(classes), dtype=bool)
    rare[[index_of[name] for name in rule.rare_classes if name in index_of]] = True
    automatic = ~rare[named] & (confidence >= rule.confidence_threshold) & (margin >= rule.margin_threshold)
    automatic &= True if held_back is None else ~held_back
    others = values.copy()
    others[np.arange(len(values)), named] = -1.0
    second = others.argmax(axis=1)
    pair = confidence + others.max(axis=1) >= _PAIR_SHARE

    def reason(row: int) -> str:
        if rule.cold_start:
            return ReviewReason.COLD_START.value
        if rare[named[row]]:
            return ReviewReason.RARE_CLASS.value
        if pair[row] and values.shape[1] > 2 and confidence[row] < _PAIR_SHARE:
            return f"{ReviewReason.CONFUSED_PAIR.value}:{classes[named[row]]}|{classes[second[row]]}"
        return ReviewReason.LOW_CONFIDENCE.value

    decisions = np.where(automatic, Decision.AUTO.value, Decision.REVIEW.value)
    return decisions, [None if alone else reason(row) for row, alone in enumerate(automatic)]


def confidence_and_margin(
    probabilities: NDArray[np.float64], predicted: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The probability of the predicted class, its lead over the most probable other, and that class: three arrays [n].

    Args:
        probabilities: float64 [n, k].
        predicted: int64 [n]; ``None``: the most probable classes.
    """
    named = most_probable(probabilities) if predicted is None else predicted
    rows = np.arange(len(named))
    confidence = probabilities[rows, named]
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    best_other = np.where(named == probabilities.argmax(axis=1), top[:, 0], top[:, 1])
    return confidence, confidence - best_other, named


def _fewest_images(limits: Limits) -> int:
    """How many faultless images it takes to trust any automatic decision."""
    return fewest_faultless(limits.automatic_error, (1 - limits.confidence) * max(_RISK_SHARES))


def _sentences(rule: TriageRule, fewest: int) -> tuple[str, ...]:
    promise = (
        f"at most {rule.limit:.1%} of automatic decisions wrong in a next batch as large, with"
        f" {rule.confidence_level:.0%} confidence"
    )
    sentences = []
    if rule.n_automatic and rule.expected_error is not None and rule.expected_error_ci is not None:
        low, high = rule.expected_error_ci
        sentences.append(
            f"{rule.share_automatic:.0%} of images are decided automatically; expected error {rule.expected_error:.1%} "
            f"(between {low:.1%} and {high:.1%}), set for {promise}."
        )
        parts = []
        if rule.confidence_threshold > 0:
            parts.append(f"confidence is at least {rule.confidence_threshold:.3f}")
        if rule.margin_threshold > 0:
            parts.append(f"the lead over the second class is at least {rule.margin_threshold:.3f}")
        if parts:
            sentences.append(f"A prediction is decided automatically when {' and '.join(parts)}.")
        else:
            sentences.append("The model is accurate enough for every prediction to be decided automatically.")
    elif rule.cold_start:
        sentences.append(
            f"Nothing is decided automatically yet: {rule.n_calibration} labelled images outside training are too few "
            f"to promise {promise}; it takes at least {fewest} that are all right."
        )
    else:
        sentences.append(f"Nothing is decided automatically: no threshold can promise {promise}.")
    sentences.append(f"People look at the rest: {rule.reader_hours_per_1000:.1f} reader hours per 1,000 images.")
    if rule.rare_classes:
        sentences.append(
            f"Always reviewed when predicted, for want of labelled images to check on: {', '.join(rule.rare_classes)}."
        )
    return tuple(sentences)


def checked(probabilities: ArrayLike, labels: ArrayLike, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities as float64 [n, k] and labels as int64 [n].

    Raises:
        ValueError: shapes do not match, or there are fewer than two classes.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.int64)
    if values.ndim != 2 or values.shape[1] != k or truth.shape != values.shape[:1] or k < 2:
        raise ValueError(f"probabilities {values.shape}, labels {truth.shape} and {k} classes do not match")
    return values, truth
