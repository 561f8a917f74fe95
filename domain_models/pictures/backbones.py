"""Backbones by what they cost and what their features are worth."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from domain_models.backbone_matrix import BackboneRow
from domain_models.pictures.canvas import INK, SERIES, as_text, dress, new_figure


def backbones_figure(rows: Sequence[BackboneRow]) -> Figure:
    """Draw validation macro-F1 against milliseconds per image; the area of a point is the size of the model.

    Args:
        rows: those without a macro-F1 are left out.
    """
    figure = new_figure(
        7.6,
        4.6,
        "What backbones cost and give",
        "A linear classifier on their features; larger points are larger models",
    )
    axes = figure.add_subplot()
    dress(axes, x="milliseconds for one image on this machine", y="macro-F1 on the validation images", grid="y")
    known = [(row, row.macro_f1) for row in rows if row.macro_f1 is not None]
    families = list(dict.fromkeys(row.family for row, _ in known))
    for row, worth in known:
        colour = SERIES[families.index(row.family) % len(SERIES)]
        axes.scatter([row.milliseconds], [worth], s=20 + 8 * row.megabytes, color=colour, alpha=0.7, linewidth=0)
        note = axes.annotate(
            as_text(row.backbone, 34),
            (row.milliseconds, worth),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=8.5,
            color=INK,
        )
        note.set_parse_math(False)
    axes.set_xlim(left=0)
    axes.margins(x=0.2, y=0.2)
    return figure
