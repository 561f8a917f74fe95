"""``compress``: smaller forms of a model, measured on this machine; the best that meets a target is a candidate."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput, Refused, UnreadableImage
from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import Workspace, write_atomically
from domain_models.compression import CompressionRow, Target, TargetKind, choose, compared, pareto_front
from domain_models.deployment_speed import best_setting, images_per_second, milliseconds_an_image
from pipelines.steps.compress_candidates import STUDENTS, Asked, Candidate
from pipelines.steps.compress_deployables import Deployable
from pipelines.steps.compress_families import FAMILIES
from pipelines.steps.compress_page import write_page
from pipelines.steps.compress_subject import Subject, find_subject

ROUNDS = 3
"""How often each speed is measured, all in turn, so that other work on the machine slows all of them."""

TIMED_IMAGES = 64
"""Validation images, from all over, that speed is measured on."""


class CompressRequest(BaseModel):
    """Which model is to become smaller, what is asked for, and how much may be spent.

    One of ``target_ms`` (an image, all cores) and ``target_mb`` (of what is deployed) is given. ``max_loss`` is in
    points of macro-F1 on validation, ``minutes`` a limit for trainings, ``students`` ``BACKBONE`` or
    ``BACKBONE=WEIGHTS`` (empty: the usual ones).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "champion"
    target_ms: float | None = Field(default=None, gt=0)
    target_mb: float | None = Field(default=None, gt=0)
    max_loss: float = Field(default=1.0, ge=0, le=100)
    epochs: int | None = Field(default=None, ge=1, le=1000)
    minutes: float | None = Field(default=None, gt=0)
    students: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0, lt=2**32)

    @property
    def target(self) -> Target:
        """What is asked for.

        Raises:
            BadInput: nothing, or two things.
        """
        if (self.target_ms is None) == (self.target_mb is None):
            given = "Both" if self.target_ms is not None else "Neither"
            raise BadInput(
                f"{given} of --target-ms and --target-size are given, and there is one target.",
                remedy="Give one: --target-ms 2 (milliseconds an image) or --target-size 5 (megabytes).",
            )
        if self.target_ms is not None:
            return Target(kind=TargetKind.MILLISECONDS, at_most=self.target_ms)
        assert self.target_mb is not None
        return Target(kind=TargetKind.MEGABYTES, at_most=self.target_mb)


