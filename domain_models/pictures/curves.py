"""How training went, epoch by epoch."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from domain_models.pictures.canvas import SERIES, dress, new_figure

_NOT_CURVES = frozenset({"epoch", "stage", "seconds", "images_per_second"})


def curves_figure(history: pd.DataFrame) -> Figure:
    """Draw the numeric columns of a training history: losses, learning rates, and shares (all else), a panel each.

    Args:
        history: one row per epoch, in order; a column ``epoch`` if epochs do not count from 1. Empty columns are left
            out; undefined values leave gaps.
    """
    epochs = history["epoch"] if "epoch" in history else pd.Series(range(1, len(history) + 1), index=history.index)
    numeric = [
        str(name)
        for name in history.select_dtypes("number").columns
        if name not in _NOT_CURVES and bool(history[name].notna().any())
    ]
    panels = {
        "loss": [name for name in numeric if "loss" in name or "nll" in name],
        "share of the validation split": [
            name for name in numeric if history[name].dropna().between(0, 1).all() and not _is_other(name)
        ],
        "share of the pool": [name for name in numeric if name.startswith("pool_share")],
        "learning rate": [name for name in numeric if _is_rate(name)],
    }
    shown = {title: names for title, names in panels.items() if names}
    figure = new_figure(max(4.8, 4.2 * len(shown)), 3.8, "How training went")
    for column, (title, names) in enumerate(shown.items()):
        axes = figure.add_subplot(1, len(shown), column + 1)
        dress(axes, x="epoch", grid="y")
        axes.set_title(title, loc="left", fontsize=10)
        for number, name in enumerate(names):
            axes.plot(
                epochs,
                history[name],
                color=SERIES[number % len(SERIES)],
                linewidth=1.8,
                marker="o" if len(history) <= 30 else None,
                markersize=4,
                linestyle="-" if number < len(SERIES) else "--",
                label=name.replace("_", " "),
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(history):
            axes.legend(frameon=False, fontsize=8.5)
    return figure


def _is_rate(name: str) -> bool:
    return name == "lr" or "learning_rate" in name or name.startswith("lr_")


def _is_other(name: str) -> bool:
    return "loss" in name or "nll" in name or name.startswith("pool_") or _is_rate(name)
