"""How much more a mistake on a rare class counts when the class to predict is chosen, decided on validation images.

Post-hoc logit adjustment (Menon et al., ICLR 2021) shifts the logits against the class frequencies, after which they
are no logits of probabilities any more. Here the probabilities stay as they were calibrated, and the same shift is made
where the class is chosen: ``argmax_j w_j p_j`` with ``w_j = prior_j^-s``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain_models.calibration import cross_fitted_probabilities
from domain_models.calibrators import choose_calibration, fitter
from domain_models.decision_costs import DecisionCosts
from domain_models.linear_probe import balanced_accuracy, class_frequency_prior, macro_f1
from domain_models.two_stage import ADJUSTMENTS, better_balanced, expected_figures, in_words


@dataclass(frozen=True)
class DecisionWeights:
    """What was chosen.

    Attributes:
        weights: float64 [k]; 1 for the most frequent class. ``None``: a mistake on any class counts the same.
        strength: s; ``None`` without weights.
        sentence: how it was chosen, for a model's card.
        figures: (macro-F1, balanced accuracy) that predictions with these weights are expected to have.
    """

    weights: NDArray[np.float64] | None
    strength: float | None
    sentence: str
    figures: tuple[float, float]


def choose_decision_weights(
    logits: ArrayLike,
    labels: NDArray[np.int64],
    class_counts: NDArray[np.int64],
    *,
    groups: Sequence[object] | ArrayLike | None = None,
    seed: int = 0,
) -> DecisionWeights:
    """The strength of the weights that is expected to be best on images like the validation images.

    Judged on calibrated probabilities, each image's by a calibration that it had no part in, as the mean of two views:
    the figures on the labels, of which a rare class has a handful, and the figures that the probabilities promise
    (:func:`~domain_models.two_stage.expected_figures`). Among strengths that are alike in macro-F1 the one with the
    best balanced accuracy is taken.

    Args:
        logits: float [n, k] of validation images.
        labels: int64 [n].
        class_counts: int64 [k], training images of each class.
        groups: one value per image, or ``None``.
        seed: of the folds.
    """
    calibration, _ = choose_calibration(logits, labels, groups=groups, keep_decisions=False, seed=seed)
    fit = fitter(calibration.kind)
    probabilities = cross_fitted_probabilities(logits, labels, groups=groups, seed=seed, fit=fit)
    prior = class_frequency_prior(class_counts)
    every = [np.exp(-strength * (prior - prior.max())) for strength in ADJUSTMENTS]
    figures = []
    for weights in every:
        predicted = DecisionCosts.weighing(weights).predicted(probabilities)
        f1, recall = expected_figures(predicted, probabilities)
        figures.append(((f1 + macro_f1(predicted, labels)) / 2, (recall + balanced_accuracy(predicted, labels)) / 2))
    best = better_balanced(figures)
    kept = figures[best] != figures[0]
    said = f"Second stage (logit adjustment): {in_words(*figures[0], *figures[best])}; "
    if not kept:
        return DecisionWeights(None, None, said + "not kept.", figures[0])
    most = float(every[best].max())
    return DecisionWeights(
        every[best],
        ADJUSTMENTS[best],
        f"{said}kept (strength {ADJUSTMENTS[best]:g}): a mistake on the rarest class counts {most:.1f} times one on the"
        " most frequent when the class to predict is chosen; probabilities stay as they are.",
        figures[best],
    )
