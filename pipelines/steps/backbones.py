"""The model selection matrix: what backbones cost on this machine, and what they give on the newest dataset version."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from data_contracts.errors import TailsightError
from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import Workspace, write_atomically
from domain_models.backbone_matrix import FAMILIES, BackboneRow, measure_backbone
from domain_models.backbones import WeightSource, normalisation
from domain_models.bundled_weights import BUNDLED_PACKAGES
from domain_models.pictures.backbones import backbones_figure
from domain_models.pictures.canvas import png
from domain_models.report import Picture, ReportContent, Section, Table, render_report
from pipelines.steps.candidate import prepared_data
from pipelines.steps.dataset import load_dataset
from pipelines.steps.train import TrainRequest, plan


class BackbonesRequest(BaseModel):
    """Which backbones (none named: all of the families), and where their weights come from.

    ``weights`` ``auto`` takes bundled weights where a backbone has them and none otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbones: tuple[str, ...] = ()
    weights: str = "auto"
    seed: int = 0


class BackbonesReport(BaseModel):
    """The rows, those that could not be measured and why, and where the page is."""

    model_config = ConfigDict(frozen=True)

    dataset_version: str
    width: int
    height: int
    rows: list[BackboneRow]
    left_out: dict[str, str]
    report: str
    seconds: float


def backbones(workspace: Workspace, request: BackbonesRequest, progress: Progress = SILENT) -> BackbonesReport:
    """Measure each backbone at the size that the standard preset would choose for these images.

    A backbone that cannot be measured is left out with its reason, and the others go on.

    Args:
        workspace: with a dataset version.
        request: which backbones.
        progress: told of each.

    Raises:
        NotFound: there is no dataset version.
        BadInput: the images cannot be trained on.
    """
    began = time.monotonic()
    dataset, manifest = load_dataset(workspace)
    usual, _ = plan(workspace, TrainRequest(preset="standard", seed=request.seed), manifest, workspace.profile)
    names = list(dict.fromkeys(request.backbones or [name for family in FAMILIES.values() for name in family]))
    rows: list[BackboneRow] = []
    left_out: dict[str, str] = {}
    with progress.step("Backbones", total=len(names)) as step:
        for name in names:
            try:
                weights = _weights_of(name, request.weights)
                mean, std = normalisation(name, weights)
            except TailsightError as error:
                left_out[name] = _reason(error)
                step.advance(1, name)
                continue
            spec = usual.preprocessing.model_copy(update={"mean": mean, "std": std})
            data = prepared_data(workspace, dataset, manifest, spec, progress)  # fails for all of them or for none
            try:
                rows.append(measure_backbone(name, weights, spec, data, seed=request.seed, progress=progress))
            except TailsightError as error:
                left_out[name] = _reason(error)
            step.advance(1, name)
    path = workspace.reports / f"backbones-{dataset.dataset_version}.html"
    write_atomically(path, render_report(_content(rows, left_out, dataset.dataset_version)))
    return BackbonesReport(
        dataset_version=dataset.dataset_version,
        width=usual.preprocessing.width,
        height=usual.preprocessing.height,
        rows=rows,
        left_out=left_out,
        report=str(path),
        seconds=time.monotonic() - began,
    )


def _reason(error: TailsightError) -> str:
    return " ".join(part for part in (error.what, error.remedy) if part)


def _weights_of(backbone: str, weights: str) -> str:
    if weights != "auto":
        return weights
    return WeightSource.BUNDLED.value if backbone in BUNDLED_PACKAGES else WeightSource.NONE.value


def _content(rows: list[BackboneRow], left_out: dict[str, str], dataset_version: str) -> ReportContent:
    table = Table(
        header=("backbone", "family", "weights", "parameters", "MB", "ms an image", "images a second", "macro-F1"),
        rows=tuple(
            (
                row.backbone,
                row.family,
                row.weights,
                f"{row.parameters / 1e6:.1f} M",
                f"{row.megabytes:.1f}",
                f"{row.milliseconds:.1f}",
                f"{row.images_per_second:.0f}",
                "not pretrained" if row.macro_f1 is None else f"{row.macro_f1:.3f}",
            )
            for row in rows
        ),
        numeric=(3, 4, 5, 6, 7),
        caption="macro-F1: of a linear classifier on the features as they come, on the validation images.",
    )
    pictures: tuple[Picture, ...] = ()
    if any(row.macro_f1 is not None for row in rows):
        alt = "macro-F1 on the validation images against milliseconds for one image"
        pictures = (Picture(png=png(backbones_figure(rows)), alt=alt),)
    sections = [Section(title="Model selection matrix", tables=(table,), pictures=pictures)]
    if left_out:
        reasons = tuple(f"{name}: {reason}" for name, reason in left_out.items())
        sections.append(Section(title="Not measured", sentences=reasons))
    runtimes = ", ".join(sorted({row.runtime for row in rows})) or "nothing"
    return ReportContent(
        title="Backbones",
        subtitle=f"Dataset version {dataset_version}; timed on this machine by {runtimes}",
        made_at=datetime.now(UTC),
        sections=tuple(sections),
    )
