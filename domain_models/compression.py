"""Choosing among smaller models: what each costs and gives, which are not beaten in both, and which meets a target."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from domain_models.class_counts import count_columns, counts_from_sums
from domain_models.intervals import (
    REPLICATES,
    Interval,
    bootstrap_weights,
    group_codes,
    group_sums,
    percentile_interval,
)
from domain_models.paired_gain import paired_gain


class TargetKind(StrEnum):
    """What is to become small."""

    MILLISECONDS = "ms"
    MEGABYTES = "MB"


class CompressionRow(BaseModel):
    """One model as it would be deployed, on this machine.

    Attributes:
        name: of the model, with the numbers that it computes with.
        family: how it came about: ``champion``, ``student``, ``pruned``, ``cascade``.
        runtime: what computes it, as `score` calls it.
        width: of its images, px.
        height: of its images, px.
        milliseconds: for one image where many are computed, all cores at work.
        megabytes: of what is deployed, 10^6 bytes.
        macro_f1: on the validation images, with its 95% interval.
        difference: of macro-F1 to the champion's, image by image, with its 95% interval; above 0: better.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    family: str
    runtime: str
    width: int
    height: int
    milliseconds: float = Field(gt=0)
    megabytes: float = Field(ge=0)
    macro_f1: float
    macro_f1_ci: Interval | None
    difference: float
    difference_ci: Interval | None

    @property
    def images_per_second(self) -> float:
        """The same as ``milliseconds``, the other way round."""
        return 1000 / self.milliseconds

    @property
    def lost_points(self) -> float:
        """Macro-F1 lost against the champion, in points (hundredths); below 0 where it gained."""
        return -100 * self.difference


class Target(BaseModel):
    """What is asked for: at most so many milliseconds an image, or megabytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: TargetKind
    at_most: float = Field(gt=0)

    def of(self, row: CompressionRow) -> float:
        """The figure that the target is about."""
        return row.milliseconds if self.kind is TargetKind.MILLISECONDS else row.megabytes

    def met_by(self, row: CompressionRow) -> bool:
        """Whether the figure is small enough."""
        return self.of(row) <= self.at_most

    @property
    def in_words(self) -> str:
        """``at most 2 ms an image``."""
        return f"at most {self.at_most:g} {self.kind.value}" + (
            " an image" if self.kind is TargetKind.MILLISECONDS else ""
        )


class Choice(BaseModel):
    """What a target leads to: the name of a row and a sentence, or only a sentence that names the nearest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chosen: str | None
    sentence: str


def macro_f1_with_interval(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], groups: Sequence[object], classes: int, *, seed: int = 0
) -> tuple[float, Interval | None]:
    """Macro-F1 and its 95% interval, by a bootstrap that draws whole groups.

    Args:
        labels: int64 [n].
        predicted: int64 [n].
        groups: one value per image.
        classes: k.
        seed: of the bootstrap.
    """
    columns = count_columns(labels, predicted, classes)
    sums = group_sums(columns, group_codes(groups, len(labels)))
    replicates = [
        counts_from_sums((weights @ sums).astype(np.float64), classes).macro_f1
        for weights in bootstrap_weights(len(sums), replicates=REPLICATES, seed=seed)
    ]
    value = float(counts_from_sums(columns.sum(axis=0), classes).macro_f1)
    return value, percentile_interval(np.concatenate(replicates))


def compared(
    labels: NDArray[np.int64],
    champion: NDArray[np.int64],
    predicted: NDArray[np.int64],
    groups: Sequence[object],
    classes: int,
    *,
    seed: int = 0,
) -> dict[str, object]:
    """The figures of a row that are about what it says: arguments as in :func:`macro_f1_with_interval`.

    Args:
        labels: int64 [n].
        champion: int64 [n], what the champion calls the same images.
        predicted: int64 [n], what this model calls them.
        groups: one value per image.
        classes: k.
        seed: of the bootstraps.
    """
    value, interval = macro_f1_with_interval(labels, predicted, groups, classes, seed=seed)
    gain = paired_gain(labels, champion, predicted, groups, classes, seed=seed).macro_f1
    return {
        "macro_f1": value,
        "macro_f1_ci": interval,
        "difference": gain.gained,
        "difference_ci": gain.interval,
    }


def pareto_front(rows: Sequence[CompressionRow], target: Target) -> list[CompressionRow]:
    """Rows that no other beats in both the target's figure and macro-F1, the smallest figure first."""
    front: list[CompressionRow] = []
    for row in sorted(rows, key=lambda row: (target.of(row), -row.macro_f1, row.name)):
        if not front or row.macro_f1 > front[-1].macro_f1:
            front.append(row)
    return front


def choose(rows: Sequence[CompressionRow], target: Target, max_loss: float) -> Choice:
    """The row that meets the target, loses at most so many points against the champion, and has the best macro-F1.

    Among equals the one with the smaller figure.

    Args:
        rows: at least one.
        target: what is asked for.
        max_loss: in points, hundredths of macro-F1.
    """
    small = [row for row in rows if target.met_by(row)]
    good = [row for row in rows if row.lost_points <= max_loss + 1e-9]
    both = [row for row in small if row in good]
    if both:
        best = min(both, key=lambda row: (-row.macro_f1, target.of(row), row.name))
        return Choice(chosen=best.name, sentence=f"{_told(best)} It has the best macro-F1 of {_count(both)}.")
    if small:
        nearest = min(small, key=lambda row: (row.lost_points, target.of(row), row.name))
        why = f"What has {target.in_words} loses more than {max_loss:g} points"
    else:
        nearest = min(good or rows, key=lambda row: (target.of(row), row.lost_points, row.name))
        why = f"Nothing has {target.in_words}"
    return Choice(chosen=None, sentence=f"{why}; nothing was registered. The nearest: {_told(nearest)}")


def _told(row: CompressionRow) -> str:
    return (
        f"{row.name}: {row.milliseconds:.2f} ms an image, {row.megabytes:.1f} MB, macro-F1 {row.macro_f1:.3f} on"
        f" validation ({100 * row.difference:+.1f} points against the champion)."
    )


def _count(rows: Sequence[CompressionRow]) -> str:
    return "all that meet the target" if len(rows) > 1 else "what meets the target, and is alone in that"
