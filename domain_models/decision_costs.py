"""What a wrong decision costs, and the decision that is expected to cost least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.profile import ConfusionCost


def cost_matrix(classes: Sequence[str], costs: Sequence[ConfusionCost]) -> NDArray[np.float64]:
    """What calling class i class j costs, float64 [k, k]: as the profile says; else 1 for a mistake and 0 for none.

    Args:
        classes: k names in index order; costs of other classes are passed over.
        costs: of the profile.
    """
    table = 1.0 - np.eye(len(classes))
    index = {name: number for number, name in enumerate(classes)}
    for item in costs:
        if item.actual in index and item.predicted in index:
            table[index[item.actual], index[item.predicted]] = item.cost
    return table


def cheapest(probabilities: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class that is expected to cost least for each image, int64 [n]: ``argmin_j sum_i p_i c_ij`` (Bayes risk).

    With equal costs it is the most probable class (Elkan, The Foundations of Cost-Sensitive Learning, IJCAI 2001).

    Args:
        probabilities: float64 [n, k], calibrated.
        table: float64 [k, k], see :func:`cost_matrix`.
    """
    return np.asarray((probabilities @ table).argmin(axis=1), dtype=np.int64)
