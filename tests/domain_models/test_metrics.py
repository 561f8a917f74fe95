"""Every figure is held against scikit-learn, and undefined is never zero."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference

from data_contracts.profile import ConfusionCost
from domain_models.decision_costs import cheapest, cost_matrix
from domain_models.metrics import evaluate, frequency_thirds, top_accuracy


def simulated(seed: int, n: int, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Calibrated predictions: labels are drawn from the probabilities themselves."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(k, 0.4), n)
    labels = (probabilities.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return probabilities, labels


def names(k: int) -> list[str]:
    return [f"class {index}" for index in range(k)]


@settings(max_examples=40, deadline=None, database=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 80), k=st.integers(2, 12))
def test_figures_agree_with_scikit_learn(seed: int, n: int, k: int) -> None:
    probabilities, labels = simulated(seed, n, k)
    predicted = probabilities.argmax(axis=1)
    found = evaluate(probabilities, labels, names(k), replicates=5)
    assert found.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(reference.f1_score(labels, predicted, average="macro", zero_division=0))
    present = np.unique(labels)
    recalls = reference.recall_score(labels, predicted, labels=present, average=None, zero_division=0)
    assert found.balanced_accuracy == pytest.approx(recalls.mean())
    assert found.nll == pytest.approx(reference.log_loss(labels, probabilities, labels=range(k)))
    assert np.array_equal(found.confusion, reference.confusion_matrix(labels, predicted, labels=range(k)))
    expected = reference.precision_recall_fscore_support(labels, predicted, labels=range(k), zero_division=0)
    for index, name in enumerate(names(k)):
        one = found.per_class[name]
        assert one.n == expected[3][index]
        assert one.precision is None or one.precision == pytest.approx(expected[0][index])
        assert (one.precision is None) == (not (predicted == index).any())
        assert (one.recall is None) == (one.n == 0)
        assert one.recall is None or one.recall == pytest.approx(expected[1][index])
        assert one.f1 is None or one.f1 == pytest.approx(expected[2][index])
    areas = [
        reference.roc_auc_score(labels == index, probabilities[:, index])
        for index in range(k)
        if 0 < (labels == index).sum() < n
    ]
    if areas:
        assert found.auroc_ovr_macro == pytest.approx(np.mean(areas))
    else:
        assert found.auroc_ovr_macro is None
    if k > 5 and len(present) == k:
        assert found.top5_accuracy == pytest.approx(reference.top_k_accuracy_score(labels, probabilities, k=5))


@settings(max_examples=30, deadline=None, database=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), k=st.integers(2, 8))
def test_every_interval_holds_its_figure_and_every_share_lies_in_0_to_1(seed: int, n: int, k: int) -> None:
    probabilities, labels = simulated(seed, n, k)
    groups = np.random.default_rng(seed).integers(0, max(1, n // 2), n)
    found = evaluate(probabilities, labels, names(k), groups=groups, pass_class="class 0", replicates=50)
    figures = found.model_dump()
    for name, interval in figures.items():
        if name.endswith("_ci") and interval is not None and name != "nll_ci":
            assert 0 <= interval[0] <= interval[1] <= 1
    for name in ("accuracy", "auroc_ovr_macro", "escape_rate", "overkill_rate", "ece"):
        if figures[f"{name}_ci"] is not None:
            low, high = figures[f"{name}_ci"]
            assert low - 1e-9 <= figures[name] <= high + 1e-9
    json.loads(json.dumps(found.model_dump(mode="json"), allow_nan=False))


def test_a_class_absent_from_the_split_is_named_and_left_out_of_the_means() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]])
    found = evaluate(probabilities, [0, 1, 1], ["a", "b", "never"], train_counts=[5, 3, 1])
    assert found.classes_absent == ("never",)
    assert found.per_class["never"].recall is None
    assert found.per_class["never"].recall_ci is None
    assert found.balanced_accuracy == pytest.approx(0.75)
    assert found.groups.few is None
    assert found.groups.many == pytest.approx(1.0)


def test_a_class_predicted_but_absent_counts_against_macro_f1() -> None:
    probabilities = np.eye(3)[[0, 1, 2]]
    found = evaluate(probabilities, [0, 1, 1], names(3))
    assert found.per_class["class 2"].f1 == 0
    assert found.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_one_image_has_figures_but_no_bootstrap_interval() -> None:
    found = evaluate([[0.3, 0.7]], [1], ["a", "b"], pass_class="a")
    assert found.accuracy == 1
    assert found.auroc_ovr_macro is None
    assert found.ece_ci is None
    assert found.overkill_rate is None
    assert found.escape_rate == 0


def test_a_faultless_model_still_has_an_interval_below_one() -> None:
    found = evaluate(np.eye(4)[np.arange(80) % 4], np.arange(80) % 4, names(4))
    assert found.macro_f1 == 1
    assert found.macro_f1_ci is not None
    assert 0.93 < found.macro_f1_ci[0] < 0.99


def test_escapes_are_fails_passed_and_overkill_is_passes_failed() -> None:
    predicted = np.array([0, 0, 1, 1, 0, 2, 1, 1])
    labels = np.array([0, 0, 0, 0, 1, 2, 2, 1])
    found = evaluate(np.eye(3)[predicted], labels, ["good", "scratch", "dent"], pass_class="good")
    assert found.escape_rate == pytest.approx(1 / 4)
    assert found.overkill_rate == pytest.approx(2 / 4)
    without = evaluate(np.eye(3)[predicted], labels, ["good", "scratch", "dent"])
    assert without.escape_rate is None
    assert without.overkill_rate is None


def test_a_higher_line_lets_fewer_bad_parts_escape_and_kills_more_good_ones() -> None:
    good = np.array([0.99, 0.96, 0.85, 0.6, 0.97, 0.4])
    labels = np.array([0, 0, 0, 0, 1, 1])
    found = evaluate(np.stack([good, 1 - good], axis=1), labels, ["good", "bad"], pass_class="good")
    points = {point.threshold: (point.escape_rate, point.overkill_rate) for point in found.operating_points}
    assert points == {0.5: (0.5, 0.0), 0.8: (0.5, 0.25), 0.9: (0.5, 0.5), 0.95: (0.5, 0.5), 0.99: (0.0, 0.75)}
    assert evaluate(np.eye(2)[labels], labels, ["good", "bad"]).operating_points == ()


def test_the_cheapest_class_is_another_than_the_likeliest_where_mistakes_cost_unequally() -> None:
    costs = [ConfusionCost(actual="bad", predicted="good", cost=10)]
    values = np.array([[0.8, 0.2], [0.95, 0.05], [0.8, 0.2]])
    found = evaluate(values, np.array([1, 0, 0]), ["good", "bad"], costs=costs)
    # calling the first and third bad risks 0.8 for a good part, calling them good 0.2 x 10; the second stays good
    assert cheapest(values, cost_matrix(["good", "bad"], costs)).tolist() == [1, 0, 1]
    assert found.mean_cost == pytest.approx(10 / 3)
    assert found.mean_cost_of_cheapest == pytest.approx(1 / 3)
    equal = cost_matrix(["good", "bad"], [])
    assert cheapest(values, equal).tolist() == values.argmax(axis=1).tolist()
    assert evaluate(values, np.array([1, 0, 0]), ["good", "bad"]).mean_cost_of_cheapest is None


def test_costs_weigh_mistakes() -> None:
    predicted, labels = np.array([0, 1, 0]), np.array([0, 0, 1])
    costs = [ConfusionCost(actual="bad", predicted="good", cost=10)]
    found = evaluate(np.eye(2)[predicted], labels, ["good", "bad"], costs=costs)
    assert found.mean_cost == pytest.approx((0 + 1 + 10) / 3)


def test_the_most_confused_pair_comes_first() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2] * 10)
    predicted = labels.copy()
    predicted[:3] = 2
    predicted[10:12] = 0
    found = evaluate(np.eye(3)[predicted], labels, ["a|b", "c\n", "=d"])
    assert [(pair.actual, pair.predicted, pair.count) for pair in found.most_confused] == [
        ("a|b", "=d", 3),
        ("c\n", "a|b", 2),
    ]
    assert found.most_confused[0].share == pytest.approx(0.3)


def test_thirds_of_the_classes_follow_the_training_counts() -> None:
    assert frequency_thirds([5, 50, 500]) == {"many": [2], "medium": [1], "few": [0]}
    assert frequency_thirds([5, 50]) == {"many": [1], "medium": [], "few": [0]}
    thirds = frequency_thirds([10, 9, 8, 7, 6, 5, 4])
    assert [len(part) for part in thirds.values()] == [2, 3, 2]


def test_top_5_is_1_where_there_are_no_more_classes() -> None:
    probabilities, labels = simulated(0, 50, 5)
    assert top_accuracy(probabilities, labels) == 1


def test_groups_widen_the_intervals_of_images_that_are_alike() -> None:
    probabilities, labels = simulated(3, 200, 4)
    repeated, answers = np.repeat(probabilities, 6, axis=0), np.repeat(labels, 6)
    naive = evaluate(repeated, answers, names(4))
    grouped = evaluate(repeated, answers, names(4), groups=np.repeat(np.arange(200), 6))
    single = evaluate(probabilities, labels, names(4))
    for name in ("accuracy_ci", "macro_f1_ci", "auroc_ovr_macro_ci", "nll_ci"):
        width = {key: np.ptp(getattr(one, name)) for key, one in (("naive", naive), ("grouped", grouped))}
        assert width["grouped"] > 2 * width["naive"]
        assert width["grouped"] == pytest.approx(np.ptp(getattr(single, name)), rel=0.15)


def test_the_same_seed_gives_the_same_figures() -> None:
    probabilities, labels = simulated(5, 100, 3)
    assert evaluate(probabilities, labels, names(3), seed=4) == evaluate(probabilities, labels, names(3), seed=4)


@pytest.mark.parametrize("k", [2, 50])
def test_it_is_fast_enough_to_run_after_every_training(k: int) -> None:
    probabilities, labels = simulated(1, 2000, k)
    start = time.perf_counter()
    found = evaluate(probabilities, labels, names(k), train_counts=list(range(k)))
    assert time.perf_counter() - start < 3
    assert found.n == 2000
    assert len(found.per_class) == k


@pytest.mark.parametrize(
    ("probabilities", "labels", "classes", "message"),
    [
        ([[0.5, 0.5]], [0, 1], ["a", "b"], "do not match"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), ["a", "b"], "no images"),
        ([[0.5, 0.5]], [2], ["a", "b"], "from 0 to 1"),
        ([[0.5, 0.7]], [0], ["a", "b"], "sum to 1"),
        ([[np.nan, 0.7]], [0], ["a", "b"], "finite"),
        ([[0.5, 0.5]], [0], ["a", "a"], "distinct"),
        ([[0.5, 0.5]], [0.0], ["a", "b"], "integers"),
    ],
)
def test_nonsense_is_refused(probabilities: object, labels: object, classes: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(probabilities, labels, classes)  # type: ignore[arg-type]


def test_single_figures_are_flat_for_the_registry() -> None:
    probabilities, labels = simulated(0, 50, 3)
    flat = evaluate(probabilities, labels, names(3)).flat()
    assert {"accuracy", "macro_f1", "ece", "recall/class 0"} <= set(flat)
    assert all(isinstance(value, float) for value in flat.values())
