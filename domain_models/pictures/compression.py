"""Smaller models by what they cost and what they lose."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from domain_models.compression import CompressionRow, Target, TargetKind, pareto_front
from domain_models.pictures.canvas import INK, LINE, MUTED, SERIES, as_text, dress, new_figure


def compression_figure(rows: Sequence[CompressionRow], target: Target, max_loss: float, chosen: str | None) -> Figure:
    """Draw validation macro-F1 against the target's figure; a line joins what nothing beats in both.

    Args:
        rows: at least one.
        target: drawn as a line that the chosen model has to be left of.
        max_loss: in points; drawn as a line that it has to be above.
        chosen: the name of a row, marked by a ring.
    """
    figure = new_figure(
        8.2,
        6.2,
        "What smaller models cost and lose",
        "The line joins models that no other beats in both; dashes: what was asked for; ring: chosen; bars: 95%",
    )
    axes = figure.add_subplot()
    milliseconds = target.kind is TargetKind.MILLISECONDS
    label = "milliseconds an image on this machine, all cores" if milliseconds else "megabytes of what is deployed"
    dress(axes, x=label, y="macro-F1 on the validation images", grid="y")
    front = pareto_front(rows, target)
    axes.plot([target.of(row) for row in front], [row.macro_f1 for row in front], color=LINE, linewidth=2, zorder=1)
    families = list(dict.fromkeys(row.family for row in rows))
    for number, family in enumerate(families):
        own = [row for row in rows if row.family == family]
        places, values = [target.of(row) for row in own], [row.macro_f1 for row in own]
        colour = SERIES[number % len(SERIES)]
        axes.scatter(places, values, s=46, color=colour, linewidth=0, zorder=3, label=as_text(family))
        for row, place in zip(own, places, strict=True):
            if row.macro_f1_ci is not None:
                axes.plot([place, place], row.macro_f1_ci, color=colour, alpha=0.25, linewidth=1.5, zorder=2)
    named = [row for row in rows if row in front or row.name == chosen]
    named.sort(key=lambda row: (target.of(row), row.name))
    for number, row in enumerate(named, start=1):
        if row.name == chosen:
            axes.scatter([target.of(row)], [row.macro_f1], s=190, facecolor="none", edgecolor=INK, zorder=4)
        point = (target.of(row), row.macro_f1)
        axes.annotate(str(number), point, xytext=(7, 5), textcoords="offset points", fontsize=9, color=INK)
    axes.axvline(target.at_most, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    lost = rows[0].macro_f1 - rows[0].difference - max_loss / 100
    axes.axhline(lost, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(left=0)
    axes.margins(x=0.08)
    handles, labels = axes.get_legend_handles_labels()
    # a picture has no room for long names beside points that lie close together
    handles += [Line2D([], [], marker=f"${number}$", color=INK, linewidth=0) for number in range(1, len(named) + 1)]
    labels += [as_text(row.name, 80) for row in named]
    legend = axes.legend(
        handles, labels, frameon=False, fontsize=9, labelcolor=INK, loc="upper left", bbox_to_anchor=(0, -0.13)
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure
