"""Run configuration of each asset, as the UI shows it.

The field names are those of the step's request, so that a configuration becomes a request without translation.
Annotations must be real objects here: ``from __future__ import annotations`` would hide them from Dagster.
"""

import dagster as dg
from pydantic import Field


class IngestConfig(dg.Config):
    """Which images and labels to take in; see ``tailsight ingest --help``."""

    images: str
    labels: str | None = None
    image_column: str = "image"
    label_column: str = "label"
    group_column: str | None = None
    split_column: str | None = None
    id_columns: list[str] = Field(default_factory=list)
    allow_new_classes: bool = False
    copy_files: bool = False
    who: str = "dagster"


class CurateConfig(dg.Config):
    """How to split. ``fractions`` are train, validation, test."""

    seed: int = 0
    fractions: list[float] = Field(default_factory=lambda: [0.7, 0.2, 0.1])
    minimum_count: int = 500


class TrainConfig(dg.Config):
    """What to train; ``overrides`` are ``key=value`` as ``--set`` takes them, ``minutes`` is for preset ``auto``."""

    preset: str = "standard"
    overrides: list[str] = Field(default_factory=list)
    seed: int = 0
    minutes: float = 60.0
    profile_run: bool = False
    processes: int = 1


class RetrainConfig(dg.Config):
    """How to learn from answers; ``preset`` and ``overrides`` are for a full training."""

    mode: str = "auto"
    preset: str | None = None
    overrides: list[str] = Field(default_factory=list)
    seed: int = 0


class EvaluateConfig(dg.Config):
    """Which model to judge, on which split of the newest dataset version; no model: the newest candidate."""

    model: str | None = "candidate"
    split: str = "test"
    seed: int = 0


class PromoteConfig(dg.Config):
    """Who asks for which model to become champion, and why."""

    who: str
    why: str
    version: str | None = None
    override: bool = False
    seed: int = 0


class RollbackConfig(dg.Config):
    """Who takes the last promotion back, and why."""

    who: str
    why: str


class ApprovalsConfig(dg.Config):
    """Which approved promotion requests to carry out, by number."""

    requests: list[int] = Field(default_factory=list)


class ScoreConfig(dg.Config):
    """Which files to score, and where to put the table."""

    images: str
    out: str
    model: str = "champion"
    runtime: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    engine: str = "local"
    ray_address: str | None = None


class QueueConfig(dg.Config):
    """What to build a review round from; no ``scores``: every batch that the model has scored."""

    budget: int | None = None
    strategy: str = "mix"
    scores: list[str] = Field(default_factory=list)
    model: str | None = None
    hold: bool = True
    due_hours: float = 24.0
    copy_files: bool = False
    seed: int = 0


class SimulateConfig(dg.Config):
    """Which strategies to replay beside random choice, on how many splits, what to look for, and who learns."""

    strategies: list[str] = Field(default_factory=lambda: ["mix"])
    seeds: int = 10
    targets: list[float] = Field(default_factory=lambda: [0.95, 0.98])
    learner: str = "probe"
    overrides: list[str] = Field(default_factory=list)


class BackbonesConfig(dg.Config):
    """Which backbones to measure (none named: all families), with which weights."""

    backbones: list[str] = Field(default_factory=list)
    weights: str = "auto"
    seed: int = 0


class ExportConfig(dg.Config):
    """Which model (none: the champion, else the candidate) becomes which artefact; ``out``: a folder for a copy."""

    format: str
    precision: str = "fp32"
    model: str | None = None
    out: str | None = None
    calibration_count: int = 300
    agreement: float | None = None
    seed: int = 0
    training_epochs: int = 3


class CascadeConfig(dg.Config):
    """Which small model answers first, before which large one (none: the champion); ``max_loss`` in points."""

    first: str
    model: str | None = None
    max_loss: float = 1.0


class CompressConfig(dg.Config):
    """Which model is to become smaller, under which target (one of the two), and what may be spent."""

    model: str = "champion"
    target_ms: float | None = None
    target_mb: float | None = None
    max_loss: float = 1.0
    epochs: int | None = None
    minutes: float | None = None
    students: list[str] = Field(default_factory=list)
    overrides: list[str] = Field(default_factory=list)
    seed: int = 0


class PretrainConfig(dg.Config):
    """How a backbone learns from images alone; ``overrides`` are ``key=value`` as ``--set`` takes them."""

    method: str = "simclr"
    epochs: int = 20
    temperature: float = 0.2
    overrides: list[str] = Field(default_factory=list)
    seed: int = 0


class ReportConfig(dg.Config):
    """Which model the report is about; none: the champion, else the candidate."""

    model: str | None = None
    split: str = "test"
    seed: int = 0


class ImportLabelsConfig(dg.Config):
    """A labels CSV with the columns image or image_id, label, reviewer[, note, certainty, source]."""

    csv: str
