"""The parity gate: each limit stops what it is there to stop, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from domain_models.export.calibration_images import calibration_images
from domain_models.export.kinds import Precision
from domain_models.export.parity import LIMITS, Outcome, ParityReport, compare

CLASSES = ("good", "dent", "crack")
LABELS = np.repeat([0, 1, 2], [300, 80, 20])


def outcome(predicted: NDArray[np.int64], automatic: NDArray[np.bool_] | None = None) -> Outcome:
    probabilities = np.full((len(predicted), 3), 0.1)
    probabilities[np.arange(len(predicted)), predicted] = 0.8
    return Outcome(probabilities, predicted, np.zeros(len(predicted), bool) if automatic is None else automatic)


def gate(artefact: Outcome, precision: Precision = Precision.INT8, alone: Outcome | None = None) -> ParityReport:
    few = alone or Outcome(artefact.probabilities[:50], artefact.predicted[:50], artefact.automatic[:50])
    return compare(outcome(LABELS), artefact, few, LABELS, CLASSES, LIMITS[precision], batch_size=16)


def changed(count: int, of: int, to: int) -> NDArray[np.int64]:
    predicted = LABELS.copy()
    predicted[np.flatnonzero(of == LABELS)[:count]] = to
    return predicted


@pytest.mark.parametrize("precision", list(Precision))
def test_what_computes_the_same_passes(precision: Precision) -> None:
    report = gate(outcome(LABELS), precision)
    assert report.passed
    assert report.agreement == 1.0
    assert report.macro_f1_network == report.macro_f1_artefact == 1.0


def test_a_float_artefact_may_change_fewer_decisions_than_one_in_8_bits() -> None:
    few = outcome(changed(3, 0, 1))  # 0.75% of the images
    assert any("at least 99.5% are asked" in line for line in gate(few, Precision.FP16).failures)
    assert not any("are asked" in line for line in gate(few).failures)
    many = outcome(changed(40, 0, 1))
    assert any("predicts the network's class for 90.0% of 400 images" in line for line in gate(many).failures)


def test_a_rare_class_that_gets_lost_stops_it_though_nearly_all_decisions_agree() -> None:
    report = gate(outcome(changed(4, 2, 0)))
    assert report.agreement == 0.99
    assert any("Recall of 'crack' falls from 1.000 to 0.800 (20 images)" in line for line in report.failures)
    assert any("Macro-F1 falls" in line for line in report.failures)


def test_one_image_of_a_class_never_stops_it() -> None:
    labels = np.repeat([0, 1], [500, 5])
    network = outcome(labels)
    predicted = labels.copy()
    predicted[-1] = 0
    artefact = outcome(predicted)
    loose = LIMITS[Precision.INT8].model_copy(update={"macro_f1_drop": 1.0})
    alone = outcome(predicted[:50])
    assert compare(network, artefact, alone, labels, CLASSES[:2], loose, batch_size=16).passed


def test_what_would_be_decided_without_a_person_is_held_to_a_limit_of_its_own() -> None:
    predicted = changed(6, 0, 1)
    assert not any("without a person" in line for line in gate(outcome(predicted)).failures)
    report = gate(outcome(predicted, np.ones(400, bool)))
    assert report.automatic_changed == 6
    assert any("6 of 400 images would be decided without a person" in line for line in report.failures)


def test_an_image_is_the_same_alone_and_in_a_batch() -> None:
    alone = outcome(LABELS[:50])
    alone.probabilities[7] = [0.5, 0.4, 0.1]
    report = gate(outcome(LABELS), alone=alone)
    assert report.largest_batch_difference == pytest.approx(0.3)
    assert any("between an image alone and in a batch of 16" in line for line in report.failures)
    other = outcome(np.where(np.arange(50) < 10, 1, LABELS[:50]))
    assert any(
        "10 of 50 images are called something else alone" in line
        for line in gate(outcome(LABELS), alone=other).failures
    )


def test_a_probability_that_is_far_off_stops_a_float_artefact() -> None:
    off = outcome(LABELS)
    off.probabilities[3] = [0.7, 0.2, 0.1]
    assert any("A probability differs by 0.1" in line for line in gate(off, Precision.FP16).failures)
    assert gate(off).passed


def test_numbers_that_are_no_probabilities_stop_it() -> None:
    broken = outcome(LABELS)
    broken = replace(broken, probabilities=np.where(np.arange(400)[:, None] == 9, np.nan, broken.probabilities))
    assert gate(broken).failures == ("It computes numbers that are no probabilities.",)


@pytest.mark.parametrize(
    ("count", "expected"), [(30, (10, 10, 10)), (60, (20, 20, 20)), (90, (35, 35, 20)), (1000, (300, 80, 20))]
)
def test_a_quantizer_sees_all_classes_alike(count: int, expected: tuple[int, int, int]) -> None:
    chosen = calibration_images(LABELS, count, seed=3)
    assert tuple(np.bincount(LABELS[chosen], minlength=3)) == expected
    assert len(set(chosen)) == len(chosen) == min(count, 400)
    assert np.array_equal(chosen, calibration_images(LABELS, count, seed=3))
