"""How well probabilities rank images: one-versus-rest area under the ROC curve, with an interval for grouped images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from domain_models.intervals import CONFIDENCE, Interval


def auroc_ovr_macro(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    confidence: float = CONFIDENCE,
) -> tuple[float | None, Interval | None]:
    """Macro one-versus-rest AUROC and its interval.

    The mean over classes that have images inside and outside (as scikit-learn's on those classes). The interval is
    normal, with the variance of each group's summed influence (DeLong, DeLong, Clarke-Pearson, Biometrics 1988,
    clustered as by Obuchowski, Biometrics 1997).

    Args:
        probabilities: float64 [n, k].
        labels: int64 [n].
        groups: int64 [n].

    Returns:
        The figure and its interval; both ``None`` where no class can be ranked.
    """
    from scipy import stats

    n, k = probabilities.shape
    influence = np.zeros(n)
    areas = []
    for index in range(k):
        inside = labels == index
        positives = int(inside.sum())
        negatives = n - positives
        if positives == 0 or negatives == 0:
            continue
        scores = probabilities[:, index]
        all_ranks = stats.rankdata(scores)
        beaten = np.empty(n)
        beaten[inside] = (all_ranks[inside] - stats.rankdata(scores[inside])) / negatives
        beaten[~inside] = 1 - (all_ranks[~inside] - stats.rankdata(scores[~inside])) / positives
        area = float(beaten[inside].mean())
        areas.append(area)
        influence += (beaten - area) * np.where(inside, n / positives, n / negatives)
    if not areas:
        return None, None
    figure = float(np.mean(areas))
    totals = np.bincount(groups, influence / len(areas))
    count = totals.size
    if count < 2:
        return figure, None
    deviation = float(np.sqrt(count / (count - 1) * (totals**2).sum())) / n
    half = float(ndtri(0.5 + confidence / 2)) * deviation
    return figure, (max(0.0, figure - half), min(1.0, figure + half))
