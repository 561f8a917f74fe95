"""The images that the model got most confidently wrong: a mistake of the model, or of the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from domain_models.pictures.canvas import INK, MUTED, as_text, new_figure


@dataclass(frozen=True)
class MontageItem:
    """One image and what was said of it.

    Attributes:
        image: uint8 [H, W], [H, W, 1] or [H, W, 3].
        actual: its label.
        predicted: what the model said.
        confidence: how sure the model was.
    """

    image: NDArray[np.uint8]
    actual: str
    predicted: str
    confidence: float


def worst_errors(
    probabilities: ArrayLike, labels: ArrayLike, top: int = 12, *, predicted: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Rows of the most confident wrong predictions, the worst first.

    Args:
        probabilities: float [n, k].
        labels: int [n].
        top: how many at most.
        predicted: int64 [n]; ``None``: the most probable classes.
    """
    values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    named = values.argmax(axis=1) if predicted is None else predicted
    wrong = np.nonzero(named != truth)[0]
    return np.asarray(wrong[np.argsort(-values[wrong, named[wrong]], kind="stable")][:top], dtype=np.int64)


def montage_figure(items: Sequence[MontageItem], *, columns: int = 4, title: str = "The worst errors") -> Figure:
    """Draw images in rows, each with its label, what the model said and how sure it was."""
    rows = max(1, -(-len(items) // columns))
    subtitle = "Confidently wrong: a mistake of the model, or of the label" if items else "There are none"
    tallest = max((item.image.shape[0] / item.image.shape[1] for item in items), default=1.0)
    cell = float(np.clip(2.2 * tallest, 1.0, 3.4)) + 0.62
    figure = new_figure(2.35 * columns, 0.75 + cell * rows if items else 1.2, title, subtitle)
    grid = figure.add_gridspec(rows, columns) if items else None
    for number, item in enumerate(items):
        assert grid is not None
        axes = figure.add_subplot(grid[number // columns, number % columns])
        image = item.image[..., 0] if item.image.ndim == 3 and item.image.shape[2] == 1 else item.image
        axes.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        said = axes.set_title(
            f"said {as_text(item.predicted, 20)}, {item.confidence:.0%}", fontsize=9, color=INK, loc="left", pad=3
        )
        label = axes.set_xlabel(f"label {as_text(item.actual, 22)}", fontsize=9, color=MUTED, loc="left", labelpad=2)
        for text in (said, label):
            text.set_parse_math(False)
    return figure
