"""The second stage: only the classifier changes, so that rare classes are heard (Kang et al., ICLR 2020).

The representation was learned on the natural distribution, where it is best learned; the classifier is then rebalanced.
Whether that helps is decided on the validation images, and said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


SECOND_STAGES: dict[SecondStageKind, Candidates] = {
    SecondStageKind.NONE: keep_classifier,
    SecondStageKind.CLASSIFIER_RETRAINING: retrain_classifier,
    SecondStageKind.LOGIT_ADJUSTMENT: adjust_logits,
}


def best_on_validation(
    candidates: list[Rebalanced], val_features: Features, val_labels: NDArray[np.int64]
) -> tuple[Rebalanced, float]:
    """The candidate with the best validation score, and its macro-F1."""
    scores = [validation_score(c.classifier.logits(val_features), val_labels) for c in candidates]
    best = max(range(len(candidates)), key=lambda i: scores[i])
    return candidates[best], scores[best][0]
