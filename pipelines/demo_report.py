"""Every figure of the demo, as ``demo --json`` gives it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from pipelines.demo_rounds import RoundOutcome
from pipelines.demo_table import ArmFigures, Interval


class DemoReport(BaseModel):
    """Every figure of the demo; intervals are 95%.

    ``macro_f1_before``, ``macro_f1_after`` (the first champion, the last model that learned from review) and their
    accuracies are measured on the ``judging_images`` that nobody saw, by what the experts truly said; the metrics
    without such a suffix on the ``test_images`` of the first day by the labels on file, wrong ones included, as a
    factory would see them. ``macro_f1_random`` is what
    the same number of random answers would have been worth, and ``arms`` the comparison that it comes from.
    ``automatic_error`` compares the automatic decisions on the first batch with what the experts said of it.
    """

    model_config = ConfigDict(frozen=True)

    workspace: str
    images: int
    labelled: int
    production: int
    dataset_version: str
    champion: str
    preset: str
    test_images: int
    judging_images: int
    macro_f1_before: float
    macro_f1_before_ci: Interval | None
    macro_f1_after: float
    macro_f1_after_ci: Interval | None
    macro_f1_random: float
    macro_f1_random_ci: Interval
    accuracy_before: float
    accuracy_after: float
    arms: ArmFigures
    rounds: list[RoundOutcome]
    planted_errors: int
    planted_errors_found: int
    full_training_seconds: float
    incremental_training_seconds: float | None
    waiting: int
    macro_f1: float
    macro_f1_ci: Interval | None
    balanced_accuracy: float
    balanced_accuracy_ci: Interval | None
    accuracy: float
    accuracy_ci: Interval | None
    ece: float
    ece_ci: Interval | None
    ece_of_a_calibrated_model: float
    escape_rate: float | None
    overkill_rate: float | None
    gate_passed: bool
    gate_overridden: bool
    gate_reasons: list[str]
    batch: str
    batch_rows: int
    automatic: int
    review: int
    share_automatic: float
    error_limit: float
    expected_error: float | None
    expected_error_ci: Interval | None
    automatic_wrong: int
    automatic_error: float | None
    automatic_error_ci: Interval | None
    reader_hours: float
    scores: str
    report: str
    next_batch: str
    stage_seconds: dict[str, float]
    seconds: float
    peak_memory_mb: int
