"""One self-contained HTML page about a registered model: what it does, how sure that is, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.blobs import Blobs
from data_contracts.ledger.promotions import looks
from data_contracts.ledger.roots import registered_roots
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.review.agreement import agreement_figures
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace, write_atomically
from domain_models.calibration import softmax
from domain_models.calibrators import Calibration, CalibrationKind
from domain_models.gate import GateDecision
from domain_models.image_cache import build_image_cache
from domain_models.model_card import ModelCard, read_card
from domain_models.pictures.canvas import png
from domain_models.pictures.confusion import confusion_figure
from domain_models.pictures.coverage import coverage_figure
from domain_models.pictures.curves import curves_figure
from domain_models.pictures.montage import MontageItem, montage_figure, worst_errors
from domain_models.pictures.recall import recall_figure
from domain_models.pictures.reliability import reliability_figure
from domain_models.report import Picture, ReportContent, Section, Table, render_report
from domain_models.report_sections import (
    evaluation_section,
    gate_section,
    headline_tiles,
    people_section,
    triage_section,
)
from domain_models.tracking import ModelVersionInfo
from pipelines.steps.dataset import load_dataset
from pipelines.steps.decisions import Decider
from pipelines.steps.evaluate import EvaluateReport, EvaluateRequest, evaluate
from pipelines.steps.ledger import open_ledger
from pipelines.steps.predictions import Predictions, parse_split, predict_split
from pipelines.steps.prepared_images import image_cache_folder
from pipelines.steps.registry import open_registry, resolve_model
from pipelines.steps.report_gain import LearnedSince, gain_section, learned_since
from pipelines.steps.report_lineage import lineage

HISTORY_FILE = "history.csv"


class ReportRequest(BaseModel):
    """Which model (``None``: the champion, else the candidate), on which split, and the seed of the bootstrap."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = None
    split: str = Split.TEST.value
    seed: int = Field(default=0, ge=0)


