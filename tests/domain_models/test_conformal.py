"""Sets hold the right class as often as they say, also for new groups."""

from __future__ import annotations

import numpy as np
import pytest

from domain_models import conformal
from domain_models.calibration import softmax
from domain_models.conformal import ConformalRule, ConformalScore


def draw(rng: np.random.Generator, n: int, k: int = 6) -> tuple[np.ndarray, np.ndarray]:
    logits = rng.normal(0, 1.5, (n, k))
    labels = (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return softmax(logits * 1.7), labels  # not calibrated: the promise does not need it


@pytest.mark.parametrize("score", list(ConformalScore))
def test_sets_cover_the_right_class(score: ConformalScore) -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(60):
        probabilities, labels = draw(rng, 400)
        rule = conformal.fit(probabilities, labels, coverage=0.9, score=score)
        new, truth = draw(rng, 1000)
        held.append(conformal.sets(new, rule)[np.arange(1000), truth].mean())
    assert 0.89 < np.mean(held) < 0.925


@pytest.mark.parametrize("score", list(ConformalScore))
def test_thresholds_of_each_class_cover_every_class(score: ConformalScore) -> None:
    """Also the rare one, which a common threshold leaves out."""
    rng = np.random.default_rng(3)

    def tailed(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.choice(3, n, p=[0.8, 0.15, 0.05])
        logits = rng.normal(0, 1, (n, 3)) + 1.5 * np.eye(3)[labels] + np.log([0.8, 0.15, 0.05])
        return softmax(logits), labels

    common, each = [], []
    for _ in range(60):
        probabilities, labels = tailed(1500)
        new, truth = tailed(3000)
        rare = truth == 2
        for held, conditional in ((common, False), (each, True)):
            rule = conformal.fit(probabilities, labels, coverage=0.9, score=score, class_conditional=conditional)
            held.append(conformal.sets(new, rule)[np.flatnonzero(rare), 2].mean())
    assert np.mean(each) > 0.885
    if score is ConformalScore.LAC:  # the others take the last class in with all others before it, or not at all
        assert np.mean(common) < 0.85
        assert np.mean(each) < 0.95


def test_a_class_without_calibration_images_is_in_every_set() -> None:
    probabilities = np.full((40, 3), 1 / 3)
    rule = conformal.fit(probabilities, np.arange(40) % 2, coverage=0.9, class_conditional=True)
    assert rule.class_thresholds is not None
    assert rule.class_thresholds[2] is None
    assert conformal.sets([[0.9, 0.1, 0.0]], rule)[0, 2]
    assert ConformalRule.model_validate_json(rule.model_dump_json()) == rule


def test_regularised_scores_by_hand() -> None:
    """Cumulated probability, and a tenth for each class behind the second."""
    rule = ConformalRule(score=ConformalScore.RAPS, threshold=0.96, coverage=0.9, n_calibration=9, n_groups=9)
    probabilities = np.array([[0.5, 0.3, 0.15, 0.05]])  # scores 0.5, 0.8, 0.95 + 0.1, 1.0 + 0.2
    assert conformal.sets(probabilities, rule).tolist() == [[True, True, False, False]]
    wider = rule.model_copy(update={"threshold": 1.05})
    assert conformal.sets(probabilities, wider).tolist() == [[True, True, True, False]]


def test_sets_cover_images_of_new_groups() -> None:
    rng = np.random.default_rng(1)

    def grouped(groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        probabilities, labels = draw(rng, groups)
        codes = np.repeat(np.arange(groups), rng.integers(1, 15, groups))
        return probabilities[codes], labels[codes], codes

    held = []
    for _ in range(150):
        probabilities, labels, codes = grouped(40)
        rule = conformal.fit(probabilities, labels, coverage=0.9, groups=codes)
        new, truth = draw(rng, 500)
        held.append(conformal.sets(new, rule)[np.arange(500), truth].mean())
    assert np.mean(held) > 0.89


def test_too_few_images_give_sets_of_everything() -> None:
    rule = conformal.fit([[0.9, 0.1]], [0], coverage=0.95)
    assert rule.threshold is None
    assert conformal.sets([[0.99, 0.01]], rule).all()
    assert conformal.fit(np.zeros((0, 2)), []).threshold is None


def test_no_set_is_empty_and_the_most_probable_class_comes_first() -> None:
    rule = ConformalRule(score=ConformalScore.LAC, threshold=0.1, coverage=0.9, n_calibration=9, n_groups=9)
    probabilities = np.array([[0.3, 0.5, 0.2], [0.05, 0.0, 0.95]])
    members = conformal.sets(probabilities, rule)
    assert members.tolist() == [[False, True, False], [False, False, True]]
    wide = rule.model_copy(update={"threshold": 0.75})
    found = conformal.set_names(conformal.sets(probabilities, wide), probabilities, ["a", "b,|", "c\n"])
    assert found == [["b,|", "a"], ["c\n"]]


def test_a_rule_survives_json() -> None:
    rule = conformal.fit(*draw(np.random.default_rng(2), 100))
    assert ConformalRule.model_validate_json(rule.model_dump_json()) == rule
