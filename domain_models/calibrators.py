"""From logits to probabilities that mean what they say, in the way that validation chooses.

One temperature, a temperature without what label smoothing left, a scale and shift of each class, or each class
against the rest.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017 (temperature and vector scaling);
Platt 1999 and Zadrozny and Elkan, KDD 2002 (each class against the rest, then normalised). A network that learned from
labels smoothed by e (Szegedy et al., CVPR 2016, section 7) tells (1 - e) p + e / k where it should tell p: sure images
look unsure, and the temperature that makes up for it makes unsure ones look sure. `UNSMOOTHED` turns that around.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import expit, log_expit, logsumexp

from domain_models.calibration import checked_logits, cross_fitted_probabilities, fit_temperature, softmax
from domain_models.intervals import group_codes
from domain_models.linear_probe import balanced_accuracy, macro_f1

Floats = NDArray[np.float64]

_SMALLEST = 1e-12
_PRIOR_WEIGHT = 1.0
"""What the wish to stay at a single temperature weighs, in images."""

_MOST_SMOOTHED = 0.5
_USUAL_SMOOTHING = 0.1
_SOFTNESS = 0.2
"""How softly a probability nears zero as the floor is taken off, in parts of the floor: none ever gets there."""


class CalibrationKind(StrEnum):
    """How logits become probabilities."""

    TEMPERATURE = "temperature"
    UNSMOOTHED = "unsmoothed"
    VECTOR = "vector"
    CLASS_WISE = "class_wise"


class Calibration(BaseModel):
    """A calibration as a model card keeps it.

    ``temperature`` divides the logits and is all of kind ``temperature``. ``unsmoothed`` then takes ``smoothing`` / k
    off every probability (softly, so that all stay above zero) and normalises. ``vector`` multiplies the logit of each
    class with its ``scale`` and adds its ``shift``. ``class_wise`` does that to the log-odds of each class against the
    rest, and normalises.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: CalibrationKind = CalibrationKind.TEMPERATURE
    temperature: float = Field(default=1.0, gt=0)
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()

    def probabilities(self, logits: ArrayLike) -> Floats:
        """float [n, k] logits to float64 [n, k], rows summing to 1."""
        return _APPLY[self.kind](np.asarray(logits, dtype=np.float64), self)

    @property
    def in_words(self) -> str:
        """What is done, for the report."""
        return f"Temperature {self.temperature:.2f}{_THEN[self.kind]}"


def fit_kind(kind: CalibrationKind, logits: ArrayLike, labels: ArrayLike) -> Calibration:
    """A calibration of one kind under which held-out labels are most likely, drawn weakly to a single temperature.

    Args:
        kind: which.
        logits: float [n, k] of images that the network was not fitted on.
        labels: int [n].
    """
    scores, truth = checked_logits(logits, labels)
    temperature = fit_temperature(scores, truth)
    start = Calibration(temperature=temperature)
    return _FIT[kind](scores / temperature, truth, start) if len(truth) else start


def choose_calibration(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    groups: Sequence[object] | ArrayLike | None = None,
    keep_decisions: bool = True,
    seed: int = 0,
) -> tuple[Calibration, str]:
    """The simplest calibration that no other clearly beats, and a sentence that says why.

    Another kind than a temperature has to lower the log-loss of images that it was not fitted on (folds, groups whole)
    by more than a standard error of the difference. Where the most probable class is predicted it must lower neither
    their macro-F1 nor their balanced accuracy: a shift of each class could undo what rebalancing did for the rare ones.

    Args:
        logits: float [n, k] of validation images.
        labels: int [n].
        groups: one value per image, or ``None``.
        keep_decisions: whether the most probable class is predicted; otherwise the costs of mistakes decide, and the
            probabilities have only to be right.
        seed: of the folds.
    """
    scores, truth = checked_logits(logits, labels)
    told = {
        kind: cross_fitted_probabilities(scores, truth, groups=groups, seed=seed, fit=fitter(kind))
        for kind in CalibrationKind
    }
    losses = {kind: _losses(values, truth) for kind, values in told.items()}
    found = {kind: macro_f1(values.argmax(axis=1), truth) if len(truth) else 0.0 for kind, values in told.items()}
    recalls = {kind: balanced_accuracy(values.argmax(axis=1), truth) for kind, values in told.items()}
    plain = losses[CalibrationKind.TEMPERATURE]
    harmless = {
        kind
        for kind in told
        if not keep_decisions
        or (found[kind] >= found[CalibrationKind.TEMPERATURE] and recalls[kind] >= recalls[CalibrationKind.TEMPERATURE])
    }
    best, most = CalibrationKind.TEMPERATURE, 0.0
    for kind, loss in losses.items():
        gain, error = _mean_and_error(plain - loss, group_codes(groups, len(truth)))
        if gain > error and gain > most and kind in harmless:
            best, most = kind, gain
    means = {kind: float(loss.mean()) if len(loss) else 0.0 for kind, loss in losses.items()}
    others = ", ".join(f"{_WORDS[kind]} {_figures(means, found, kind)}" for kind in CalibrationKind if kind is not best)
    return fit_kind(best, scores, truth), (
        f"Calibrated by {_WORDS[best]}: log-loss and macro-F1 {_figures(means, found, best)} on validation images that "
        f"it was not fitted on; {others}."
    )