class ReportReport(BaseModel):
    """Where the page is. ``learned``: what the model gained over its predecessor; only on the test split."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    dataset_version: str
    split: str
    report: str
    size_bytes: int
    learned: LearnedSince | None = None


@dataclass(frozen=True)
class _Findings:
    """Everything that the page is made from."""

    workspace: Workspace
    info: ModelVersionInfo
    card: ModelCard
    dataset: DatasetVersion
    predictions: Predictions
    evaluation: EvaluateReport
    history: pd.DataFrame | None
    gate: GateDecision | None
    people: Section | None
    learned: LearnedSince | None
    uris: dict[str, str]


def write_report(workspace: Workspace, request: ReportRequest, progress: Progress = SILENT) -> ReportReport:
    """Evaluate the model (from its kept predictions where they exist) and write its page.

    Raises:
        NotFound, BadInput: as :func:`pipelines.steps.evaluate.evaluate`.
    """
    split = parse_split(request.split)
    with open_registry(workspace) as registry:
        version = resolve_model(registry, request.model)
        evaluation = evaluate(workspace, EvaluateRequest(model=version, split=split.value, seed=request.seed), progress)
        dataset, manifest = load_dataset(workspace, evaluation.dataset_version)
        predictions = predict_split(workspace, registry, version, dataset, manifest, split, progress)
        package = registry.package(version)
        gate, people = _ledger_says(workspace, version)
        learned = None
        if split is Split.TEST:
            learned = learned_since(
                workspace, registry, version, dataset, manifest, predictions, seed=request.seed, progress=progress
            )
        findings = _Findings(
            workspace=workspace,
            info=registry.info(version),
            card=read_card(package),
            dataset=dataset,
            predictions=predictions,
            evaluation=evaluation,
            history=pd.read_csv(history) if (history := package.parent / HISTORY_FILE).is_file() else None,
            gate=gate,
            people=people,
            learned=learned,
            uris=dict(zip(manifest["image_id"], manifest["uri"], strict=True)),
        )
        with progress.step("Drawing the report"):
            page = render_report(_content(findings))
        path = workspace.reports / f"model-{version}-{dataset.dataset_version}-{split.value}.html"
        write_atomically(path, page)
    return ReportReport(
        model_version=version,
        dataset_version=dataset.dataset_version,
        split=split.value,
        report=str(path),
        size_bytes=path.stat().st_size,
        learned=learned,
    )


def _ledger_says(workspace: Workspace, version: str) -> tuple[GateDecision | None, Section | None]:
    with open_ledger(workspace) as ledger:
        own = [look for look in looks(ledger) if look.model_version == version]
        people = people_section(agreement_figures(ledger))
    return (GateDecision.model_validate(own[-1].report) if own else None), people


def _content(findings: _Findings) -> ReportContent:
    figures = findings.evaluation.figures
    profile = findings.workspace.profile
    gate = findings.gate
    verdict, tone = "No gate has looked at this model yet.", "plain"
    if gate is not None:
        verdict = "The gate agreed." if gate.passed else "The gate refused: " + " ".join(gate.reasons)
        tone = "good" if gate.passed else "bad"
    sections = [
        evaluation_section(figures, _classification_pictures(findings)),
        None if findings.learned is None else gain_section(findings.learned),
        _calibration(findings),
        _alone(findings),
        None if gate is None else gate_section(gate),
        findings.people,
        _errors(findings),
        _training(findings),
        _data(findings),
    ]
    return ReportContent.model_validate(
        {
            "title": f"Model version {findings.info.version}",
            "subtitle": f"{profile.name} · {findings.evaluation.split} images of {findings.dataset.dataset_version}",
            "verdict": verdict,
            "verdict_tone": tone,
            "made_at": datetime.now(UTC),
            "tiles": headline_tiles(figures, findings.evaluation.triage),
            "sections": tuple(section for section in sections if section is not None),
            "lineage": lineage(findings.info, findings.card, findings.dataset, profile.name),
        }
    )


def _picture(figure: Figure, alt: str, caption: str = "") -> Picture:
    return Picture(png=png(figure), alt=alt, caption=caption)


def _classification_pictures(findings: _Findings) -> tuple[Picture, ...]:
    figures = findings.evaluation.figures
    return (
        _picture(confusion_figure(figures.confusion, figures.classes), "Confusion matrix"),
        _picture(recall_figure(figures), "Recall of each class with its 95% interval"),
    )


def _calibration(findings: _Findings) -> Section:
    figures, predictions = findings.evaluation.figures, findings.predictions
    picture = reliability_figure(
        None if findings.card.cascade else _uncalibrated(predictions.probabilities, findings.card.calibrated_by),
        predictions.probabilities,
        predictions.labels,
        predicted=predictions.predicted,
        ece_of_a_calibrated_model=figures.ece_of_a_calibrated_model,
    )
    return Section(
        title="Whether its confidence can be believed",
        sentences=(
            f"{findings.card.network_calibrated_by.in_words}, fitted on validation images. Calibration error "
            f"{figures.ece:.3f}; a perfectly calibrated model would show {figures.ece_of_a_calibrated_model:.3f} here "
            f"by chance, and up to {figures.ece_of_a_calibrated_model_p95:.3f} one time in twenty.",
        ),
        pictures=(_picture(picture, "Reliability before and after calibration"),),
    )


def _uncalibrated(probabilities: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64] | None:
    """What the softmax would say without calibration; ``None`` where that cannot be told from the probabilities.

    A temperature divides the logits, so it can be taken back.
    """
    if calibration.kind is not CalibrationKind.TEMPERATURE:
        return None
    return softmax(np.log(np.clip(probabilities, 1e-300, None)) * calibration.temperature)


def _alone(findings: _Findings) -> Section:
    said, found, decider = findings.predictions, findings.evaluation, Decider.from_card(findings.card)
    figure = coverage_figure(said.probabilities, said.labels, decider.rule, said.classes, predicted=said.predicted)
    picture = _picture(figure, "Error among automatic decisions as more are made")
    return triage_section(decider.rule, found.triage, (picture,), decider.passing, found.passing)


def _errors(findings: _Findings) -> Section:
    predictions = findings.predictions
    rows = worst_errors(predictions.probabilities, predictions.labels, predicted=predictions.predicted)
    if not len(rows):
        return Section(title="Its worst errors", sentences=("There are none on these images.",))
    ids = [predictions.image_ids[row] for row in rows]
    with open_ledger(findings.workspace) as ledger:
        blobs = Blobs(registered_roots(ledger))
    cached = build_image_cache(
        image_cache_folder(findings.workspace),
        [(image_id, findings.uris[image_id]) for image_id in ids],
        blobs,
        findings.card.preprocessing,
        processes=read_settings().processes,
    )
    items = [
        MontageItem(
            image=np.asarray(cached.array[cached.index[image_id]]),
            actual=predictions.classes[predictions.labels[row]],
            predicted=predictions.classes[predictions.predicted[row]],
            confidence=float(predictions.probabilities[row, predictions.predicted[row]]),
        )
        for row, image_id in zip(rows, ids, strict=True)
    ]
    return Section(
        title="Its worst errors",
        sentences=("Where it was surest and wrong. Look closely: some of these labels may be wrong themselves.",),
        pictures=(_picture(montage_figure(items), "The most confident wrong predictions"),),
    )


def _training(findings: _Findings) -> Section:
    card = findings.card
    pictures: tuple[Picture, ...] = ()
    if findings.history is not None and len(findings.history) > 1:
        pictures = (_picture(curves_figure(findings.history), "Loss and figures by epoch"),)
    settings = Table(
        header=("Setting", "Value"),
        rows=tuple((name, str(value)) for name, value in sorted(findings.info.params.items())),
        caption="Every setting; each can be changed with --set",
    )
    return Section(title="How it was trained", sentences=card.choices, tables=(settings,), pictures=pictures)


def _data(findings: _Findings) -> Section:
    dataset = findings.dataset
    names = list(dataset.taxonomy.names)
    splits = [split.value for split in Split if split.value in dataset.counts]
    rows = tuple((name, *(f"{dataset.counts[split].get(name, 0):,}" for split in splits)) for name in names)
    sentences = [f"Dataset version {dataset.dataset_version}, test edition {dataset.test_edition}."]
    if dataset.imbalance_factor is not None:
        sentences.append(f"The largest class has {dataset.imbalance_factor:.1f} times the images of the smallest.")
    if dataset.classes_under_minimum:
        sentences.append(f"Fewer images than advised: {', '.join(dataset.classes_under_minimum)}.")
    groups = findings.evaluation.figures
    if groups.n_groups == groups.n:
        sentences.append(
            "No groups (patient, part, lot) tie these images together. If some belong together all the same, the "
            "figures on this page are optimistic."
        )
    table = Table(header=("Class", *splits), rows=rows, numeric=tuple(range(1, len(splits) + 1)))
    return Section(title="What it learned from", sentences=tuple(sentences), tables=(table,))
