"""What the figures of one model on one split are: the record that reports, the registry and the gate read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from domain_models.intervals import Interval


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassMetrics(_Figures):
    """One class: ``n`` images; a figure is ``None`` where it is undefined (no images, never predicted)."""

    n: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None
    recall_ci: Interval | None


class ConfusedPair(_Figures):
    """``count`` images of ``actual`` were called ``predicted``: ``share`` of all images of ``actual``."""

    actual: str
    predicted: str
    count: int
    share: float


class FrequencyGroups(_Figures):
    """Mean recall of the thirds of classes with most, middling and fewest training images; ``None`` if not tested."""

    many: float | None
    medium: float | None
    few: float | None


class OperatingPoint(_Figures):
    """A part passes from a probability of ``threshold`` on that it is good; rates are ``None`` where undefined."""

    threshold: float
    escape_rate: float | None
    escape_rate_ci: Interval | None
    overkill_rate: float | None
    overkill_rate_ci: Interval | None


class Evaluation(_Figures):
    """The figures of one model on one split; dumped as JSON these are the keys of ``tailsight evaluate``.

    Shares lie in 0 to 1; intervals are 95%. ``confusion`` has rows actual and columns predicted, in the order of
    ``classes``. ``ece_of_a_calibrated_model`` is what chance alone would show, ``..._p95`` its 95th percentile.
    ``macro_f1_ci`` and ``balanced_accuracy_ci`` are bootstrap intervals, except where nothing was wrong: then the
    interval of the accuracy stands in for them. A single group has no bootstrap interval. ``classes_absent`` have no
    image in this split: their recall is ``None`` and the macro figures leave them out.
    """

    n: int
    n_groups: int
    classes: tuple[str, ...]
    classes_absent: tuple[str, ...]
    accuracy: float
    accuracy_ci: Interval | None
    balanced_accuracy: float
    balanced_accuracy_ci: Interval | None
    macro_f1: float
    macro_f1_ci: Interval | None
    auroc_ovr_macro: float | None
    auroc_ovr_macro_ci: Interval | None
    ece: float
    ece_ci: Interval | None
    ece_of_a_calibrated_model: float
    ece_of_a_calibrated_model_p95: float
    nll: float
    nll_ci: Interval | None
    brier: float
    top5_accuracy: float
    mean_cost: float | None = Field(description="mean cost per image by the profile's costs; null where none are given")
    mean_cost_of_cheapest: float | None = Field(
        default=None, description="the same where each image gets the class that is expected to cost least"
    )
    per_class: dict[str, ClassMetrics]
    confusion: tuple[tuple[int, ...], ...]
    most_confused: tuple[ConfusedPair, ...]
    groups: FrequencyGroups
    escape_rate: float | None
    escape_rate_ci: Interval | None
    overkill_rate: float | None
    overkill_rate_ci: Interval | None
    operating_points: tuple[OperatingPoint, ...] = ()

    def flat(self) -> dict[str, float]:
        """The single figures as name and value, for a registry; undefined ones are left out."""
        figures = self.model_dump(exclude={"per_class", "confusion", "groups", "classes", "classes_absent"})
        flat = {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}
        flat |= {f"recall/{name}": one.recall for name, one in self.per_class.items() if one.recall is not None}
        return flat
