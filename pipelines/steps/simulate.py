"""What review would have cost: the newest dataset version replayed as if nothing of it were labelled.

Each seed has a split of its own, on which every strategy is replayed. Replays stay in the workspace's runs: the same
command goes on where it was killed, and another strategy, added later, does not repeat those before it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput
from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import Workspace, write_atomically
from domain_models.label_curves import (
    LabelCurve,
    label_counts,
    labels_to_reach,
    replayed,
    share_of_random,
)
from domain_models.pictures.canvas import png
from domain_models.pictures.label_curves import Band, label_curves_figure
from domain_models.selection.strategies import STRATEGIES, StrategyName, parse_strategy
from domain_models.selection_arms import paired_difference
from pipelines.steps.dataset import load_dataset
from pipelines.steps.simulate_scenes import labelled_embeddings

SIMULATION_FORMAT = 5
"""Rises when the same replay would come out otherwise, so that old ones are not taken for new ones."""

RANDOM = StrategyName.RANDOM.value


class SimulateRequest(BaseModel):
    """Which strategies to replay (random choice always is), on how many splits, and which shares of the macro-F1 with
    all labels to look for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategies: tuple[str, ...] = (StrategyName.MIX.value,)
    seeds: int = Field(default=10, ge=2, le=1000)
    targets: tuple[float, ...] = (0.95, 0.98)


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


class SimulateReport(BaseModel):
    """Labels needed and the curves; ``picture`` and ``table`` are where the workspace has them.

    ``images`` are the training images of a split, the fewest of all splits; ``full_macro_f1`` is the mean over the
    splits of a classifier that has all their labels. ``share_of_random_at_95`` and ``..._98`` are of the first strategy
    asked for; ``None`` where that target was not.
    """

    model_config = ConfigDict(frozen=True)

    dataset_version: str
    images: int
    seeds: int
    full_macro_f1: float
    share_of_random_at_95: float | None
    share_of_random_at_98: float | None
    strategies: dict[str, StrategyCurve]
    needed: list[Needed]
    curves: list[CurvePoint]
    picture: str
    table: str
    seconds: float


def simulate(workspace: Workspace, request: SimulateRequest, progress: Progress = SILENT) -> SimulateReport:
    """Replay the newest dataset version with each strategy, and say how many labels each would have needed.

    Args:
        workspace: with a dataset version that has training, validation and test images.
        request: what to replay.
        progress: told of each replay.

    Raises:
        BadInput: there is no such strategy or target, or a split is empty.
        NotFound: there is no dataset version.
    """
    began = time.monotonic()
    names = list(dict.fromkeys([RANDOM, *(parse_strategy(name).value for name in request.strategies)]))
    if not request.targets or not all(0 < target <= 1 for target in request.targets):
        raise BadInput("A target is a share of the macro-F1 with all labels.", remedy="Give one above 0, up to 1.")
    dataset, manifest = load_dataset(workspace)
    data = labelled_embeddings(workspace, dataset, manifest, progress)
    place = workspace.runs / f"simulation-{data.key}-{SIMULATION_FORMAT}"
    place.mkdir(parents=True, exist_ok=True)
    curves: dict[str, list[LabelCurve]] = {name: [] for name in names}
    with progress.step("Replaying", total=len(names) * request.seeds) as step:
        for seed in range(request.seeds):
            scene = data.scene(seed)
            counts = [int(count) for count in label_counts(len(scene.truth), len(data.classes))]
            for name in names:
                path = place / f"{name}-{seed}.json"
                curve = _kept(path)
                if curve is None:
                    known = curves[RANDOM][seed] if name != RANDOM else None
                    strategy = STRATEGIES[StrategyName(name)]
                    curve = replayed(scene.pool, scene.truth, scene.judges, strategy, counts, seed, known)
                    write_atomically(path, json.dumps(_as_lists(curve)).encode())
                curves[name].append(curve)
                step.advance(1, f"{name.replace('_', ' ')}, split {seed}")
    full = np.array([curve.macro_f1[-1] for curve in curves[RANDOM]])
    shown = min((curve.labels for curve in curves[RANDOM]), key=lambda labels: int(labels[-1]))
    points = [point for name in names for point in _points(name, curves[name], shown)]
    table, picture = workspace.reports / f"{place.name}.csv", workspace.reports / f"{place.name}.png"
    write_atomically(table, pd.DataFrame([point.model_dump() for point in points]).to_csv(index=False).encode())
    write_atomically(picture, _picture(points, float(full.mean()), request.targets))
    needed = [item for target in request.targets for item in _needed(curves, target, full)]
    return SimulateReport(
        dataset_version=dataset.dataset_version,
        images=int(shown[-1]),
        seeds=request.seeds,
        full_macro_f1=float(full.mean()),
        share_of_random_at_95=_share_at(needed, 0.95),
        share_of_random_at_98=_share_at(needed, 0.98),
        strategies={name: _columns([point for point in points if point.strategy == name]) for name in names},
        needed=needed,
        curves=points,
        picture=str(picture),
        table=str(table),
        seconds=time.monotonic() - began,
    )


def _as_lists(curve: LabelCurve) -> dict[str, object]:
    thirds = {name: values.tolist() for name, values in curve.thirds.items()}
    return {"labels": curve.labels.tolist(), "macro_f1": curve.macro_f1.tolist(), "thirds": thirds}


def _kept(path: Path) -> LabelCurve | None:
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    thirds = {name: np.asarray(values, dtype=np.float64) for name, values in content["thirds"].items()}
    return LabelCurve(np.asarray(content["labels"], dtype=np.int64), np.asarray(content["macro_f1"]), thirds)


def _points(name: str, curves: list[LabelCurve], shown: NDArray[np.int64]) -> list[CurvePoint]:
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


def _needed(curves: dict[str, list[LabelCurve]], target: float, full: NDArray[np.float64]) -> list[Needed]:
    """``full``: float64 [seeds], macro-F1 with all labels of each split."""
    labels = {
        name: np.array([labels_to_reach(curve, target * own) for curve, own in zip(found, full, strict=True)])
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


def _share_at(needed: list[Needed], target: float) -> float | None:
    """The share of random choice's labels that the first strategy beside it needs."""
    return next((one.share_of_random for one in needed if one.target == target and one.strategy != RANDOM), None)


def _columns(points: list[CurvePoint]) -> StrategyCurve:
    return StrategyCurve(
        labels=[point.labels for point in points],
        macro_f1=[point.macro_f1 for point in points],
        macro_f1_ci=[point.macro_f1_ci for point in points],
    )


def _picture(points: list[CurvePoint], full: float, targets: tuple[float, ...]) -> bytes:
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
