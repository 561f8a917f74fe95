"""Temperature scaling finds what was done to the logits, and calibration error is read beside chance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from domain_models.calibration import (
    calibrated_nll,
    cross_fitted_probabilities,
    ece,
    ece_of_a_calibrated_model,
    fit_temperature,
    reliability,
    softmax,
)


def calibrated_logits(seed: int, n: int, k: int = 5) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, k))
    labels = (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 6.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    logits, labels = calibrated_logits(0, 8000)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_scaling_repairs_calibration_and_changes_no_decision() -> None:
    logits, labels = calibrated_logits(1, 4000)
    sharp = logits * 3
    after = softmax(sharp, fit_temperature(sharp, labels))
    assert ece(softmax(sharp), labels) > 0.1
    assert ece(after, labels) < 0.03
    assert np.array_equal(after.argmax(axis=1), sharp.argmax(axis=1))


def test_calibrated_log_loss_does_not_depend_on_confidence() -> None:
    logits, labels = calibrated_logits(2, 4000)
    loss = calibrated_nll(logits, labels)
    assert calibrated_nll(logits * 5, labels) == pytest.approx(loss, rel=1e-3)
    at_most = -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()
    assert 0.98 * at_most < loss <= at_most + 1e-9
    assert calibrated_nll(np.zeros((50, 4)), np.arange(50) % 4) == pytest.approx(np.log(4))


def test_a_split_without_errors_does_not_ask_for_infinite_confidence() -> None:
    labels = np.arange(40) % 4
    temperature = fit_temperature(np.eye(4)[labels] * 5, labels)
    assert 0.1 < temperature < 1


def test_no_images_leave_the_temperature_at_1() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0


def test_softmax_survives_huge_logits_and_refuses_a_bad_temperature() -> None:
    values = softmax([[1e6, -1e6, 0.0], [0.0, 0.0, 0.0]])
    assert values[0].tolist() == [1, 0, 0]
    assert values.sum(axis=1) == pytest.approx([1, 1])
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="temperature"):
            softmax([[1.0, 2.0]], bad)


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_temperature([[np.nan, 1.0]], [0])
    with pytest.raises(ValueError, match="do not match"):
        fit_temperature([[0.0, 1.0]], [0, 1])
    with pytest.raises(ValueError, match="2 classes"):
        fit_temperature([[0.0, 1.0]], [2])


def test_cross_fitting_never_looks_at_the_image_or_its_group() -> None:
    logits, labels = calibrated_logits(2, 300)
    groups = np.repeat(np.arange(100), 3)
    before = cross_fitted_probabilities(logits, labels, groups=groups, seed=3)
    changed = labels.copy()
    changed[groups == 7] = (changed[groups == 7] + 1) % 5
    after = cross_fitted_probabilities(logits, changed, groups=groups, seed=3)
    assert np.array_equal(before[groups == 7], after[groups == 7])
    assert not np.array_equal(before, after)


def test_cross_fitting_one_group_falls_back_to_the_common_temperature() -> None:
    logits, labels = calibrated_logits(2, 20)
    whole = softmax(logits, fit_temperature(logits, labels))
    assert np.array_equal(cross_fitted_probabilities(logits, labels, groups=["a"] * 20), whole)
    assert cross_fitted_probabilities(np.zeros((0, 3)), []).shape == (0, 3)


def test_calibration_error_is_the_weighted_gap() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    labels = np.array([0] * 9 + [1] + [0] * 3 + [1] * 7)
    assert ece(probabilities, labels) == pytest.approx(0.5 * 0.0 + 0.5 * 0.3)
    bins = reliability(probabilities, labels)
    assert bins.count.sum() == 20
    assert np.isnan(bins.accuracy[bins.count == 0]).all()


def test_a_calibrated_model_shows_the_error_that_chance_predicts() -> None:
    shown, predicted, above = [], [], 0
    for seed in range(100):
        logits, labels = calibrated_logits(seed, 200)
        probabilities = softmax(logits)
        mean, limit = ece_of_a_calibrated_model(probabilities, seed=seed, replicates=200)
        shown.append(ece(probabilities, labels))
        predicted.append(mean)
        above += shown[-1] > limit
    assert np.mean(shown) == pytest.approx(np.mean(predicted), rel=0.08)
    assert above <= 12  # five expected


def test_chance_is_larger_on_small_splits_and_reproducible() -> None:
    small = ece_of_a_calibrated_model(softmax(calibrated_logits(0, 50)[0]), seed=1)
    large = ece_of_a_calibrated_model(softmax(calibrated_logits(0, 5000)[0]), seed=1)
    assert small[0] > 3 * large[0]
    assert small == ece_of_a_calibrated_model(softmax(calibrated_logits(0, 50)[0]), seed=1)
    assert ece_of_a_calibrated_model(np.zeros((0, 2))) == (0.0, 0.0)
