"""What is predicted is what is expected to cost least; how sure the model is of it is another matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from data_contracts.profile import ConfusionCost, GateSettings, Limits
from domain_models.calibration import ece, softmax
from domain_models.conformal import fit, sets
from domain_models.decision_costs import EQUAL_COSTS, DecisionCosts, cost_matrix, weighted_mistakes
from domain_models.gate import PairedPredictions, judge
from domain_models.metrics import evaluate
from domain_models.triage import NEVER, confidence_and_margin, decide, fit_triage
from domain_models.triage_outcome import measure

CLASSES = ("good", "scratch", "crack")
DEAR = DecisionCosts.of(cost_matrix(CLASSES, [ConfusionCost(actual="crack", predicted="good", cost=9)]))


@given(
    seed=st.integers(0, 1000),
    strength=st.floats(0, 1),
    counts=st.lists(st.integers(1, 5000), min_size=2, max_size=6),
)
def test_weighing_classes_by_their_rarity_is_logit_adjustment(seed: int, strength: float, counts: list[int]) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (40, len(counts)))
    prior = np.log(np.asarray(counts) / sum(counts))
    weights = np.exp(-strength * prior)
    predicted = DecisionCosts.of(weighted_mistakes(weights)).predicted(softmax(logits))
    assert predicted.tolist() == (logits - strength * prior).argmax(axis=1).tolist()


def test_without_costs_the_most_probable_class_is_predicted() -> None:
    values = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    assert EQUAL_COSTS.predicted(values).tolist() == [0, 2]
    shares = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])  # scratch and crack have become one class
    assert EQUAL_COSTS.predicted(values, shares).tolist() == [0, 1]
    with pytest.raises(ValidationError, match="not square"):
        DecisionCosts(table=((0.0, 1.0),))


def test_merged_classes_are_one_and_a_class_nobody_heard_of_is_not_predicted() -> None:
    weighted = DecisionCosts.of(weighted_mistakes(np.array([1.0, 3.0, 2.0])))
    values = np.array([[0.55, 0.15, 0.3], [0.9, 0.05, 0.05]])
    assert weighted.predicted(values).tolist() == [2, 0]  # 0.55, 0.45 and 0.6
    merged = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert weighted.predicted(values, merged).tolist() == [1, 0]  # 0.55 against 0.45 + 0.6; 0.9 against 0.25
    split = np.array([[0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5, 0.5]])
    assert weighted.predicted(values, split).tolist() == [3, 1]


def test_confidence_is_that_of_the_predicted_class_and_a_person_sees_what_is_probably_another() -> None:
    chance = np.random.default_rng(0)
    values = chance.dirichlet([3.0, 0.3, 0.3], 4000)
    labels = (values.cumsum(axis=1) > chance.random((4000, 1))).argmax(axis=1)
    predicted = DEAR.predicted(values)
    assert (predicted != values.argmax(axis=1)).any()
    confidence, margin, named = confidence_and_margin(values, predicted)
    assert (confidence == values[np.arange(4000), predicted]).all()
    assert ((margin < 0) == (predicted != values.argmax(axis=1))).all()
    assert (named == predicted).all()

    rule = fit_triage(values, labels, Limits(automatic_error=0.1), classes=CLASSES, predicted=predicted)
    decisions, reasons = decide(values, rule, CLASSES, predicted=predicted)
    alone = decisions == "auto"
    assert 0.1 < alone.mean() == rule.share_automatic
    assert (margin[alone] >= 0).all()
    assert (predicted[alone] != labels[alone]).mean() <= 0.1
    outcome = measure(values, labels, rule, CLASSES, predicted=predicted)
    assert (outcome.n_automatic, outcome.n_automatic_wrong) == (rule.n_automatic, rule.n_wrong)
    pairs = {reason for reason in reasons if reason and reason.startswith("confused_pair")}
    assert "confused_pair:crack|good" in pairs, "the predicted class comes first"

    lenient = rule.model_copy(update={"confidence_threshold": 0.0, "margin_threshold": 0.0})
    assert (margin[decide(values, lenient, CLASSES, predicted=predicted)[0] == "auto"] >= 0).all()
    nothing = rule.model_copy(update={"confidence_threshold": NEVER})
    assert (decide(values, nothing, CLASSES, predicted=predicted)[0] == "review").all()


def test_figures_are_of_what_is_predicted() -> None:
    values = np.array([[0.8, 0.0, 0.2], [0.95, 0.0, 0.05], [0.1, 0.8, 0.1], [0.7, 0.0, 0.3]])
    labels = np.array([2, 0, 1, 0])
    predicted = DEAR.predicted(values)
    assert predicted.tolist() == [2, 0, 1, 2]
    figures = evaluate(values, labels, CLASSES, predicted=predicted)
    assert figures.accuracy == 0.75
    assert figures.confusion == ((1, 0, 1), (0, 1, 0), (0, 0, 1))
    assert figures.ece == pytest.approx(ece(values, labels, predicted=predicted))
    # bins of a fifteenth: 0.2 right, 0.95 right, 0.8 right, 0.3 wrong
    assert figures.ece == pytest.approx((0.8 + 0.05 + 0.2 + 0.3) / 4)
    assert evaluate(values, labels, CLASSES).accuracy == 0.75
    assert evaluate(values, labels, CLASSES).confusion == ((2, 0, 0), (0, 1, 0), (1, 0, 0))


def test_the_gate_compares_what_is_predicted() -> None:
    chance = np.random.default_rng(1)
    labels = np.arange(300) % 3
    values = softmax(2.5 * np.eye(3)[labels] + chance.normal(0, 1, (300, 3)) + np.array([1.5, 0, 0]))
    weights = DecisionCosts.of(weighted_mistakes(np.exp([-1.5, 0, 0])))
    champion = PairedPredictions("1", values)
    better = PairedPredictions("2", values, predicted=weights.predicted(values))
    said = judge(better, champion, labels, None, CLASSES, GateSettings())
    gain = next(check for check in said.checks if check.rule == "macro_f1")
    assert gain.value is not None
    assert gain.value > 0.03
    assert next(check for check in said.checks if check.rule == "calibration").value == pytest.approx(
        ece(values, labels, predicted=weights.predicted(values))
    )


def test_the_predicted_class_is_in_the_conformal_set() -> None:
    values = np.array([[0.85, 0.0, 0.15], [0.97, 0.02, 0.01]])
    rule = fit(np.tile(values[1], (99, 1)), np.zeros(99, dtype=int))
    assert sets(values, rule).sum(axis=1).tolist() == [1, 1]
    assert sets(values, rule, DEAR.predicted(values)).tolist() == [[True, False, True], [True, False, False]]
