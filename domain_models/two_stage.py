"""The second stage: only the classifier changes, so that rare classes are heard (Kang et al., ICLR 2020).

The representation was learned on the natural distribution, where it is best learned; the classifier is then rebalanced.
Whether that helps is decided on the validation images, and said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from domain_models.calibrators import CalibrationKind, fit_kind
from domain_models.linear_probe import (
    LinearProbe,
    balanced_accuracy,
    class_frequency_prior,
    fit_linear_probe,
    macro_f1,
)
from domain_models.training_config import SecondStageKind

ADJUSTMENTS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
"""Strengths of the shift against the class frequencies that are tried."""

PENALTIES = (1e-1, 1e-2, 1e-3)
"""Strengths of the penalty on a classifier that is fitted anew to learned features, or on its factors."""

INDIFFERENCE = 0.01
"""Macro-F1 that is given for a better balanced accuracy."""

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Rebalanced:
    """A rebalanced classifier and the strength it was made with (a penalty or a share), to make it so again."""

    classifier: LinearProbe
    strength: float


Candidates = Callable[
    [LinearProbe, Features, NDArray[np.int64], NDArray[np.float64], tuple[float, ...] | None], list[Rebalanced]
]
"""The classifier as it is, training features float32 [n, d], labels int64 [n], weights float64 [n], and the strengths
to try (``None``: the usual ones), to one rebalanced classifier per strength."""


def keep_classifier(
    classifier: LinearProbe,
    features: Features,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    strengths: tuple[float, ...] | None = None,
) -> list[Rebalanced]:
    """No second stage."""
    del features, labels, weights, strengths
    return [Rebalanced(classifier, 0.0)]


def retrain_classifier(
    classifier: LinearProbe,
    features: Features,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    strengths: tuple[float, ...] | None = None,
) -> list[Rebalanced]:
    """A new classifier on the learned features, with balanced softmax; the strength is its weight penalty."""
    classes = len(classifier.bias)
    prior = class_frequency_prior(np.bincount(labels[weights > 0], minlength=classes))
    return [
        Rebalanced(fit_linear_probe(features, labels, weights, classes, penalty=penalty, prior=prior), penalty)
        for penalty in (PENALTIES if strengths is None else strengths)
    ]


def adjust_logits(
    classifier: LinearProbe,
    features: Features,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    strengths: tuple[float, ...] | None = None,
) -> list[Rebalanced]:
    """Lower the bias of frequent classes by a share of their log frequency (Menon et al., ICLR 2021).

    A training leaves the classifier and weighs its decisions instead (:mod:`domain_models.decision_weights`), which
    predicts the same classes and keeps the probabilities right.
    """
    del features
    prior = class_frequency_prior(np.bincount(labels[weights > 0], minlength=len(classifier.bias)))
    return [
        Rebalanced(
            LinearProbe(classifier.weight, (classifier.bias - share * prior).astype(np.float32), classifier.penalty),
            share,
        )
        for share in (ADJUSTMENTS if strengths is None else strengths)
    ]


def normalise_weights(
    classifier: LinearProbe,
    features: Features,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    strengths: tuple[float, ...] | None = None,
) -> list[Rebalanced]:
    """Divide each class's weights by a power of their length, ``w_k / |w_k|^tau`` (Kang et al., ICLR 2020, eq. 3).

    Weights of frequent classes grow longer in training. The bias is left out, as there; the strength is tau.
    """
    del features, labels, weights
    length = np.linalg.norm(classifier.weight, axis=1).clip(1e-12)
    return [
        Rebalanced(_rescaled(classifier, length**-tau), tau)
        for tau in (ADJUSTMENTS if strengths is None else strengths)
    ]


def _rescaled(classifier: LinearProbe, factors: NDArray[np.floating[Any]]) -> LinearProbe:
    """Each class's weights times its factor, float [k], and no bias."""
    weight = (classifier.weight * factors[:, None]).astype(np.float32)
    return LinearProbe(weight, np.zeros_like(classifier.bias), classifier.penalty)


