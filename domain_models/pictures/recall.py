"""How many of each class are found, and how sure that is."""

from __future__ import annotations

from matplotlib.figure import Figure

from domain_models.evaluation import Evaluation
from domain_models.pictures.canvas import BLUE, INK, LINE, MUTED, as_text, dress, name_ticks, new_figure


def recall_figure(evaluation: Evaluation) -> Figure:
    """Draw recall per class with its 95% interval, the best at the top; classes without images are named below."""
    tested = [(name, one) for name, one in evaluation.per_class.items() if one.recall is not None]
    tested.sort(key=lambda item: (item[1].recall or 0.0, item[1].n))
    absent = evaluation.classes_absent
    note = f"Bars: 95% intervals. No test image of: {', '.join(as_text(name) for name in absent)}" if absent else None
    height = 1.6 + 0.36 * len(tested)
    figure = new_figure(8.4, max(2.6, height), "How many of each class are found", note or "Bars: 95% intervals")
    axes = figure.add_subplot()
    dress(axes, x="recall", grid="x")
    positions = [float(index) for index in range(len(tested))]
    for position, (_, one) in zip(positions, tested, strict=True):
        recall = one.recall or 0.0
        low, high = one.recall_ci or (recall, recall)
        axes.plot([0, 1], [position, position], color=LINE, linewidth=0.6, zorder=1)
        axes.plot([low, high], [position, position], color=BLUE, linewidth=6, alpha=0.3, solid_capstyle="round")
        axes.plot([recall], [position], "o", color=BLUE, markersize=7, zorder=3)
        axes.text(1.03, position, f"{recall:.0%}  of {one.n:,}", va="center", fontsize=9, color=INK, clip_on=False)
    name_ticks(axes, "y", positions, [name for name, _ in tested])
    axes.plot(
        [evaluation.balanced_accuracy] * 2, [-0.6, len(tested) - 0.5], color=MUTED, linewidth=1, linestyle=(0, (4, 3))
    )
    axes.text(
        evaluation.balanced_accuracy,
        len(tested) - 0.45,
        f"mean {evaluation.balanced_accuracy:.0%}",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=MUTED,
    )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.6, len(tested) - 0.1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return figure
