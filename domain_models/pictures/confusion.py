"""What was called what: the confusion matrix, with its most confused pairs marked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from domain_models.metrics import most_confused
from domain_models.pictures.canvas import INK, LINE, MUTED, SHADES, VERMILION, as_text, dress, name_ticks, new_figure

_MOST_WITH_NUMBERS = 14


def confusion_figure(confusion: ArrayLike, classes: Sequence[str], *, pairs: int = 3) -> Figure:
    """Draw a confusion matrix, shaded by the share of each actual class.

    Args:
        confusion: int [k, k], rows actual, columns predicted.
        classes: k names.
        pairs: how many of the most confused pairs are framed and named.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    k = len(classes)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    worst = most_confused(counts, classes, pairs)
    side = float(np.clip(2.6 + 0.62 * k, 5.4, 13.0))
    named = "; ".join(f"{as_text(p.actual, 20)} → {as_text(p.predicted, 20)} ({p.count})" for p in worst[:2])
    figure = new_figure(
        side + 1.2, side, "What was called what", f"Most confused: {named}" if worst else "Nothing was confused"
    )
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="equal")
    size = 9.0 if k <= 20 else 6.5
    positions = [float(index) for index in range(k)]
    name_ticks(axes, "x", positions, list(classes), size=size)
    name_ticks(axes, "y", positions, list(classes), size=size)
    dress(axes, x="predicted", y="actual")
    axes.tick_params(length=0)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontsize(size)
    axes.set_xticks(np.arange(-0.5, k), minor=True)
    axes.set_yticks(np.arange(-0.5, k), minor=True)
    axes.grid(which="minor", color=LINE, linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    if k <= _MOST_WITH_NUMBERS:
        for row, column in np.ndindex(k, k):
            if counts[row, column]:
                axes.text(
                    column,
                    row,
                    _cell(int(counts[row, column]), float(shares[row, column])) if k <= 8 else str(counts[row, column]),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if shares[row, column] > 0.55 else INK,
                )
    index = {name: number for number, name in enumerate(classes)}
    for pair in worst:
        corner = (index[pair.predicted] - 0.5, index[pair.actual] - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=VERMILION, linewidth=2.0, zorder=5, clip_on=False))
    bar = figure.colorbar(image, ax=axes, fraction=0.035, pad=0.02, format=lambda value, _: f"{value:.0%}")
    bar.set_label("share of the actual class", fontsize=9, color=MUTED)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=MUTED, length=0)
    return figure


def _cell(count: int, share: float) -> str:
    return f"{count}\n{'<1%' if share < 0.005 else format(share, '.0%')}"