def scale_weights(
    classifier: LinearProbe,
    features: Features,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    strengths: tuple[float, ...] | None = None,
) -> list[Rebalanced]:
    """Learn one factor for each class's weights, ``f_k w_k``, with all classes equally frequent (LWS, Kang et al.).

    The bias is left out, as there. Convex; the strength is the penalty on the squared distance of the factors from 1.
    """
    used = weights > 0
    classes = len(classifier.bias)
    z = features[used].astype(np.float64) @ classifier.weight.T.astype(np.float64)
    y = labels[used]
    in_class = np.bincount(y, weights=weights[used], minlength=classes)
    share = weights[used] / np.maximum(in_class[y], 1e-12) / max(1, int((in_class > 0).sum()))
    target = np.zeros_like(z)
    target[np.arange(len(y)), y] = 1.0

    def fitted(penalty: float) -> NDArray[np.float64]:
        def loss_and_gradient(factors: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            log_p = z * factors
            log_p = log_p - logsumexp(log_p, axis=1, keepdims=True)
            moved = factors - 1.0
            loss = -float((share[:, None] * target * log_p).sum()) + 0.5 * penalty * float((moved**2).sum())
            slope = (share[:, None] * (np.exp(log_p) - target) * z).sum(axis=0) + penalty * moved
            return loss, slope

        found: NDArray[np.float64] = minimize(loss_and_gradient, np.ones(classes), jac=True, method="L-BFGS-B").x
        return found

    return [
        Rebalanced(_rescaled(classifier, fitted(penalty)), penalty)
        for penalty in (PENALTIES if strengths is None else strengths)
    ]


SECOND_STAGES: dict[SecondStageKind, Candidates] = {
    SecondStageKind.NONE: keep_classifier,
    SecondStageKind.CLASSIFIER_RETRAINING: retrain_classifier,
    SecondStageKind.LOGIT_ADJUSTMENT: adjust_logits,
    SecondStageKind.TAU_NORMALISATION: normalise_weights,
    SecondStageKind.LEARNABLE_WEIGHT_SCALING: scale_weights,
}


def expected_figures(predicted: NDArray[np.int64], probabilities: NDArray[np.float64]) -> tuple[float, float]:
    """Macro-F1 and balanced accuracy that predictions will have if the probabilities are right.

    Labels are not asked: a rare class has a handful of them on validation, and every image has probabilities.

    Args:
        predicted: int64 [n].
        probabilities: float64 [n, k], calibrated.
    """
    classes = probabilities.shape[1]
    given = np.bincount(predicted, minlength=classes)
    wanted = probabilities.sum(axis=0)
    right = np.bincount(predicted, weights=probabilities[np.arange(len(predicted)), predicted], minlength=classes)
    f1 = 2.0 * right / np.maximum(given + wanted, 1e-12)
    return float(f1.mean()), float((right / np.maximum(wanted, 1e-12)).mean())


@dataclass(frozen=True)
class Choice:
    """Which classifier goes on, and how the one before and this one were judged.

    Attributes:
        classifier: the one before, where nothing better was found.
        strength: ``None``: the one before.
        before: (macro-F1, balanced accuracy), see :func:`choose_rebalanced`.
        after: the same.
    """

    classifier: LinearProbe
    strength: float | None
    before: tuple[float, float]
    after: tuple[float, float]


def choose_rebalanced(
    classifier: LinearProbe,
    candidates: list[Rebalanced],
    val_features: Features,
    val_labels: NDArray[np.int64],
) -> Choice:
    """The candidate that is expected to be best on images like the validation images.

    What a candidate reaches is judged by the mean of two views: its figures on the validation labels, of which a rare
    class has a handful, and the figures that the classifier's own probabilities promise (:func:`expected_figures`),
    which every image says something about. They are calibrated on validation with a scale and a shift of each class,
    so that they are right also where the classifier was fitted to classes in other shares. Among the candidates within
    ``INDIFFERENCE`` of the best macro-F1 the one with the best balanced accuracy is taken: there the rare classes'
    recall costs nothing.

    Args:
        classifier: as it is.
        candidates: its rebalanced versions.
        val_features: float32 [n, d].
        val_labels: int64 [n].
    """
    logits = classifier.logits(val_features)
    probabilities = fit_kind(CalibrationKind.VECTOR, logits, val_labels).probabilities(logits)
    every = [classifier, *(candidate.classifier for candidate in candidates)]
    figures = []
    for one in every:
        predicted = one.logits(val_features).argmax(axis=1)
        promised = expected_figures(predicted, probabilities)
        seen = macro_f1(predicted, val_labels), balanced_accuracy(predicted, val_labels)
        figures.append(((promised[0] + seen[0]) / 2, (promised[1] + seen[1]) / 2))
    best = better_balanced(figures)
    same = best == 0 or figures[best] == figures[0]
    strength = None if same else candidates[best - 1].strength
    return Choice(classifier if same else every[best], strength, figures[0], figures[best])


def better_balanced(figures: Sequence[tuple[float, float]]) -> int:
    """Of those within ``INDIFFERENCE`` of the best macro-F1, the first with the best balanced accuracy.

    Args:
        figures: (macro-F1, balanced accuracy) of each.
    """
    least = max(f1 for f1, _ in figures) - INDIFFERENCE
    return max((i for i, (f1, _) in enumerate(figures) if f1 >= least), key=lambda i: figures[i][1])


def in_words(f1_before: float, recall_before: float, f1_after: float, recall_after: float) -> str:
    """How the choice was made, for a model's card."""
    return (
        f"macro-F1 {f1_before:.3f} before and {f1_after:.3f} after, balanced accuracy {recall_before:.3f} and"
        f" {recall_after:.3f} (means of what validation labels show and what calibrated probabilities promise)"
    )
