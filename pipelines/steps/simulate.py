"""What review would have cost: the newest dataset version replayed as if nothing of it were labelled.

Each seed has a split of its own, on which every strategy is replayed. Replays stay in the workspace's runs: the same
command goes on where it was killed, and another strategy, added later, does not repeat those before it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput
from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import Workspace, write_atomically
from domain_models.label_curves import (
    GROWTH,
    RETRAINING_GROWTH,
    LabelCurve,
    label_counts,
    replayed,
)
from domain_models.selection.strategies import STRATEGIES, StrategyName, parse_strategy
from pipelines.steps.dataset import load_dataset
from pipelines.steps.simulate_report import (
    RANDOM,
    CurvePoint,
    Needed,
    StrategyCurve,
    as_columns,
    curve_points,
    curves_picture,
    labels_needed,
    share_at,
)
from pipelines.steps.simulate_scenes import labelled_embeddings
from pipelines.steps.simulate_training import TrainingReplays

SIMULATION_FORMAT = 5
"""Rises when the same replay would come out otherwise, so that old ones are not taken for new ones."""


class LearnerKind(StrEnum):
    """Who learns in a replay: a linear classifier on kept embeddings (seconds), or a network that is trained as models
    are in production (hours)."""

    PROBE = "probe"
    RETRAINING = "retraining"


class SimulateRequest(BaseModel):
    """Which strategies to replay (random choice always is), on how many splits, which shares of the macro-F1 with all
    labels to look for, and who learns. ``overrides`` are settings of full trainings, ``key=value``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategies: tuple[str, ...] = (StrategyName.MIX.value,)
    seeds: int = Field(default=10, ge=2, le=1000)
    targets: tuple[float, ...] = (0.95, 0.98)
    learner: str = LearnerKind.PROBE.value
    overrides: tuple[str, ...] = ()


class SimulateReport(BaseModel):
    """Labels needed and the curves; ``picture`` and ``table`` are where the workspace has them.

    ``images`` are the training images of a split, the fewest of all splits; ``full_macro_f1`` is the mean over the
    splits of a ``learner`` that has all their labels. ``share_of_random_at_95`` and ``..._98`` are of the first
    strategy asked for; ``None`` where that target was not.
    """

    model_config = ConfigDict(frozen=True)

    dataset_version: str
    learner: str
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
        BadInput: there is no such strategy, target or learner, or a split is empty.
        NotFound: there is no dataset version.
    """
    began = time.monotonic()
    names = list(dict.fromkeys([RANDOM, *(parse_strategy(name).value for name in request.strategies)]))
    if not request.targets or not all(0 < target <= 1 for target in request.targets):
        raise BadInput("A target is a share of the macro-F1 with all labels.", remedy="Give one above 0, up to 1.")
    kind = _parse_learner(request.learner)
    if request.overrides and kind is not LearnerKind.RETRAINING:
        raise BadInput("Settings are of trainings, and nothing is trained.", remedy="Add --learner retraining.")
    dataset, manifest = load_dataset(workspace)
    data = labelled_embeddings(workspace, dataset, manifest, progress)
    place = workspace.runs / f"simulation-{data.key}-{SIMULATION_FORMAT}"
    trainings = None
    if kind is LearnerKind.RETRAINING:
        trainings = TrainingReplays(workspace, manifest, data.image_ids, request.overrides, progress)
        settings = hashlib.sha256("\0".join(request.overrides).encode()).hexdigest()[:8]
        place = place.with_name(f"{place.name}-{kind.value}-{settings}")
    place.mkdir(parents=True, exist_ok=True)
    growth = RETRAINING_GROWTH if trainings else GROWTH
    curves: dict[str, list[LabelCurve]] = {name: [] for name in names}
    with progress.step("Replaying", total=len(names) * request.seeds) as step:
        for seed in range(request.seeds):
            scene = data.scene(seed)
            counts = [int(count) for count in label_counts(len(scene.truth), len(data.classes), growth)]
            for name in names:
                path = place / f"{name}-{seed}.json"
                curve = _kept(path)
                if curve is None:
                    learner = trainings.learner(scene, place / path.stem, seed) if trainings else None
                    known = curves[RANDOM][seed] if name != RANDOM and learner is None else None
                    strategy = STRATEGIES[StrategyName(name)]
                    curve = replayed(
                        scene.pool, scene.truth, scene.judges, strategy, counts, seed, learner=learner, known=known
                    )
                    write_atomically(path, json.dumps(_as_lists(curve)).encode())
                    shutil.rmtree(place / path.stem, ignore_errors=True)  # checkpoints of its trainings
                curves[name].append(curve)
                step.advance(1, f"{name.replace('_', ' ')}, split {seed}")
    full = np.array([curve.macro_f1[-1] for curve in curves[RANDOM]])
    shown = min((curve.labels for curve in curves[RANDOM]), key=lambda labels: int(labels[-1]))
    points = [point for name in names for point in curve_points(name, curves[name], shown)]
    table, picture = workspace.reports / f"{place.name}.csv", workspace.reports / f"{place.name}.png"
    write_atomically(table, pd.DataFrame([point.model_dump() for point in points]).to_csv(index=False).encode())
    write_atomically(picture, curves_picture(points, float(full.mean()), request.targets))
    needed = [item for target in request.targets for item in labels_needed(curves, target, full)]
    return SimulateReport(
        dataset_version=dataset.dataset_version,
        learner=kind.value,
        images=int(shown[-1]),
        seeds=request.seeds,
        full_macro_f1=float(full.mean()),
        share_of_random_at_95=share_at(needed, 0.95),
        share_of_random_at_98=share_at(needed, 0.98),
        strategies={name: as_columns([point for point in points if point.strategy == name]) for name in names},
        needed=needed,
        curves=points,
        picture=str(picture),
        table=str(table),
        seconds=time.monotonic() - began,
    )


def _parse_learner(name: str) -> LearnerKind:
    try:
        return LearnerKind(name)
    except ValueError:
        raise BadInput(
            f"There is no learner {name!r}.", remedy=f"Learners: {', '.join(kind.value for kind in LearnerKind)}."
        ) from None


def _as_lists(curve: LabelCurve) -> dict[str, object]:
    thirds = {name: values.tolist() for name, values in curve.thirds.items()}
    return {"labels": curve.labels.tolist(), "macro_f1": curve.macro_f1.tolist(), "thirds": thirds}


def _kept(path: Path) -> LabelCurve | None:
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    thirds = {name: np.asarray(values, dtype=np.float64) for name, values in content["thirds"].items()}
    return LabelCurve(np.asarray(content["labels"], dtype=np.int64), np.asarray(content["macro_f1"]), thirds)
