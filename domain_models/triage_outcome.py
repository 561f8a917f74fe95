"""What a triage rule does on labelled images that it was not set on, and what hindsight would have allowed there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.vocabulary import Decision
from domain_models.decision_costs import most_probable
from domain_models.intervals import Interval, clopper_pearson, group_codes, independent_equivalent
from domain_models.triage import TriageRule, checked, confidence_and_margin, decide


class TriageOutcome(BaseModel):
    """What a rule does on labelled images that it was not set on; keys join those of ``tailsight evaluate``.

    ``coverage_at_limit`` is the share decided automatically by the rule, ``automatic_error`` the share of wrong ones
    among them; ``best_coverage_at_limit`` is what the best confidence threshold in hindsight would have allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coverage_at_limit: float
    coverage_at_limit_ci: Interval | None
    automatic_error: float | None
    automatic_error_ci: Interval | None
    n_automatic: int
    n_automatic_wrong: int
    best_coverage_at_limit: float
    reader_hours_per_1000: float


def measure(
    probabilities: ArrayLike,
    labels: ArrayLike,
    rule: TriageRule,
    classes: Sequence[str],
    *,
    groups: Sequence[object] | ArrayLike | None = None,
    held_back: NDArray[np.bool_] | None = None,
    predicted: NDArray[np.int64] | None = None,
) -> TriageOutcome:
    """What a rule does on a labelled split that it was not set on.

    Args:
        probabilities: float [n, k], calibrated.
        labels: int [n].
        rule: from :func:`~domain_models.triage.fit_triage`.
        classes: k names in index order.
        groups: one value per image, or ``None``.
        held_back: see :func:`~domain_models.triage.decide`.
        predicted: int64 [n]; ``None``: the most probable classes.

    Raises:
        ValueError: shapes do not match.
    """
    values, truth = checked(probabilities, labels, len(classes))
    codes = group_codes(groups, len(truth))
    named = most_probable(values) if predicted is None else predicted
    automatic = decide(values, rule, classes, held_back, named)[0] == Decision.AUTO.value
    wrong = automatic & (named != truth)
    n, chosen = len(truth), int(automatic.sum())
    share = chosen / n if n else 0.0
    worth, worth_all = independent_equivalent(codes[automatic]), independent_equivalent(codes)
    error = int(wrong.sum()) / chosen if chosen else None
    return TriageOutcome(
        coverage_at_limit=share,
        coverage_at_limit_ci=clopper_pearson(share * worth_all, worth_all),
        automatic_error=error,
        automatic_error_ci=clopper_pearson(error * worth, worth) if error is not None else None,
        n_automatic=chosen,
        n_automatic_wrong=int(wrong.sum()),
        best_coverage_at_limit=coverage_at_limit(values, truth, rule.limit, named),
        reader_hours_per_1000=(1 - share) * 1000 * rule.seconds_per_image / 3600,
    )


def coverage_at_limit(
    probabilities: ArrayLike, labels: ArrayLike, limit: float, predicted: NDArray[np.int64] | None = None
) -> float:
    """The largest share of these images, the most confident first, of which at most ``limit`` are wrong: hindsight.

    Ties in confidence are decided together.

    Args:
        probabilities: float [n, k].
        labels: int [n].
        limit: share of wrong decisions allowed.
        predicted: int64 [n]; ``None``: the most probable classes.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(labels)
    if not len(truth):
        return 0.0
    confidence, _, named = confidence_and_margin(values, predicted)
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum((named != truth)[order])
    taken = np.arange(1, len(truth) + 1)
    last_of_tie = np.append(np.diff(confidence[order]) != 0, True)
    allowed = np.nonzero((errors <= limit * taken) & last_of_tie)[0]
    return float((allowed[-1] + 1) / len(truth)) if allowed.size else 0.0
