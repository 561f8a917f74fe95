"""The penalty of a linear classifier suits the number of labels, and what it then says of itself is worth hearing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from domain_models.linear_probe import (
    PENALTIES,
    LinearProbe,
    choose_linear_probe,
    fit_linear_probe,
    mean_nll,
)

Images = tuple[NDArray[np.float32], NDArray[np.int64]]


def images(count: int, seed: int) -> Images:
    """Two classes that overlap, in many more dimensions than tell them apart."""
    chance = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype(np.int64)
    features = chance.normal(0, 1, (count, 300)).astype(np.float32)
    features[:, :3] += 0.7 * labels[:, None]
    return features, labels


def chosen(train: Images, val: Images, strongest: float = np.inf) -> LinearProbe:
    return choose_linear_probe(*train, np.ones(len(train[1])), 2, *val, strongest=strongest)


def test_few_labels_get_a_strong_penalty_and_many_a_weak_one() -> None:
    val = images(600, 1)
    few, many = chosen(images(60, 2), val), chosen(images(20_000, 3), val)
    assert few.penalty >= 1.0
    assert many.penalty < few.penalty
    weak = fit_linear_probe(*images(60, 2), np.ones(60), 2, penalty=1e-3)
    said, meant = mean_nll(few.logits(val[0]), val[1]), mean_nll(weak.logits(val[0]), val[1])
    assert said < np.log(2) < meant, "a weak penalty is surer of sixty images than it may be, and worse than a guess"


def test_the_penalty_is_the_one_that_trying_all_of_them_finds() -> None:
    train, val = images(800, 4), images(600, 5)
    tried = {
        penalty: mean_nll(fit_linear_probe(*train, np.ones(800), 2, penalty=penalty).logits(val[0]), val[1])
        for penalty in PENALTIES
    }
    found = chosen(train, val)
    assert found.penalty == min(tried, key=lambda penalty: tried[penalty])
    assert mean_nll(found.logits(val[0]), val[1]) == pytest.approx(min(tried.values()), abs=1e-4)


def test_where_a_fit_begins_does_not_change_where_it_ends() -> None:
    train = images(400, 6)
    straight = fit_linear_probe(*train, np.ones(400), 2, penalty=0.1, iterations=500)
    start = fit_linear_probe(*train, np.ones(400), 2, penalty=1.0)
    round_about = fit_linear_probe(*train, np.ones(400), 2, penalty=0.1, start=start, iterations=500)
    np.testing.assert_allclose(straight.logits(train[0]), round_about.logits(train[0]), atol=5e-3)


def test_no_penalty_stronger_than_asked_is_tried() -> None:
    assert chosen(images(60, 2), images(600, 1), strongest=0.03).penalty <= 0.03
    with pytest.raises(ValueError, match="no penalty is as weak"):
        chosen(images(60, 2), images(600, 1), strongest=1e-9)
