"""Probabilities that mean what they say: softmax, temperature scaling, and how to tell whether it worked.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain_models.intervals import group_codes

BINS = 15
_LOG_TEMPERATURE_BOUND = float(np.log(20.0))
_PRIOR_DEVIATION = 1.0
_CHUNK_NUMBERS = 4_000_000

Fit = Callable[[NDArray[np.float64], NDArray[np.int64]], Callable[[NDArray[np.float64]], NDArray[np.float64]]]
"""Held-out logits [n, k] and labels [n] to what makes probabilities [m, k] of logits [m, k]."""


@dataclass(frozen=True)
class ReliabilityBins:
    """Predictions sorted into equal steps of confidence.

    Attributes:
        edges: float64 [bins + 1], from 0 to 1.
        count: int64 [bins], predictions in each bin.
        confidence: float64 [bins], their mean confidence (NaN where empty).
        accuracy: float64 [bins], the share that was right (NaN where empty).
    """

    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean gap between confidence and accuracy, weighted by count."""
        total = int(self.count.sum())
        gaps = np.nan_to_num(np.abs(self.confidence - self.accuracy)) * self.count
        return float(gaps.sum() / total) if total else 0.0


def softmax(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities from logits divided by ``temperature``.

    Args:
        logits: float [n, k].
        temperature: above 1 softens, below 1 sharpens; the order of classes never changes.

    Returns:
        float64 [n, k], rows summing to 1.

    Raises:
        ValueError: the temperature is not a positive number.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be positive, not {temperature}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature under which held-out labels are most likely.

    A weak prior (log temperature around 0 with deviation 1, worth about one image) keeps a small validation split that
    is entirely right from asking for infinite confidence; over hundreds of images it does not matter.

    Args:
        logits: float [n, k] of images the network was not fitted on.
        labels: int [n], class indices.

    Returns:
        The temperature, within 1/20 and 20; 1.0 where there are no images.

    Raises:
        ValueError: logits are not finite, or labels do not match them.
    """
    from scipy.optimize import minimize_scalar

    scores, truth = checked_logits(logits, labels)
    if not len(scores):
        return 1.0
    margins = scores - scores[np.arange(len(truth)), truth][:, None]

    def loss(log_temperature: float) -> float:
        scaled = margins * np.exp(-log_temperature)
        top = scaled.max(axis=1)
        nll = np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top
        return float(nll.sum() + 0.5 * (log_temperature / _PRIOR_DEVIATION) ** 2)

    best = minimize_scalar(
        loss, bounds=(-_LOG_TEMPERATURE_BOUND, _LOG_TEMPERATURE_BOUND), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(best.x))


def calibrated_nll(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative log-likelihood in nats under the temperature that suits these labels best.

    Compares two networks on the same held-out images by how much they know, whatever their confidence.

    Args:
        logits: float [n, k], n at least 1.
        labels: int [n], class indices.
    """
    z, y = checked_logits(logits, labels)
    p = softmax(z, fit_temperature(z, y))
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], np.finfo(np.float64).tiny)).mean())


def cross_fitted_probabilities(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    groups: Sequence[object] | ArrayLike | None = None,
    folds: int = 5,
    seed: int = 0,
    fit: Fit | None = None,
) -> NDArray[np.float64]:
    """Calibrated probabilities of the very images that the calibration comes from, without looking at themselves.

    Each image is calibrated by what was fitted on the other folds; a group is never on both sides. With fewer than two
    groups the common calibration is all there is.

    Args:
        logits: float [n, k].
        labels: int [n].
        groups: one value per image, or ``None``.
        folds: how many.
        seed: of the folds.
        fit: from logits and labels to what makes probabilities of logits; a temperature if ``None``.

    Returns:
        float64 [n, k].
    """
    fit = fit or _fit_softmax
    scores, truth = checked_logits(logits, labels)
    codes = group_codes(groups, len(truth))
    count = int(codes.max()) + 1 if codes.size else 0
    parts = min(folds, count)
    if parts < 2:
        return fit(scores, truth)(scores) if len(scores) else scores
    part_of_group = np.random.default_rng(seed).permutation(count) % parts
    part = part_of_group[codes]
    probabilities = np.empty_like(scores)
    for fold in range(parts):
        inside = part == fold
        probabilities[inside] = fit(scores[~inside], truth[~inside])(scores[inside])
    return probabilities