def _figures(
    losses: Mapping[CalibrationKind, float], scores: Mapping[CalibrationKind, float], kind: CalibrationKind
) -> str:
    return f"{losses[kind]:.4f} and {scores[kind]:.3f}"


def fitter(kind: CalibrationKind) -> Callable[[Floats, NDArray[np.int64]], Callable[[Floats], Floats]]:
    """Fits a kind and gives what turns logits into probabilities; for cross-fitting."""
    return lambda logits, labels: fit_kind(kind, logits, labels).probabilities


def _by_temperature(logits: Floats, calibration: Calibration) -> Floats:
    return softmax(logits, calibration.temperature)


def _without_smoothing(logits: Floats, calibration: Calibration) -> Floats:
    told = softmax(logits, calibration.temperature)
    floor = calibration.smoothing / told.shape[1]
    if not floor:
        return told
    left = np.logaddexp(0.0, (told - floor) / (_SOFTNESS * floor))
    return np.asarray(left / left.sum(axis=1, keepdims=True))


def _by_vector(logits: Floats, calibration: Calibration) -> Floats:
    return softmax(logits / calibration.temperature * np.asarray(calibration.scale) + np.asarray(calibration.shift))


def _by_class(logits: Floats, calibration: Calibration) -> Floats:
    odds = _log_odds(logits / calibration.temperature)
    return softmax(log_expit(odds * np.asarray(calibration.scale) + np.asarray(calibration.shift)))


_APPLY: dict[CalibrationKind, Callable[[Floats, Calibration], Floats]] = {
    CalibrationKind.TEMPERATURE: _by_temperature,
    CalibrationKind.UNSMOOTHED: _without_smoothing,
    CalibrationKind.VECTOR: _by_vector,
    CalibrationKind.CLASS_WISE: _by_class,
}


def _log_odds(scaled: Floats) -> Floats:
    """float64 [n, k]: ``log p / (1 - p)`` of each class, without ever taking 1 - p of a p near 1."""
    rest = np.stack([logsumexp(np.delete(scaled, index, axis=1), axis=1) for index in range(scaled.shape[1])], axis=1)
    return np.asarray(scaled - rest)


def _fit_smoothing(scaled: Floats, truth: NDArray[np.int64], start: Calibration) -> Calibration:
    from scipy.optimize import minimize

    def made(values: Floats) -> Calibration:
        warmer, smoothing = values
        return Calibration(
            kind=CalibrationKind.UNSMOOTHED,
            temperature=start.temperature * float(np.exp(warmer)),
            smoothing=float(smoothing),
        )

    def loss(values: Floats) -> float:
        probabilities = _without_smoothing(scaled * start.temperature, made(values))
        prior = values[0] ** 2 + (values[1] / _USUAL_SMOOTHING) ** 2
        return float(_losses(probabilities, truth).sum() + 0.5 * _PRIOR_WEIGHT * prior)

    bounds = [(-2.0, 2.0), (1e-4, _MOST_SMOOTHED)]
    tries = [
        minimize(loss, np.array([0.0, smoothing]), method="L-BFGS-B", bounds=bounds)
        for smoothing in (0.01, _USUAL_SMOOTHING)  # the loss has a second valley where almost nothing is taken off
    ]
    return made(min(tries, key=lambda one: float(one.fun)).x)