class CompressReport(BaseModel):
    """Everything that was compared, what was chosen, and where the page is.

    Attributes:
        model: the version that was to become smaller.
        model_version: the candidate; ``None`` where nothing was registered.
        chosen: the name of its row; ``None`` where nothing meets the target within the loss.
        remark: what to do where the champion itself meets the target.
        front: names of the rows that no other beats in both.
        left_out: what was not made, or did not pass, and why.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    dataset_version: str
    target: Target
    max_loss: float
    model_version: str | None
    chosen: str | None
    sentence: str
    remark: str
    rows: list[CompressionRow]
    front: list[str]
    left_out: dict[str, str]
    images: int
    report: str
    seconds: float


class NothingSmallEnough(Refused):
    """Nothing meets the target within the loss; ``report`` says what there is."""

    def __init__(self, report: CompressReport) -> None:
        self.report = report
        super().__init__(report.sentence, remedy="Allow more: a larger target or --max-loss, or more --epochs.")


def compress(workspace: Workspace, request: CompressRequest, progress: Progress = SILENT) -> CompressReport:
    """Make smaller forms of a model, measure all, and register the best that meets the target.

    Trainings, artefacts and measurements are kept: killed at any moment, the same call goes on, and another target
    trains nothing again.

    Raises:
        NotFound: there is no such model or no dataset version.
        BadInput: no target or two, or a setting that does not exist.
        NothingSmallEnough: nothing meets the target within the loss; nothing is registered.
        Busy: the same is under way in another process.
    """
    began = time.monotonic()
    target = request.target
    subject = find_subject(
        workspace, request.model, epochs=request.epochs, overrides=request.overrides, seed=request.seed
    )
    folder = workspace.runs / f"compress-{subject.key}"
    left_out: dict[str, str] = {}
    with workspace.lock(f"compress-{subject.key}"):
        made = _made(subject, request, folder, left_out, progress)
        rows = _rows(subject, made, folder, progress)
        choice = choose(rows, target, request.max_loss)
        chosen = next((one for one in made if one.name == choice.chosen), None)
        version = chosen.register(progress) if chosen is not None and chosen.register is not None else None
    page = write_page(
        workspace.reports / f"compress-{subject.version}-{target.at_most:g}{target.kind.value}.html",
        subject.version,
        subject.dataset.dataset_version,
        rows,
        target,
        request.max_loss,
        choice,
        left_out,
    )
    report = CompressReport(
        model=subject.version,
        dataset_version=subject.dataset.dataset_version,
        target=target,
        max_loss=request.max_loss,
        model_version=version,
        chosen=choice.chosen,
        sentence=choice.sentence,
        remark="" if chosen is None else chosen.remark,
        rows=rows,
        front=[row.name for row in pareto_front(rows, target)],
        left_out=left_out,
        images=len(subject.data(subject.card.preprocessing, progress).val),
        report=str(page),
        seconds=time.monotonic() - began,
    )
    if chosen is None:
        raise NothingSmallEnough(report)
    return report


def _made(
    subject: Subject, request: CompressRequest, folder: Path, left_out: dict[str, str], progress: Progress
) -> list[Deployable]:
    """Everything that competes; what cannot be made is left out with its reason, and the others go on."""
    asked = Asked(request.students or STUDENTS, request.max_loss)
    candidates = [one for family in FAMILIES.values() for one in family(subject, asked)]
    spent = _numbers(folder / "seconds.json")
    made: list[Deployable] = []
    with progress.step("Smaller models", total=len(candidates)) as step:
        for candidate in candidates:
            reason = None
            if candidate.trains and candidate.name not in spent:
                reason = _out_of_time(list(spent.values()), request.minutes)
            if reason is None:
                reason = _attempt(candidate, made, left_out, spent, folder, progress)
            if reason is not None:
                left_out[candidate.name] = reason
            step.advance(1, candidate.name)
    return made


def _attempt(
    candidate: Candidate,
    made: list[Deployable],
    left_out: dict[str, str],
    spent: dict[str, float],
    folder: Path,
    progress: Progress,
) -> str | None:
    """Make one candidate; returns why it cannot be made, if so."""
    began = time.monotonic()
    try:
        made += candidate.make(tuple(made), left_out, progress)
    except UnreadableImage:  # an image that is gone is gone for all of them
        raise
    except (BadInput, Refused) as error:
        if not made:  # without the champion there is nothing to compare with
            raise
        return " ".join(part for part in (error.what, error.remedy) if part)
    if candidate.trains and candidate.name not in spent:
        spent[candidate.name] = time.monotonic() - began
        write_atomically(folder / "seconds.json", json.dumps(spent, indent=1) + "\n")
    return None


def _out_of_time(spent: Sequence[float], minutes: float | None) -> str | None:
    """Why no further training begins, if so; the first always does."""
    if minutes is None or not spent or sum(spent) + median(spent) <= 60 * minutes:
        return None
    return f"{sum(spent) / 60:.1f} of {minutes:g} minutes were spent; the same command with more --minutes goes on."


def _numbers(path: Path) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def _rows(subject: Subject, made: Sequence[Deployable], folder: Path, progress: Progress) -> list[CompressionRow]:
    """What each costs and gives; speeds are kept until something else competes."""
    path = folder / "milliseconds.json"
    known = _numbers(path)
    if set(known) != {one.name for one in made}:
        known = _milliseconds(subject, made, progress)
        write_atomically(path, json.dumps(known, indent=1) + "\n")
    val = subject.data(subject.card.preprocessing).val
    champion = made[0].predicted
    with progress.step("Comparing", total=len(made)) as step:
        rows = []
        for one in made:
            figures = compared(val.labels, champion, one.predicted, val.groups, len(subject.classes), seed=subject.seed)
            cost = {"milliseconds": known[one.name], "megabytes": one.megabytes}
            what = {"name": one.name, "family": one.family, "runtime": one.runtime}
            size = {"width": one.spec.width, "height": one.spec.height}
            rows.append(CompressionRow.model_validate(what | size | cost | figures))
            step.advance(1)
    return rows


def _milliseconds(subject: Subject, made: Sequence[Deployable], progress: Progress) -> dict[str, float]:
    images = {one.name: _timed_images(subject, one) for one in made}
    with progress.step("Measuring speed", total=(ROUNDS + 1) * len(made)) as step:
        settings = {}
        for one in made:
            settings[one.name] = best_setting(one.open, images[one.name], subject.cores)
            step.advance(1, one.name)
        rates: dict[str, list[float]] = {one.name: [] for one in made}
        for _ in range(ROUNDS):
            for one in made:
                rate = images_per_second(one.open, images[one.name], subject.cores, settings[one.name])
                rates[one.name].append(rate)
                step.advance(1, one.name)
    return {name: milliseconds_an_image(values) for name, values in rates.items()}


def _timed_images(subject: Subject, one: Deployable) -> NDArray[np.uint8]:
    images = subject.data(one.spec).val.images
    return images[np.linspace(0, len(images) - 1, min(TIMED_IMAGES, len(images))).astype(np.int64)]
