"""Intervals hold the truth as often as they say, also where images come in groups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from domain_models.class_counts import count_columns, counts_from_sums
from domain_models.intervals import (
    bootstrap_weights,
    clopper_pearson,
    effective_count,
    group_codes,
    group_sums,
    independent_equivalent,
    percentile_interval,
    share_interval,
    wilson,
)
from domain_models.ranking import auroc_ovr_macro


def test_wilson_and_clopper_pearson_agree_with_scipy() -> None:
    for successes, n in ((0, 10), (3, 10), (10, 10), (47, 300)):
        test = stats.binomtest(successes, n)
        assert wilson(successes, n) == pytest.approx(tuple(test.proportion_ci(method="wilson")), abs=1e-9)
        assert clopper_pearson(successes, n) == pytest.approx(tuple(test.proportion_ci(method="exact")), abs=1e-9)


def test_nothing_observed_has_no_interval() -> None:
    assert wilson(0, 0) is None
    assert clopper_pearson(0, 0) is None
    assert share_interval(np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64)) is None
    assert percentile_interval(np.array([np.nan])) is None


def test_group_codes_are_dense_and_without_groups_every_image_is_its_own() -> None:
    assert group_codes(None, 3).tolist() == [0, 1, 2]
    codes = group_codes(["b", "a", "b", 7], 4)
    assert codes[0] == codes[2]
    assert sorted(set(codes)) == [0, 1, 2]
    with pytest.raises(ValueError, match="2 values for 3 images"):
        group_codes(["a", "b"], 3)


def test_images_that_always_agree_are_worth_their_groups() -> None:
    groups = np.repeat(np.arange(50), 4)
    assert independent_equivalent(groups) == 50
    outcomes = np.repeat(np.arange(50) % 3 == 0, 4)
    assert effective_count(outcomes, groups) == pytest.approx(50, rel=0.05)
    independent = np.random.default_rng(0).random(200) < 0.4
    assert effective_count(independent, groups) > 120
    assert effective_count(np.ones(200, dtype=bool), groups) == 50


def test_a_replicate_draws_as_many_groups_as_there_are() -> None:
    weights = np.concatenate(list(bootstrap_weights(37, replicates=200, seed=1)))
    assert weights.shape == (200, 37)
    assert (weights.sum(axis=1) == 37).all()
    assert weights.mean() == pytest.approx(1)
    assert np.array_equal(weights, np.concatenate(list(bootstrap_weights(37, replicates=200, seed=1))))


def test_large_bootstraps_come_in_chunks_of_bounded_memory() -> None:
    chunks = [chunk.shape for chunk in bootstrap_weights(3_000_000, replicates=5)]
    assert chunks == [(2, 3_000_000), (2, 3_000_000), (1, 3_000_000)]


def _grouped_outcomes(rng: np.random.Generator, groups: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    sizes = rng.integers(1, 6, groups)
    chance = rng.beta(share * 3, (1 - share) * 3, groups)  # images of a group are alike
    codes = np.repeat(np.arange(groups), sizes)
    return rng.random(codes.size) < chance[codes], codes


def test_share_intervals_of_grouped_images_cover_the_truth() -> None:
    rng = np.random.default_rng(11)
    held, naive = 0, 0
    for _ in range(400):
        outcomes, codes = _grouped_outcomes(rng, 80, 0.8)
        low, high = share_interval(outcomes, codes) or (0, 0)
        held += low <= 0.8 <= high
        low, high = wilson(outcomes.sum(), outcomes.size) or (0, 0)
        naive += low <= 0.8 <= high
    assert held / 400 > 0.92
    assert naive / 400 < 0.90  # what pretending independence would give


def test_bootstrap_intervals_of_macro_f1_cover_the_truth() -> None:
    rng = np.random.default_rng(12)
    k, shares = 3, np.array([0.6, 0.3, 0.1])
    table = np.array([[0.85, 0.1, 0.05], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    joint = shares[:, None] * table
    truth = float(np.mean(2 * np.diag(joint) / (joint.sum(axis=0) + joint.sum(axis=1))))
    held = 0
    for trial in range(200):
        labels = rng.choice(k, 300, p=shares)
        predicted = (table[labels].cumsum(axis=1) > rng.random((300, 1))).argmax(axis=1)
        sums = group_sums(count_columns(labels, predicted, k), np.arange(300))
        drawn = np.concatenate([w @ sums for w in bootstrap_weights(300, replicates=300, seed=trial)])
        interval = percentile_interval(counts_from_sums(drawn.astype(np.float64), k).macro_f1)
        assert interval is not None
        held += interval[0] <= truth <= interval[1]
    assert held / 200 > 0.90


def test_auroc_intervals_cover_the_truth_for_grouped_images() -> None:
    rng = np.random.default_rng(13)
    shift = 1.0
    truth = float(stats.norm.cdf(shift / np.sqrt(2)))
    held = 0
    for _ in range(300):
        codes = np.repeat(np.arange(60), 4)
        labels = (np.arange(60) % 2)[codes]
        score = labels * shift + np.sqrt(0.7) * rng.normal(size=60)[codes] + np.sqrt(0.3) * rng.normal(size=240)
        inside = 1 / (1 + np.exp(-score))
        _, interval = auroc_ovr_macro(np.column_stack([1 - inside, inside]), labels, codes)
        assert interval is not None
        held += interval[0] <= truth <= interval[1]
    assert held / 300 > 0.91


def test_a_figure_that_resampling_inflates_is_centred_on_its_estimate() -> None:
    interval = percentile_interval(np.linspace(0.2, 0.4, 101), centre_on=0.1)
    assert interval is not None
    assert np.mean(interval) == pytest.approx(0.1)
