"""Calibrations recover what distorted the logits, and a simpler one is kept where no other is clearly better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from domain_models.calibration import fit_temperature, softmax
from domain_models.calibrators import Calibration, CalibrationKind, choose_calibration, fit_kind
from domain_models.linear_probe import macro_f1

SCALE, SHIFT = np.array([2.0, 1.0, 0.5]), np.array([1.0, 0.0, -1.5])


def drawn(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits that mean what they say, and labels drawn from them."""
    return drawn_of(1.0, n, seed)


def drawn_of(sharpness: float, n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits, and labels drawn from what so many times these logits say."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(0, 1.5, (n, 3))
    labels = (softmax(sharpness * logits).cumsum(axis=1) > chance.random((n, 1))).argmax(axis=1)
    return logits, labels


def loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def test_a_temperature_alone_is_the_softmax() -> None:
    logits, labels = drawn(500, 0)
    found = fit_kind(CalibrationKind.TEMPERATURE, 3 * logits, labels)
    assert found.temperature == pytest.approx(fit_temperature(3 * logits, labels))
    np.testing.assert_allclose(found.probabilities(3 * logits), softmax(3 * logits, found.temperature))


def test_a_distortion_of_each_class_is_taken_back() -> None:
    logits, labels = drawn(20_000, 1)
    distorted = (logits - SHIFT) / SCALE
    found = fit_kind(CalibrationKind.VECTOR, distorted, labels)
    new, truth = drawn(20_000, 2)
    told = found.probabilities((new - SHIFT) / SCALE)
    assert loss(told, truth) == pytest.approx(loss(softmax(new), truth), abs=2e-3)
    assert loss(
        fit_kind(CalibrationKind.TEMPERATURE, distorted, labels).probabilities((new - SHIFT) / SCALE), truth
    ) > (loss(told, truth) + 0.02)


def test_what_label_smoothing_left_is_taken_off() -> None:
    def smoothed(logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.log(0.85 * softmax(2 * logits) + 0.05))

    logits, labels = drawn_of(2.0, 20_000, 1)
    found = fit_kind(CalibrationKind.UNSMOOTHED, smoothed(logits), labels)
    assert found.smoothing == pytest.approx(0.15, abs=0.03)
    new, truth = drawn_of(2.0, 20_000, 2)
    told = found.probabilities(smoothed(new))
    best, plain = (
        loss(softmax(2 * new), truth),
        loss(fit_kind(CalibrationKind.TEMPERATURE, smoothed(logits), labels).probabilities(smoothed(new)), truth),
    )
    assert loss(told, truth) - best < 0.2 * (plain - best)
    assert (told.argmax(axis=1) == new.argmax(axis=1)).all()
    assert choose_calibration(smoothed(logits), labels)[0].kind is CalibrationKind.UNSMOOTHED


def test_where_nothing_was_smoothed_next_to_nothing_is_taken_off() -> None:
    logits, labels = drawn(5000, 8)
    assert fit_kind(CalibrationKind.UNSMOOTHED, logits, labels).smoothing < 0.02


def test_a_class_that_is_always_overrated_is_put_right_against_the_rest() -> None:
    logits, labels = drawn(20_000, 3)
    overrated = logits + np.array([2.0, 0.0, 0.0])
    new, truth = drawn(20_000, 4)
    told = fit_kind(CalibrationKind.CLASS_WISE, overrated, labels).probabilities(new + np.array([2.0, 0.0, 0.0]))
    plain = fit_kind(CalibrationKind.TEMPERATURE, overrated, labels).probabilities(new + np.array([2.0, 0.0, 0.0]))
    assert loss(told, truth) < loss(plain, truth) - 0.05
    assert told[:, 0].mean() == pytest.approx((truth == 0).mean(), abs=0.03)


def test_the_temperature_is_kept_where_it_is_enough() -> None:
    kept = [choose_calibration(2.5 * drawn(300, seed)[0], drawn(300, seed)[1], seed=seed)[0].kind for seed in range(20)]
    assert kept.count(CalibrationKind.TEMPERATURE) >= 15
    found, sentence = choose_calibration(2.5 * drawn(3000, 5)[0], drawn(3000, 5)[1])
    assert found.kind is CalibrationKind.TEMPERATURE
    assert sentence.startswith("Calibrated by one temperature: log-loss and macro-F1 0.")


def test_another_is_taken_where_it_is_clearly_better() -> None:
    logits, labels = drawn(2000, 6)
    found, sentence = choose_calibration((logits - SHIFT) / SCALE, labels, groups=np.arange(2000) // 2)
    assert found.kind is not CalibrationKind.TEMPERATURE
    assert "one temperature 0." in sentence
    assert Calibration.model_validate_json(found.model_dump_json()) == found


def test_a_calibration_that_would_undo_the_rebalancing_is_not_taken() -> None:
    """Rebalanced logits overstate the rare class on purpose; a shift lowers the log-loss, and loses its recall."""
    chance, shares = np.random.default_rng(7), np.array([0.85, 0.1, 0.05])
    labels = chance.choice(3, 1500, p=shares)
    logits = chance.normal(0, 1, (1500, 3)) + np.eye(3)[labels] + 0.5 * np.log(shares)  # half of the prior left out
    shifted = fit_kind(CalibrationKind.VECTOR, logits, labels).probabilities(logits)
    assert loss(shifted, labels) < loss(
        fit_kind(CalibrationKind.TEMPERATURE, logits, labels).probabilities(logits), labels
    )
    assert macro_f1(shifted.argmax(axis=1), labels) < macro_f1(logits.argmax(axis=1), labels)
    assert choose_calibration(logits, labels)[0].kind is CalibrationKind.TEMPERATURE


@given(
    kind=st.sampled_from(CalibrationKind),
    n=st.integers(0, 12),
    k=st.integers(2, 5),
    size=st.sampled_from([1e-6, 1.0, 50.0, 1e4]),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=60)
def test_any_calibration_gives_probabilities(kind: CalibrationKind, n: int, k: int, size: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    logits, labels = size * chance.normal(size=(n, k)), chance.integers(0, k, n)
    found = fit_kind(kind, logits, labels)
    told = found.probabilities(size * chance.normal(size=(7, k)))
    assert np.isfinite(told).all()
    assert (told >= 0).all()
    np.testing.assert_allclose(told.sum(axis=1), 1)
    row = np.zeros((2, k))
    row[1, 0] = size
    more = found.probabilities(row)[:, 0]
    assert more[1] >= more[0] - 1e-12, "a larger logit never makes its class less likely"