def _fit_vector(scaled: Floats, truth: NDArray[np.int64], start: Calibration) -> Calibration:
    k = scaled.shape[1]
    one_hot = np.eye(k)[truth]

    def loss_and_gradient(flat: Floats) -> tuple[float, Floats]:
        scale, shift = flat[:k], flat[k:]
        z = scaled * scale + shift
        log_p = z - logsumexp(z, axis=1, keepdims=True)
        slope = np.exp(log_p) - one_hot
        prior = ((scale - 1.0) ** 2).sum() + (shift**2).sum()
        loss = -float((one_hot * log_p).sum()) + 0.5 * _PRIOR_WEIGHT * float(prior)
        gradient = np.concatenate([(slope * scaled).sum(axis=0), slope.sum(axis=0)])
        return loss, gradient + _PRIOR_WEIGHT * np.concatenate([scale - 1.0, shift])

    return _filled(CalibrationKind.VECTOR, start, _minimum(loss_and_gradient, k))


def _fit_classes(scaled: Floats, truth: NDArray[np.int64], start: Calibration) -> Calibration:
    odds, k = _log_odds(scaled), scaled.shape[1]
    odds = np.clip(odds, -50.0, 50.0)
    one_hot = np.eye(k)[truth]

    def loss_and_gradient(flat: Floats) -> tuple[float, Floats]:
        scale, shift = flat[:k], flat[k:]
        z = odds * scale + shift
        loss = -float((one_hot * log_expit(z) + (1.0 - one_hot) * log_expit(-z)).sum())
        slope = expit(z) - one_hot
        prior = ((scale - 1.0) ** 2).sum() + (shift**2).sum()
        gradient = np.concatenate([(slope * odds).sum(axis=0), slope.sum(axis=0)])
        return loss + 0.5 * _PRIOR_WEIGHT * float(prior), gradient + _PRIOR_WEIGHT * np.concatenate([scale - 1, shift])

    return _filled(CalibrationKind.CLASS_WISE, start, _minimum(loss_and_gradient, k))


_FIT: dict[CalibrationKind, Callable[[Floats, NDArray[np.int64], Calibration], Calibration]] = {
    CalibrationKind.TEMPERATURE: lambda _scaled, _truth, start: start,
    CalibrationKind.UNSMOOTHED: _fit_smoothing,
    CalibrationKind.VECTOR: _fit_vector,
    CalibrationKind.CLASS_WISE: _fit_classes,
}

_THEN = {
    CalibrationKind.TEMPERATURE: "",
    CalibrationKind.UNSMOOTHED: ", then without what label smoothing left",
    CalibrationKind.VECTOR: ", then a scale and a shift of each class",
    CalibrationKind.CLASS_WISE: ", then each class against the rest",
}
"""What is done to the logits besides dividing them."""

_WORDS = {
    CalibrationKind.TEMPERATURE: "one temperature",
    CalibrationKind.UNSMOOTHED: "one temperature without what label smoothing left",
    CalibrationKind.VECTOR: "a scale and a shift of each class",
    CalibrationKind.CLASS_WISE: "each class against the rest",
}


def _minimum(loss_and_gradient: Callable[[Floats], tuple[float, Floats]], k: int) -> Floats:
    from scipy.optimize import minimize

    start = np.concatenate([np.ones(k), np.zeros(k)])
    bounds = [(0.05, 20.0)] * k + [(-20.0, 20.0)] * k  # a negative scale would turn the order of classes around
    found: Floats = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found


def _filled(kind: CalibrationKind, start: Calibration, found: Floats) -> Calibration:
    k = len(found) // 2
    scale, shift = (tuple(float(value) for value in part) for part in (found[:k], found[k:]))
    return Calibration(kind=kind, temperature=start.temperature, scale=scale, shift=shift)


def _losses(probabilities: Floats, truth: NDArray[np.int64]) -> Floats:
    return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _SMALLEST)))


def _mean_and_error(values: Floats, groups: NDArray[np.int64]) -> tuple[float, float]:
    """Mean over images, and its standard error with groups as draws."""
    if not len(values):
        return 0.0, 0.0
    mean = float(values.mean())
    totals = np.bincount(groups, values - mean)
    count = len(totals)
    return mean, float(np.sqrt(count / max(1, count - 1) * (totals**2).sum()) / len(values))
