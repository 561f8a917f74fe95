"""The second stage: only the classifier changes, so that rare classes are heard (Kang et al., ICLR 2020).

The representation was learned on the natural distribution, where it is best learned; the classifier is then rebalanced.
Whether that helps is decided on the validation images, and said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from domain_models.linear_probe import (
    PENALTIES,
    LinearProbe,
    class_frequency_prior,
    fit_linear_probe,
    validation_score,
)
from domain_models.training_config import SecondStageKind

ADJUSTMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Strengths of the shift against the class frequencies that are tried."""

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
    """Lower the bias of frequent classes by a share of their log frequency (Menon et al., ICLR 2021)."""
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


def best_on_validation(
    candidates: list[Rebalanced], val_features: Features, val_labels: NDArray[np.int64]
) -> tuple[Rebalanced, float]:
    """The candidate with the best validation score, and its macro-F1."""
    scores = [validation_score(c.classifier.logits(val_features), val_labels) for c in candidates]
    best = max(range(len(candidates)), key=lambda i: scores[i])
    return candidates[best], scores[best][0]
