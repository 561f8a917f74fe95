"""The first level's threshold: the limit on escapes holds as often as promised, and nothing is promised of too few."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from data_contracts.profile import Limits
from domain_models.passing import fit_pass_rule, measure_passing

CLASSES = ("good", "scratch", "pit")
LIMITS = Limits(escape_rate=0.05, confidence=0.9)


def drawn(n: int, chance: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities of a mediocre model, and the truth: half of the parts are good."""
    truth = np.where(chance.random(n) < 0.5, 0, chance.integers(1, 3, n))
    good = 1 / (1 + np.exp(-chance.normal(np.where(truth == 0, 2.0, -1.0), 1.5)))
    split = chance.random(n)
    return np.stack([good, (1 - good) * split, (1 - good) * (1 - split)], axis=1), truth


def test_the_limit_holds_in_as_many_draws_as_promised_and_is_used_up() -> None:
    chance = np.random.default_rng(7)
    probabilities, truth = drawn(200_000, chance)
    bad = probabilities[truth != 0, 0]
    escapes = []
    for _ in range(400):
        rule = fit_pass_rule(*drawn(600, chance), CLASSES, "good", LIMITS)
        assert rule is not None
        escapes.append(float((bad >= rule.threshold).mean()))
    broken = np.mean(np.asarray(escapes) > 0.05)
    assert broken <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 400)
    assert np.mean(escapes) > 0.02, "a rule that lets nothing pass keeps every limit"
    assert len(truth)


def test_groups_count_once() -> None:
    chance = np.random.default_rng(3)
    probabilities, truth = drawn(400, chance)
    alone = fit_pass_rule(probabilities, truth, CLASSES, "good", LIMITS)
    fours = fit_pass_rule(
        np.repeat(probabilities, 4, axis=0),
        np.repeat(truth, 4),
        CLASSES,
        "good",
        LIMITS,
        groups=np.repeat(np.arange(400), 4),
    )
    assert alone is not None
    assert fours is not None
    assert fours.threshold == pytest.approx(alone.threshold)


def test_too_few_bad_parts_let_nothing_pass_and_say_how_many_it_takes() -> None:
    probabilities, truth = drawn(60, np.random.default_rng(1))
    rule = fit_pass_rule(probabilities, truth, CLASSES, "good", Limits(escape_rate=0.01))
    assert rule is not None
    assert not rule.passes(probabilities, CLASSES).any()
    assert "it takes at least 299" in rule.sentences[0]


def test_without_a_limit_or_a_pass_class_there_is_no_rule() -> None:
    probabilities, truth = drawn(60, np.random.default_rng(1))
    assert fit_pass_rule(probabilities, truth, CLASSES, "good", Limits()) is None
    assert fit_pass_rule(probabilities, truth, CLASSES, None, LIMITS) is None
    assert fit_pass_rule(probabilities, truth, CLASSES, "fine", LIMITS) is None
    assert measure_passing(probabilities, truth, None, CLASSES) is None


def test_escapes_and_overkill_of_a_rule_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.8, 0.1, 0.1], [0.2, 0.8, 0.0], [0.1, 0.0, 0.9]])
    truth = np.array([0, 0, 1, 1, 2])
    rule = fit_pass_rule(*drawn(600, np.random.default_rng(0)), CLASSES, "good", LIMITS)
    assert rule is not None
    outcome = measure_passing(probabilities, truth, rule.model_copy(update={"threshold": 0.7}), CLASSES)
    assert outcome is not None
    assert outcome.escape_rate_of_rule == pytest.approx(1 / 3)
    assert outcome.overkill_rate_of_rule == pytest.approx(1 / 2)


def test_only_what_is_called_good_and_not_sure_enough_is_held_back() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.3, 0.7, 0.0]])
    rule = fit_pass_rule(*drawn(600, np.random.default_rng(0)), CLASSES, "good", LIMITS)
    assert rule is not None
    strict = rule.model_copy(update={"threshold": 0.8})
    most_probable = probabilities.argmax(axis=1)
    assert list(strict.holds_back(probabilities, CLASSES, most_probable)) == [False, True, False]
    called_bad = np.array([0, 1, 1])
    assert not strict.holds_back(probabilities, CLASSES, called_bad).any(), "what is called bad does not pass anyway"
