"""How macro-F1 and the recall of rare classes grow with the number of labels, strategy by strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from domain_models.pictures.canvas import LINE, MUTED, SERIES, as_text, dress, new_figure


@dataclass(frozen=True)
class Band:
    """A curve with its interval at each point: labels int64 [p], the others float64 [p] with NaN where unknown."""

    labels: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def label_curves_figure(
    macro_f1: Mapping[str, Band],
    few: Mapping[str, Band],
    *,
    full: float,
    targets: Sequence[float],
    baseline: str,
) -> Figure:
    """Draw both panels.

    Args:
        macro_f1: by strategy.
        few: by strategy, recall of the third of classes with fewest images.
        full: macro-F1 with all labels.
        targets: shares of it that are marked.
        baseline: the strategy that is drawn in grey.
    """
    figure = new_figure(
        11.0, 4.6, "What labels buy", f"With all labels macro-F1 is {full:.3f}; bands are 95% intervals over seeds"
    )
    left, right = figure.subplots(1, 2)
    _panel(left, macro_f1, "macro-F1 on the test images", baseline)
    for target in targets:
        left.axhline(target * full, color=LINE, linewidth=1.2, linestyle=(0, (4, 3)), zorder=0)
        left.annotate(
            f"{target:.0%} of full",
            (0.0, target * full),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=8.5,
            color=MUTED,
        )
    _panel(right, few, "recall of the rarest third of classes", baseline)
    return figure


def _panel(axes: Axes, bands: Mapping[str, Band], title: str, baseline: str) -> None:
    dress(axes, x="labels", grid="y")
    axes.set_title(title, loc="left", fontsize=10)
    colours = iter(SERIES * (1 + len(bands) // len(SERIES)))
    for name, band in bands.items():
        colour = MUTED if name == baseline else next(colours)
        axes.plot(
            band.labels,
            band.mean,
            color=colour,
            linewidth=1.8,
            linestyle="--" if name == baseline else "-",
            label=as_text(name.replace("_", " ")),
        )
        axes.fill_between(band.labels, band.low, band.high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    ticks = _round_numbers(np.concatenate([band.labels for band in bands.values()]))
    axes.set_xticks(ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if bands:
        axes.legend(frameon=False, fontsize=8.5, loc="lower right")


def _round_numbers(labels: NDArray[np.int64]) -> list[int]:
    """1, 2 and 5 times powers of ten within reach, and the ends."""
    low, high = int(labels.min()), int(labels.max())
    numbers = [m * 10**e for e in range(0, 8) for m in (1, 2, 5)]
    return [number for number in numbers if low <= number <= high] or [low, high]
