"""Arms differ only in what they ask; a strategy that asks what is not known yet earns more than chance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from domain_models.selection.pool import UNLABELLED, Pool
from domain_models.selection.strategies import STRATEGIES, StrategyName
from domain_models.selection_arms import ArmSettings, Judges, compare_arms, paired_difference, run_arm, score


def clusters(count: int, seed: int, shares: tuple[float, ...]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    chance = np.random.default_rng(seed)
    labels = chance.choice(len(shares), count, p=shares).astype(np.int64)
    centres = np.random.default_rng(0).normal(0, 1.2, (len(shares), 6))
    return (centres[labels] + chance.normal(0, 1, (count, 6))).astype(np.float32), labels


SHARES = (0.62, 0.3, 0.05, 0.03)
SETTINGS = ArmSettings(rounds=3, budget=40, reader_error=0.02)


@pytest.fixture(scope="module")
def scene() -> tuple[Pool, NDArray[np.int64], Judges]:
    """30 labelled images, none of the rare classes but one each; 600 to ask about."""
    x, truth = clusters(630, 1, SHARES)
    labels = np.full(630, UNLABELLED, dtype=np.int64)
    labels[:30] = truth[:30]
    for rare in (2, 3):
        labels[np.flatnonzero(truth == rare)[0]] = rare
    pool = Pool.of(630, classes=("a", "b", "c", "d"), labels=labels, embeddings=x)
    balanced = (0.25, 0.25, 0.25, 0.25)
    return pool, truth, Judges(*clusters(200, 2, balanced), *clusters(800, 3, balanced))


@pytest.mark.slow
def test_the_default_strategy_beats_chance_and_both_beat_nothing(
    scene: tuple[Pool, NDArray[np.int64], Judges],
) -> None:
    pool, truth, judges = scene
    arms = {name.value: STRATEGIES[name] for name in (StrategyName.MIX, StrategyName.RANDOM)}
    scores = compare_arms(pool, truth, judges, arms, SETTINGS, range(24))
    gain = paired_difference(scores["mix"], scores["random"])
    assert gain.interval[0] > 0
    assert gain.interval[0] < gain.mean < gain.interval[1]
    assert min(values.mean() for values in scores.values()) > score(pool, judges)


def test_an_arm_is_the_same_for_the_same_seed_and_changes_nothing_it_was_given(
    scene: tuple[Pool, NDArray[np.int64], Judges],
) -> None:
    pool, truth, judges = scene
    before = pool.labels.copy()
    mix = STRATEGIES[StrategyName.MIX]
    assert run_arm(pool, truth, judges, mix, SETTINGS, 4) == run_arm(pool, truth, judges, mix, SETTINGS, 4)
    np.testing.assert_array_equal(pool.labels, before)


def test_a_reader_who_always_errs_teaches_nonsense(scene: tuple[Pool, NDArray[np.int64], Judges]) -> None:
    pool, truth, judges = scene
    hopeless = ArmSettings(rounds=2, budget=150, reader_error=1.0)
    margin = STRATEGIES[StrategyName.MARGIN]
    assert run_arm(pool, truth, judges, margin, hopeless, 0) < 0.5 * run_arm(pool, truth, judges, margin, SETTINGS, 0)


def test_the_interval_of_a_paired_difference_is_students() -> None:
    found = paired_difference(np.array([0.5, 0.6, 0.7]), np.array([0.4, 0.4, 0.4]))
    assert found.mean == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.2 - 4.3027 * 0.1 / np.sqrt(3), 0.2 + 4.3027 * 0.1 / np.sqrt(3)), abs=1e-4)
