"""The parity gate: does an artefact decide as the network decides that validation has approved?

Every rule that production relies on (calibration, decision weights, triage thresholds, conformal sets) was set on the
network's own logits. An artefact that computes other logits is another model, however it is called; so both are run
over the same validation images, and what differs is counted before anything leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from domain_models.export.kinds import Precision
from domain_models.linear_probe import macro_f1


class ParityLimits(BaseModel):
    """What an artefact may do differently.

    Attributes:
        agreement: least share of images with the same predicted class.
        macro_f1_drop: largest loss of macro-F1.
        recall_drop: largest loss of any class's recall; one image of the class is always allowed.
        automatic_changed: largest share of images that are decided without a person, and as another class than the
            network would predict.
        probability_difference: largest difference of any probability; ``None``: only reported.
        batch_difference: largest difference of any probability between an image alone and in a batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agreement: float = Field(ge=0, le=1)
    macro_f1_drop: float = Field(default=0.01, ge=0, le=1)
    recall_drop: float = Field(default=0.05, ge=0, le=1)
    automatic_changed: float = Field(default=0.005, ge=0, le=1)
    probability_difference: float | None = Field(default=None, ge=0, le=1)
    batch_difference: float = Field(default=1e-3, ge=0, le=1)


LIMITS: dict[Precision, ParityLimits] = {
    Precision.FP32: ParityLimits(agreement=0.995, probability_difference=1e-3),
    Precision.FP16: ParityLimits(agreement=0.995, probability_difference=0.05),
    Precision.BF16: ParityLimits(agreement=0.995, probability_difference=0.15, batch_difference=0.05),
    Precision.INT8: ParityLimits(agreement=0.92, recall_drop=0.10, batch_difference=0.05),
    # One range for all images of a batch: what an image is called may depend on its neighbours, and this says so.
    Precision.INT8_DYNAMIC: ParityLimits(agreement=0.92, recall_drop=0.10, batch_difference=0.05),
}
"""Defaults for each precision."""


@dataclass(frozen=True)
class Outcome:
    """What was said of n images.

    Attributes:
        probabilities: float64 [n, k], calibrated.
        predicted: int64 [n], indices into the classes.
        automatic: bool [n], whether the triage rule decides without a person.
    """

    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]
    automatic: NDArray[np.bool_]


class ClassRecall(BaseModel):
    """Recall of one class by the network and by the artefact, and on how many images it rests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    images: int
    network: float
    artefact: float


class ParityReport(BaseModel):
    """What the gate saw. ``failures`` says in words which limits were broken; empty: the artefact may leave.

    ``automatic`` counts images that each side decides without a person; ``automatic_changed`` those that the artefact
    decides without one and calls something else than the network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    split: str
    limits: ParityLimits
    agreement: float
    macro_f1_network: float
    macro_f1_artefact: float
    recalls: tuple[ClassRecall, ...]
    largest_probability_difference: float
    mean_probability_difference: float
    automatic_network: int
    automatic_artefact: int
    automatic_changed: int
    batch_size: int
    batch_images: int
    largest_batch_difference: float
    batch_decisions_changed: int
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no limit was broken."""
        return not self.failures


def compare(
    network: Outcome,
    artefact: Outcome,
    alone: Outcome,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    limits: ParityLimits,
    *,
    batch_size: int,
    split: str = "val",
) -> ParityReport:
    """Hold an artefact's outcome against the network's.

    Args:
        network: the fp32 torch network's on n labelled images.
        artefact: of the same images, computed in batches.
        alone: the artefact's on the first m of them, each computed alone.
        labels: int64 [n], what they are.
        classes: k names.
        limits: what may differ.
        batch_size: of the batches.
        split: where the images are from, for the report.
    """
    difference = np.abs(network.probabilities - artefact.probabilities)
    batches = np.abs(artefact.probabilities[: len(alone.predicted)] - alone.probabilities)
    changed = artefact.automatic & (artefact.predicted != network.predicted)
    report = ParityReport(
        images=len(labels),
        split=split,
        limits=limits,
        agreement=float((network.predicted == artefact.predicted).mean()),
        macro_f1_network=macro_f1(network.predicted, labels),
        macro_f1_artefact=macro_f1(artefact.predicted, labels),
        recalls=tuple(_recalls(network.predicted, artefact.predicted, labels, classes)),
        largest_probability_difference=float(difference.max()),
        mean_probability_difference=float(difference.mean()),
        automatic_network=int(network.automatic.sum()),
        automatic_artefact=int(artefact.automatic.sum()),
        automatic_changed=int(changed.sum()),
        batch_size=batch_size,
        batch_images=len(alone.predicted),
        largest_batch_difference=float(batches.max()) if len(batches) else 0.0,
        batch_decisions_changed=int((artefact.predicted[: len(alone.predicted)] != alone.predicted).sum()),
        failures=(),
    )
    return report.model_copy(update={"failures": tuple(_failures(report))})


def _recalls(
    network: NDArray[np.int64], artefact: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]
) -> list[ClassRecall]:
    found = []
    for index, name in enumerate(classes):
        mine = labels == index
        if mine.any():
            before, after = (float((predicted[mine] == index).mean()) for predicted in (network, artefact))
            found.append(ClassRecall(name=name, images=int(mine.sum()), network=before, artefact=after))
    return found


def _failures(report: ParityReport) -> list[str]:
    limits, said = report.limits, []
    if not np.isfinite(report.largest_probability_difference):
        return ["It computes numbers that are no probabilities."]
    if report.agreement < limits.agreement:
        said.append(
            f"It predicts the network's class for {report.agreement:.1%} of {report.images} images; at least"
            f" {limits.agreement:.1%} are asked."
        )
    lost = report.macro_f1_network - report.macro_f1_artefact
    if lost > limits.macro_f1_drop:
        said.append(
            f"Macro-F1 falls from {report.macro_f1_network:.3f} to {report.macro_f1_artefact:.3f}; at most"
            f" {limits.macro_f1_drop:g} may be lost."
        )
    said += [
        f"Recall of {one.name!r} falls from {one.network:.3f} to {one.artefact:.3f} ({one.images} images); at most"
        f" {limits.recall_drop:g} may be lost."
        for one in report.recalls
        if one.network - one.artefact > max(limits.recall_drop, 1.0 / one.images) + 1e-9
    ]
    if report.automatic_changed > limits.automatic_changed * report.images:
        said.append(
            f"{report.automatic_changed} of {report.images} images would be decided without a person, and as another"
            f" class than the network predicts; at most {limits.automatic_changed:.1%} may be."
        )
    largest = limits.probability_difference
    if largest is not None and report.largest_probability_difference > largest:
        said.append(
            f"A probability differs by {report.largest_probability_difference:.3g}; at most {largest:g} is allowed."
        )
    if report.largest_batch_difference > limits.batch_difference:
        said.append(
            f"A probability differs by {report.largest_batch_difference:.3g} between an image alone and in a batch of"
            f" {report.batch_size}; at most {limits.batch_difference:g} is allowed."
        )
    if report.batch_decisions_changed > (1.0 - limits.agreement) * report.batch_images:
        said.append(
            f"{report.batch_decisions_changed} of {report.batch_images} images are called something else alone than in"
            f" a batch of {report.batch_size}."
        )
    return said
