"""Passing or failing a part: how many bad ones escape and how many good ones are thrown away, wherever the line is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain_models.evaluation import OperatingPoint
from domain_models.intervals import Interval, share_interval

THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Probabilities of the pass class from which on a part passes."""


def pass_rates(
    fails: NDArray[np.bool_], passed: NDArray[np.bool_], codes: NDArray[np.int64]
) -> tuple[float | None, Interval | None, float | None, Interval | None]:
    """Escape rate (bad parts that passed) and overkill rate (good parts that did not), each with its interval.

    Args:
        fails: bool [n]; the part is bad.
        passed: bool [n]; it was called good.
        codes: int64 [n], groups.

    Returns:
        A rate and its interval are ``None`` where no part could escape, or be thrown away.
    """
    escaped, killed = passed[fails], ~passed[~fails]
    return (
        float(escaped.mean()) if escaped.size else None,
        share_interval(escaped, codes[fails]),
        float(killed.mean()) if killed.size else None,
        share_interval(killed, codes[~fails]),
    )


def operating_points(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    classes: Sequence[str],
    pass_class: str | None,
    codes: NDArray[np.int64],
) -> tuple[OperatingPoint, ...]:
    """Both rates where a part passes from a probability of `THRESHOLDS` on; nothing without a pass class.

    Args:
        probabilities: float64 [n, k], calibrated.
        truth: int64 [n].
        classes: k names.
        pass_class: the one that means "good".
        codes: int64 [n], groups.
    """
    if pass_class is None or pass_class not in classes:
        return ()
    index = list(classes).index(pass_class)
    points = []
    for threshold in THRESHOLDS:
        escape, escape_ci, overkill, overkill_ci = pass_rates(
            truth != index, probabilities[:, index] >= threshold, codes
        )
        points.append(
            OperatingPoint(
                threshold=threshold,
                escape_rate=escape,
                escape_rate_ci=escape_ci,
                overkill_rate=overkill,
                overkill_rate_ci=overkill_ci,
            )
        )
    return tuple(points)