def _fit_softmax(
    logits: NDArray[np.float64], labels: NDArray[np.int64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return partial(softmax, temperature=fit_temperature(logits, labels))


def reliability(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS, *, predicted: NDArray[np.int64] | None = None
) -> ReliabilityBins:
    """Sort predictions into equal steps of confidence, the probability of the predicted class.

    Args:
        probabilities: float [n, k].
        labels: int [n].
        bins: how many steps.
        predicted: int64 [n]; ``None``: the most probable classes.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    named = values.argmax(axis=1) if predicted is None else predicted
    correct = named == np.asarray(labels)
    confidence = values[np.arange(len(named)), named]
    index = confidence_bins(confidence, bins)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        return ReliabilityBins(
            edges=np.linspace(0, 1, bins + 1),
            count=count,
            confidence=np.bincount(index, confidence, minlength=bins) / count,
            accuracy=np.bincount(index, correct, minlength=bins) / count,
        )


def confidence_bins(confidence: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """The bin (0 to ``bins`` - 1) of each confidence; a bin includes its upper edge."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def ece(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS, *, predicted: NDArray[np.int64] | None = None
) -> float:
    """Expected calibration error of predictions over equal steps of confidence, 0 (best) to 1; see `reliability`."""
    return reliability(probabilities, labels, bins, predicted=predicted).error


def ece_of_a_calibrated_model(
    probabilities: ArrayLike,
    *,
    predicted: NDArray[np.int64] | None = None,
    seed: int = 0,
    replicates: int = 1000,
    bins: int = BINS,
) -> tuple[float, float]:
    """The ECE that pure chance gives a perfectly calibrated model with these very confidences.

    ECE is never negative, so a small split shows some even where there is none: outcomes are drawn with the stated
    confidence as their chance, and the ECE of each draw is taken (Vaicenavicius et al., AISTATS 2019).

    Args:
        probabilities: float [n, k].
        predicted: int64 [n]; ``None``: the most probable classes.
        seed: of the draws.
        replicates: how many draws.
        bins: steps of confidence.

    Returns:
        Mean and 95th percentile over the draws.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    confidence = values.max(axis=1) if predicted is None else values[np.arange(len(predicted)), predicted]
    if not confidence.size:
        return (0.0, 0.0)
    index = confidence_bins(confidence, bins)
    order = np.argsort(index, kind="stable")
    confidence, index = confidence[order], index[order]
    used, starts = np.unique(index, return_index=True)
    expected = np.add.reduceat(confidence, starts)
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK_NUMBERS // confidence.size)
    errors = []
    for start in range(0, replicates, rows):
        draws = generator.random((min(rows, replicates - start), confidence.size), dtype=np.float32) < confidence
        right = np.add.reduceat(draws, starts, axis=1, dtype=np.int64)
        errors.append(np.abs(right - expected).sum(axis=1) / confidence.size)
    all_errors = np.concatenate(errors)
    assert used.size == starts.size
    return (float(all_errors.mean()), float(np.quantile(all_errors, 0.95)))


def checked_logits(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits as float64 [n, k] and labels as int64 [n], if they are what they claim to be.

    Raises:
        ValueError: shapes do not match, logits are not finite, or labels are out of range.
    """
    scores = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.int64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise ValueError(f"logits {scores.shape} and labels {truth.shape} do not match")
    if not np.isfinite(scores).all():
        raise ValueError("logits are not finite")
    if truth.size and not (truth.min() >= 0 and truth.max() < scores.shape[1]):
        raise ValueError(f"labels run from {truth.min()} to {truth.max()} for {scores.shape[1]} classes")
    return scores, truth
