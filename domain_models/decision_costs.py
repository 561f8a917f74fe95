"""What a wrong decision costs, and the class that is predicted: the one that is expected to cost least.

A probability says how often; what is predicted is another question. Where every mistake counts the same, the most
probable class is predicted. Where the profile says what mistakes cost, or a mistake on a rare class counts more so that
rare classes are found, another class may be, and its probability stays what it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from data_contracts.profile import ConfusionCost

Floats = NDArray[np.float64]


def cost_matrix(classes: Sequence[str], costs: Sequence[ConfusionCost]) -> Floats:
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


def weighted_mistakes(weights: NDArray[np.floating]) -> Floats:
    """Costs float64 [k, k] where any mistake on an image of class i costs ``weights[i]``, float [k].

    Predicting what costs least is then ``argmax_j w_j p_j``: with ``w_j = prior_j^-s`` it is post-hoc logit adjustment
    of strength s (Menon et al., ICLR 2021, eq. 9).
    """
    return np.asarray((1.0 - np.eye(len(weights))) * np.asarray(weights, dtype=np.float64)[:, None])


def cheapest(probabilities: Floats, table: Floats) -> NDArray[np.int64]:
    """The class that is expected to cost least for each image, int64 [n]: ``argmin_j sum_i p_i c_ij`` (Bayes risk).

    With equal costs it is the most probable class (Elkan, The Foundations of Cost-Sensitive Learning, IJCAI 2001).

    Args:
        probabilities: float64 [n, k], calibrated.
        table: float64 [k, m], what calling class i the j-th class that may be predicted costs; see :func:`cost_matrix`.
    """
    return np.asarray((probabilities @ table).argmin(axis=1), dtype=np.int64)


def most_probable(probabilities: Floats) -> NDArray[np.int64]:
    """The most probable class of each image, int64 [n], of probabilities float64 [n, k]."""
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


class DecisionCosts(BaseModel):
    """What a model's mistakes count when the class to predict is chosen, as its card keeps it.

    ``table`` is k rows of k numbers, what calling class i class j costs; ``None``: every mistake counts the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: tuple[tuple[float, ...], ...] | None = None

    @model_validator(mode="after")
    def _square(self) -> DecisionCosts:
        if self.table is not None and any(len(row) != len(self.table) for row in self.table):
            raise ValueError("the table of costs is not square")
        return self

    @classmethod
    def of(cls, table: Floats | None) -> DecisionCosts:
        """Costs float64 [k, k], or none."""
        return cls(table=None if table is None else tuple(tuple(map(float, row)) for row in table))

    @classmethod
    def weighing(cls, weights: NDArray[np.floating] | None) -> DecisionCosts:
        """Any mistake on an image of class i costs ``weights[i]``, float [k]; ``None``: the same."""
        return cls.of(None if weights is None else weighted_mistakes(weights))

    def predicted(self, probabilities: Floats, shares: Floats | None = None) -> NDArray[np.int64]:
        """The predicted class of each image, int64 [n].

        Args:
            probabilities: float64 [n, k], calibrated, of the model's own classes.
            shares: float64 [k, m]; what the model's classes are among the m that may be predicted (more than 0: it is
                this one, or part of it). ``None``: they are its own.
        """
        if self.table is None:
            return most_probable(probabilities if shares is None else probabilities @ shares)
        table = np.asarray(self.table)
        if shares is not None:
            meant = shares > 0
            # calling i one of several merged classes costs what calling it the nearest of them does
            table = np.where(meant[None], table[:, :, None], np.inf).min(axis=1)
        return cheapest(probabilities, np.where(np.isfinite(table), table, np.finfo(np.float32).max))

    def lead(self, probabilities: Floats) -> Floats:
        """How much less the predicted class is expected to cost than the next, float64 [n]; near 0 it is a toss-up.

        With equal costs it is the lead of the most probable class over the second, in probability.

        Args:
            probabilities: float64 [n, k], calibrated.
        """
        expected = -probabilities if self.table is None else probabilities @ np.asarray(self.table)
        ranked = np.sort(expected, axis=1)
        return np.asarray(ranked[:, 1] - ranked[:, 0])

    def relative_lead(self, probabilities: Floats) -> Floats:
        """The same as a share of what the dearest mistakes would be expected to cost, float64 [n], from 0 to 1.

        Where a mistake on class i costs w_i, it is the difference of the two largest ``w_i p_i`` of their sum.

        Args:
            probabilities: float64 [n, k], calibrated.
        """
        lead = self.lead(probabilities)
        if self.table is None:
            return np.asarray(np.clip(lead, 0.0, 1.0))
        dearest = probabilities @ np.asarray(self.table).max(axis=1)
        return np.asarray(np.clip(np.divide(lead, dearest, out=np.zeros_like(lead), where=dearest > 0), 0.0, 1.0))


EQUAL_COSTS = DecisionCosts()
"""Every mistake counts the same: the most probable class is predicted."""
