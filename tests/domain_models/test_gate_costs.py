"""Where costs decide what is predicted, the gate compares what mistakes cost and not how many there are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from data_contracts.profile import GateSettings
from domain_models.gate import GateDecision, PairedPredictions, judge
from domain_models.gate_rules import Rule, cost_without_a_model

CLASSES = ("good", "scratch", "crack")
KNOWN = {"dataset_version": "d-1", "taxonomy_version": 0, "profile_hash": "ff", "run_key": "r"}
LABELS = np.repeat([0, 1, 2], [600, 100, 100])
COSTS = np.array([[0.0, 1, 1], [1, 0, 1], [10, 1, 0]])  # a crack that passes as good is dear


def predicted(*mistakes: tuple[int, int, int]) -> NDArray[np.int64]:
    """Predictions with mistakes: (actual, called, how many)."""
    said, taken = LABELS.copy(), np.zeros(3, dtype=int)
    for actual, called, count in mistakes:
        rows = np.flatnonzero(actual == LABELS)[taken[actual] :][:count]
        said[rows], taken[actual] = called, taken[actual] + count
    return said


def asked(candidate: NDArray[np.int64], champion: NDArray[np.int64] | None, **settings: float) -> GateDecision:
    surely = np.full((len(LABELS), 3), 0.05) + 0.85 * np.eye(3)[LABELS]
    return judge(
        PairedPredictions("2", surely, KNOWN, candidate),
        None if champion is None else PairedPredictions("1", surely, predicted=champion),
        LABELS,
        None,
        CLASSES,
        GateSettings(maximum_ece=1.0, **settings),
        costs=COSTS,
    )


def test_fewer_dear_mistakes_pass_though_there_are_more_mistakes() -> None:
    careless, careful = predicted((2, 0, 20)), predicted((0, 2, 29))
    said = asked(careful, careless)
    assert said.passed
    (check,) = [check for check in said.checks if check.rule is Rule.MEAN_COST]
    assert cost_without_a_model(LABELS, COSTS) == pytest.approx(0.875), "all scratches, or all cracks"
    assert check.value == pytest.approx((29 - 200) / 800 / 0.875)
    assert check.bound is not None
    assert check.value < check.bound < 0
    assert "An image costs 0.036 in the mean, with the champion 0.250" in check.sentence
    assert Rule.MACRO_F1 not in {check.rule for check in said.checks}


def test_dearer_mistakes_are_refused_though_they_are_fewer() -> None:
    said = asked(predicted((2, 0, 5)), predicted((0, 2, 29)), recall_tolerance=0.2)
    assert [check.rule for check in said.checks if not check.passed] == [Rule.MEAN_COST]
    assert said.reasons[0].endswith("which must be below +0.020.")
    assert asked(predicted((2, 0, 5)), predicted((0, 2, 29)), recall_tolerance=0.2, cost_margin=0.2).passed


def test_the_bound_is_that_of_a_normal_approximation() -> None:
    before, now = predicted((2, 0, 20)), predicted((0, 2, 60))
    check = asked(now, before).checks[0]
    each = (COSTS[LABELS, now] - COSTS[LABELS, before]) / 0.875
    assert check.value == pytest.approx(each.mean())
    assert check.bound == pytest.approx(each.mean() + 1.645 * each.std() / np.sqrt(len(each)), abs=0.01)


def test_a_first_champion_is_cheaper_than_no_model() -> None:
    assert asked(predicted((2, 0, 20)), None).checks[0].rule is Rule.MEAN_COST
    assert asked(predicted((2, 0, 20)), None).passed
    useless = asked(predicted((2, 0, 100)), None)
    assert [check.rule for check in useless.checks if not check.passed] == [Rule.MEAN_COST]
    assert "it must be less than the 0.875 of calling all of them the same" in useless.reasons[0]
