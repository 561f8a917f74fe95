"""The common look: colours that colour-blind readers can tell apart, quiet axes, and class names shown as they are."""

from __future__ import annotations

import io
import unicodedata
import warnings
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

INK = "#1f2933"
MUTED = "#6b7785"
LINE = "#d5dbe1"
BLUE = "#0072b2"  # Okabe and Ito: told apart with every common colour blindness
VERMILION = "#d55e00"
GREEN = "#009e73"
ORANGE = "#e69f00"
PURPLE = "#cc79a7"
SERIES = (BLUE, VERMILION, GREEN, ORANGE, PURPLE)
SHADES = LinearSegmentedColormap.from_list("tailsight", ["#ffffff", "#c6ddec", "#5fa3cf", "#0072b2", "#04395e"])
DOTS_PER_INCH = 110


def new_figure(width: float, height: float, title: str, subtitle: str | None = None) -> Figure:
    """An empty figure (inches) with a title at the left, without matplotlib's global state."""
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    text = figure.suptitle(as_text(title, 90), x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK)
    text.set_parse_math(False)
    if subtitle:
        text.set_text(f"{text.get_text()}\n")
        note = figure.text(0.012, 0.0, as_text(subtitle, 160), ha="left", va="top", fontsize=9.5, color=MUTED)
        note.set_parse_math(False)
        note.set_in_layout(False)
        note.set_gid("subtitle")
    return figure


def dress(axes: Axes, *, x: str = "", y: str = "", grid: Literal["x", "y"] | None = None) -> None:
    """Quiet axes: no box, thin lines, muted ticks, an optional grid along one axis."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=3)
    axes.set_xlabel(x, fontsize=10, color=MUTED)
    axes.set_ylabel(y, fontsize=10, color=MUTED)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=LINE, linewidth=0.7)


def as_text(name: str, width: int = 26) -> str:
    """A name fit for a picture: control characters made visible, long ones shortened in the middle."""
    clean = "".join("·" if unicodedata.category(character).startswith("C") else character for character in name)
    if len(clean) <= width:
        return clean
    head = (width - 1) * 2 // 3
    return f"{clean[:head]}…{clean[len(clean) - (width - 1 - head) :]}"


def name_ticks(axes: Axes, along: str, positions: list[float], names: list[str], *, size: float = 9) -> None:
    """Put class names at the ticks of the ``x`` or ``y`` axis, never read as mathematics."""
    axis = axes.xaxis if along == "x" else axes.yaxis
    axis.set_ticks(positions, labels=[as_text(name) for name in names])
    for label in axis.get_ticklabels():
        label.set_parse_math(False)
        label.set_fontsize(size)
    if along == "x" and (len(names) > 4 or max(map(len, names), default=0) > 12):
        for label in axis.get_ticklabels():
            label.set_rotation(40)
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")


def png(figure: Figure) -> bytes:
    """Encode a figure. Characters that no font here has are drawn as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.canvas.draw()
        _place_subtitle(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _place_subtitle(figure: Figure) -> None:
    title = figure._suptitle  # type: ignore[attr-defined]
    for note in figure.texts:
        if note.get_gid() == "subtitle" and title is not None:
            box = title.get_window_extent().transformed(figure.transFigure.inverted())
            note.set_y(box.y0 + box.height * 0.44)
