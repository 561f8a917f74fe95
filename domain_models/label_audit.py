"""Predictions of labelled images by models that never saw them: what labels are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain_models.calibration import softmax
from domain_models.cross_fitting import group_folds
from domain_models.linear_probe import fit_linear_probe

FOLDS = 5
FEWEST = 20
"""Under so many labelled images nothing is judged."""

_PENALTY = 1e-2


def out_of_fold_probabilities(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: Sequence[str],
    classes: int,
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Class probabilities of each image by a linear classifier fitted to the other folds; no group on both sides.

    Args:
        features: float32 [m, d]; a row with NaN is neither learned from nor judged.
        labels: int64 [m], class indices.
        groups: m names; images of one group are always in one fold.
        classes: k.
        seed: who falls where.

    Returns:
        float64 [m, k]; rows with NaN where nothing can be said (too few images, or only one class).
    """
    out = np.full((len(labels), classes), np.nan)
    known = np.flatnonzero(np.isfinite(features).all(axis=1)) if features.shape[1] else np.zeros(0, dtype=np.int64)
    if len(known) < FEWEST or len(np.unique(labels[known])) < 2:
        return out
    x, y = features[known], labels[known]
    for train, held in group_folds(y, tuple(groups[int(i)] for i in known), FOLDS, seed):
        if len(np.unique(y[train])) < 2:
            continue
        probe = fit_linear_probe(x[train], y[train], np.ones(len(train)), classes, penalty=_PENALTY)
        out[known[held]] = softmax(probe.logits(x[held]), 1.0)
    return out
