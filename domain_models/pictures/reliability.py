"""Does 80% mean 80%? Confidence against accuracy, before and after calibration."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from domain_models.calibration import ReliabilityBins, reliability
from domain_models.intervals import wilson
from domain_models.pictures.canvas import BLUE, GREEN, INK, LINE, MUTED, VERMILION, dress, new_figure


def reliability_figure(
    before: ArrayLike | None,
    after: ArrayLike,
    labels: ArrayLike,
    *,
    predicted: NDArray[np.int64] | None = None,
    ece_of_a_calibrated_model: float | None = None,
) -> Figure:
    """Draw reliability before and after calibration.

    Args:
        before: float [n, k], probabilities without calibration; ``None`` where they are not known.
        after: float [n, k], with it.
        labels: int [n].
        predicted: int64 [n]; ``None``: the most probable classes.
        ece_of_a_calibrated_model: what chance alone would show, named in the subtitle.
    """
    note = (
        None
        if ece_of_a_calibrated_model is None
        else f"A perfectly calibrated model would show an error of {ece_of_a_calibrated_model:.3f} here by chance alone"
    )
    figure = new_figure(9.6, 5.2, "Does confidence mean what it says?", note)
    panels = [("after calibration", after, BLUE)]
    if before is not None:
        panels.insert(0, ("before calibration", before, VERMILION))
    grid = figure.add_gridspec(2, len(panels), height_ratios=(4, 1), hspace=0.02)
    for column, (name, probabilities, colour) in enumerate(panels):
        bins = reliability(probabilities, labels, predicted=predicted)
        top = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column], sharex=top)
        _gap_panel(top, bins, colour, name)
        _count_panel(below, bins)
        if column == 0:
            top.set_ylabel("share that was right", fontsize=10, color=MUTED)
            below.set_ylabel("images", fontsize=9, color=MUTED)
    return figure


def _gap_panel(axes: object, bins: ReliabilityBins, colour: str, name: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    dress(axes, grid="y")
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    known = np.nonzero(bins.count)[0]
    spans = [wilson(bins.accuracy[i] * bins.count[i], float(bins.count[i])) or (0.0, 1.0) for i in known]
    shares = bins.accuracy[known]
    low = shares - np.array([span[0] for span in spans])
    high = np.array([span[1] for span in spans]) - shares
    axes.errorbar(
        bins.confidence[known],
        shares,
        yerr=np.clip(np.vstack([low, high]), 0, None),
        fmt="o-",
        color=colour,
        ecolor=colour,
        elinewidth=1,
        markersize=5,
        linewidth=1.6,
        alpha=0.95,
    )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.tick_params(labelbottom=False)
    axes.set_title(f"{name}: calibration error {bins.error:.3f}", fontsize=10.5, color=INK, loc="left")


def _count_panel(axes: object, bins: ReliabilityBins) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    dress(axes, x="confidence")
    width = float(bins.edges[1] - bins.edges[0])
    axes.bar(bins.edges[:-1] + width / 2, bins.count, width=width * 0.86, color=LINE, edgecolor=GREEN, linewidth=0)
    axes.set_yticks([0, int(bins.count.max()) if bins.count.size else 1])
