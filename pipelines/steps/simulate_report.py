"""What a simulation reports: labels needed, curves and their picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from domain_models.label_curves import LabelCurve, labels_to_reach, share_of_random
from domain_models.pictures.canvas import png
from domain_models.pictures.label_curves import Band, label_curves_figure
from domain_models.selection.strategies import StrategyName
from domain_models.selection_arms import paired_difference

RANDOM = StrategyName.RANDOM.value


class Needed(BaseModel):
    """Labels that one strategy needs for one target: the geometric mean over splits, and as a share of random choice
    with its 95% interval (``None`` for random choice itself). ``by_split`` are the labels on each split."""

    model_config = ConfigDict(frozen=True)

    strategy: str
    target: float
    labels: float
    share_of_random: float | None
    share_ci: tuple[float, float] | None
    by_split: tuple[float, ...]


class CurvePoint(BaseModel):
    """One strategy at one number of labels: means over splits, macro-F1 with its 95% interval."""

    model_config = ConfigDict(frozen=True)

    strategy: str
    labels: int
    macro_f1: float
    macro_f1_ci: tuple[float, float]
    recall_many: float | None
    recall_medium: float | None
    recall_few: float | None
    recall_few_ci: tuple[float, float] | None


class StrategyCurve(BaseModel):
    """One strategy's curve as columns, aligned; see :class:`CurvePoint`."""

    model_config = ConfigDict(frozen=True)

    labels: list[int]
    macro_f1: list[float]
    macro_f1_ci: list[tuple[float, float]]


def curve_points(name: str, curves: list[LabelCurve], shown: NDArray[np.int64]) -> list[CurvePoint]:
    """Means at the numbers of labels int64 [p] of the smallest split; the others are read in between."""

    def read(curve: LabelCurve, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.interp(np.log(shown), np.log(curve.labels), values))

    scores = np.stack([read(curve, curve.macro_f1) for curve in curves])
    thirds = {third: np.stack([read(one, one.thirds[third]) for one in curves]) for third in curves[0].thirds}
    nothing = np.zeros(len(curves))
    points = []
    for at, labels in enumerate(shown):
        recalls = {third: _mean(values[:, at]) for third, values in thirds.items()}
        known = recalls["few"] is not None
        points.append(
            CurvePoint(
                strategy=name,
                labels=int(labels),
                macro_f1=float(scores[:, at].mean()),
                macro_f1_ci=paired_difference(scores[:, at], nothing).interval,
                recall_many=recalls["many"],
                recall_medium=recalls["medium"],
                recall_few=recalls["few"],
                recall_few_ci=paired_difference(thirds["few"][:, at], nothing).interval if known else None,
            )
        )
    return points


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if np.isfinite(values).all() else None


def labels_needed(curves: dict[str, list[LabelCurve]], target: float, full: NDArray[np.float64]) -> list[Needed]:
    """What each strategy needs; one that does not get there at all counts as needing every label.

    Args:
        curves: of each strategy, one for each split.
        target: share of the macro-F1 with all labels.
        full: float64 [splits], macro-F1 with all labels.
    """

    def needed(curve: LabelCurve, own: float) -> float:
        found = labels_to_reach(curve, target * own)
        return found if np.isfinite(found) else float(curve.labels[-1])

    labels = {
        name: np.array([needed(curve, own) for curve, own in zip(found, full, strict=True)])
        for name, found in curves.items()
    }
    items = []
    for name, found in labels.items():
        share = share_of_random(found, labels[RANDOM]) if name != RANDOM else None
        items.append(
            Needed(
                strategy=name,
                target=target,
                labels=float(np.exp(np.log(found).mean())),
                share_of_random=share.mean if share else None,
                share_ci=share.interval if share else None,
                by_split=tuple(found.tolist()),
            )
        )
    return items


def share_at(needed: list[Needed], target: float) -> float | None:
    """The share of random choice's labels that the first strategy beside it needs."""
    return next((one.share_of_random for one in needed if one.target == target and one.strategy != RANDOM), None)


def as_columns(points: list[CurvePoint]) -> StrategyCurve:
    """The points of one strategy as columns."""
    return StrategyCurve(
        labels=[point.labels for point in points],
        macro_f1=[point.macro_f1 for point in points],
        macro_f1_ci=[point.macro_f1_ci for point in points],
    )


def curves_picture(points: list[CurvePoint], full: float, targets: tuple[float, ...]) -> bytes:
    """PNG: macro-F1 and the recall of the rarest third against labels, with intervals."""
    names = list(dict.fromkeys(point.strategy for point in points))
    macro_f1, few = {}, {}
    for name in names:
        own = [point for point in points if point.strategy == name]
        labels = np.array([point.labels for point in own])
        macro_f1[name] = Band(
            labels,
            np.array([point.macro_f1 for point in own]),
            *np.array([point.macro_f1_ci for point in own]).T,
        )
        recall = np.array([np.nan if point.recall_few is None else point.recall_few for point in own])
        few[name] = Band(labels, recall, *np.array([point.recall_few_ci or (np.nan, np.nan) for point in own]).T)
    return png(label_curves_figure(macro_f1, few, full=full, targets=targets, baseline=RANDOM))
