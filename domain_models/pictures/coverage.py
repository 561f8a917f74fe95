"""What more automatic decisions would cost: error against the share decided automatically."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from domain_models.pictures.canvas import BLUE, INK, MUTED, VERMILION, dress, new_figure
from domain_models.triage import TriageRule, confidence_and_margin
from domain_models.triage_outcome import measure


def coverage_figure(
    probabilities: ArrayLike,
    labels: ArrayLike,
    rule: TriageRule,
    classes: Sequence[str],
    *,
    predicted: NDArray[np.int64] | None = None,
) -> Figure:
    """Draw error among the most confident predictions as their share grows, with the limit and where the rule stands.

    Args:
        probabilities: float [n, k], calibrated, of labelled images.
        labels: int [n].
        rule: the rule in force.
        classes: k names.
        predicted: int64 [n]; ``None``: the most probable classes.
    """
    values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    outcome = measure(values, truth, rule, classes, predicted=predicted)
    confidence, _, named = confidence_and_margin(values, predicted)
    order = np.argsort(-confidence, kind="stable")
    taken = np.arange(1, len(truth) + 1)
    errors = np.cumsum((named != truth)[order]) / taken
    figure = new_figure(
        7.2,
        4.4,
        "What more automatic decisions would cost",
        f"The rule decides {outcome.coverage_at_limit:.0%} of these images alone"
        + (f", {outcome.automatic_error:.1%} of them wrongly" if outcome.automatic_error is not None else ""),
    )
    axes = figure.add_subplot()
    dress(axes, x="share decided automatically, the most confident first", y="share of those that is wrong", grid="y")
    axes.plot(taken / len(truth), errors, color=BLUE, linewidth=1.8)
    axes.axhline(rule.limit, color=VERMILION, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate(
        f"limit {rule.limit:.1%}",
        (1.0, rule.limit),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=9,
        color=VERMILION,
    )
    if outcome.automatic_error is not None:
        axes.plot([outcome.coverage_at_limit], [outcome.automatic_error], "o", color=INK, markersize=8, zorder=5)
        axes.annotate(
            "the rule",
            (outcome.coverage_at_limit, outcome.automatic_error),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=INK,
        )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, max(float(errors[len(errors) // 20 :].max(initial=0.0)), rule.limit) * 1.25)
    axes.margins(0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.tick_params(colors=MUTED)
    return figure
