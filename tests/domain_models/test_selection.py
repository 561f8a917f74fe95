"""Selection: every strategy keeps its contract, and each does what it is for."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import BadInput
from domain_models.selection.labels_in_doubt import label_doubt
from domain_models.selection.neighbours import distance_to_labelled, nearest_of_class, unit_vectors
from domain_models.selection.pool import UNLABELLED, Pool
from domain_models.selection.strategies import MIX, STRATEGIES, StrategyName, audit_size, parse_strategy
from domain_models.selection.uncertainty import named_pairs
from tests.domain_models.selection_contract import CLASSES, check_strategy, make_pool, nothing_known

every_strategy = pytest.mark.parametrize("name", list(StrategyName))


def test_the_table_has_an_entry_for_every_name() -> None:
    assert set(STRATEGIES) == set(StrategyName)


@every_strategy
@pytest.mark.parametrize("budget", [0, 1, 7, 40, 500])
def test_a_strategy_keeps_its_contract(name: StrategyName, budget: int) -> None:
    for seed in (0, 1):
        check_strategy(name, STRATEGIES[name], make_pool(seed=seed), budget, seed)


@every_strategy
def test_a_strategy_stands_a_pool_where_little_is_known(name: StrategyName) -> None:
    full = make_pool()
    pools = {
        "nothing known": nothing_known(),
        "no images": Pool.of(0, classes=CLASSES),
        "no candidates": full.only(np.zeros(120, dtype=bool)),
        "no predictions": replace(full, probabilities=np.full((120, 3), np.nan)),
        "no embeddings": replace(full, embeddings=np.zeros((120, 0), dtype=np.float32)),
        "embeddings all NaN": replace(full, embeddings=np.full((120, 16), np.nan, dtype=np.float32)),
        "all the same": replace(full, embeddings=np.ones((120, 16), dtype=np.float32)),
        "no labels": replace(full, labels=np.full(120, UNLABELLED, dtype=np.int64)),
        "all labelled": replace(full, labels=np.zeros(120, dtype=np.int64)),
        "never confused": replace(full, confusion=np.diag([5, 5, 5])),
        "one class": Pool.of(
            9, classes=("only",), probabilities=np.ones((9, 1)), confusion=np.zeros((1, 1), dtype=int)
        ),
    }
    for pool in pools.values():
        check_strategy(name, STRATEGIES[name], pool, 10, 0)


@every_strategy
def test_images_of_which_nothing_is_known_never_disturb_the_others(name: StrategyName) -> None:
    if name in (StrategyName.RANDOM, StrategyName.COLD_START):
        pytest.skip("chance and clusters see every image")
    known = make_pool(unknown=0.0, grouped=False)
    more = 15
    widened = Pool.of(
        120 + more,
        classes=CLASSES,
        candidates=np.append(known.candidates, np.ones(more, dtype=bool)),
        labels=np.append(known.labels, np.full(more, UNLABELLED)).astype(np.int64),
        probabilities=np.vstack([known.probabilities, np.full((more, 3), np.nan)]),
        embeddings=np.vstack([known.embeddings, np.full((more, 16), np.nan, dtype=np.float32)]),
        conflicts=np.append(known.conflicts, np.zeros(more, dtype=bool)),
        confusion=known.confusion,
    )
    assert set(STRATEGIES[name](widened, 8, 0).indices) == set(STRATEGIES[name](known, 8, 0).indices)


def test_entropy_takes_the_most_even_first() -> None:
    spread = np.array([[0.5, 0.5, 0.0], [0.4, 0.3, 0.3], [0.98, 0.01, 0.01]])
    chosen = STRATEGIES[StrategyName.ENTROPY](Pool.of(3, classes=CLASSES, probabilities=spread), 3, 0)
    assert list(chosen.indices) == [1, 0, 2]
    assert chosen.scores.tolist() == pytest.approx(
        [-(0.4 * np.log(0.4) + 0.6 * np.log(0.3)), np.log(2), 0.1119], abs=1e-3
    )


def test_badge_begins_with_the_longest_gradient_and_then_goes_elsewhere() -> None:
    probabilities = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    embeddings = np.array([[3, 0], [3, 0], [0, 2], [9, 9]], dtype=np.float32)
    pool = Pool.of(4, classes=("a", "b"), probabilities=probabilities, embeddings=embeddings)
    seconds = []
    for seed in range(40):
        chosen = STRATEGIES[StrategyName.BADGE](pool, 2, seed)
        assert chosen.indices[0] == 0
        assert chosen.scores[0] == pytest.approx(np.sqrt(0.5) * 3), "|p - onehot| x |embedding|"
        seconds.append(int(chosen.indices[1]))
    assert 1 not in seconds, "the twin of the first adds nothing"
    # squared distances from the first: 4.5 + 2 in another direction, 4.5 for the certain one, which moves nothing
    assert seconds.count(2) > seconds.count(3)


def test_clustered_margin_asks_in_more_places_than_the_smallest_margins_do() -> None:
    chance = np.random.default_rng(0)
    near = np.linspace(0.0, 0.1, 60)  # one crowd has all the smallest margins, three other places have small ones
    lead = np.concatenate([near, [0.2, 0.21, 0.22]])
    place = np.concatenate([chance.normal(0, 0.1, (60, 4)), 10 * np.eye(4)[:3]]).astype(np.float32)
    both = np.stack([(1 + lead) / 2, (1 - lead) / 2], axis=1)
    pool = Pool.of(63, classes=("a", "b"), probabilities=both, embeddings=place)
    assert set(STRATEGIES[StrategyName.MARGIN](pool, 8, 0).indices) <= set(range(60))
    spread = STRATEGIES[StrategyName.CLUSTERED_MARGIN](pool, 8, 0)
    assert {60, 61, 62} <= set(spread.indices)
    assert 0 in spread.indices, "and the smallest margin of the crowd"


def test_low_confidence_takes_the_least_probable_first() -> None:
    pool = Pool.of(3, classes=("a", "b"), probabilities=np.array([[0.9, 0.1], [0.55, 0.45], [0.7, 0.3]]))
    assert list(STRATEGIES[StrategyName.LOW_CONFIDENCE](pool, 3, 0).indices) == [1, 2, 0]


def test_a_pair_that_is_dear_to_confuse_comes_before_one_that_is_confused_more_often() -> None:
    between = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    confusion = np.array([[90, 10, 0], [0, 90, 4], [0, 0, 96]])
    pool = Pool.of(2, classes=CLASSES, probabilities=between, confusion=confusion)
    assert STRATEGIES[StrategyName.CONFUSED_PAIRS](pool, 1, 0).indices.tolist() == [0]
    costs = np.ones((3, 3))
    costs[1, 2] = 5.0
    assert STRATEGIES[StrategyName.CONFUSED_PAIRS](replace(pool, costs=costs), 1, 0).indices.tolist() == [1]


def test_confused_pairs_are_named_from_the_confusion_matrix() -> None:
    pairs = named_pairs([[20, 5, 1], [6, 60, 8], [0, 2, 150]], CLASSES)
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("crack", "inactive"),
        ("inactive", "sound"),
        ("crack", "sound"),
    ]
    assert pairs[0].share == pytest.approx(11 / (26 + 74))
    assert named_pairs(np.zeros((3, 3)), CLASSES) == ()


def test_an_image_between_confused_classes_goes_before_one_between_others() -> None:
    pool = Pool.of(
        2,
        classes=CLASSES,
        probabilities=np.array([[0.49, 0.02, 0.49], [0.45, 0.53, 0.02]]),
        confusion=np.array([[20, 9, 0], [9, 60, 0], [0, 0, 150]]),
    )
    chosen = STRATEGIES[StrategyName.CONFUSED_PAIRS](pool, 2, 0)
    assert list(chosen.indices) == [1, 0]
    assert chosen.reasons[0] == "confused_pair:inactive|crack"


def test_rare_classes_are_found_and_share_the_batch() -> None:
    labels = np.array([2] * 50 + [0] + [UNLABELLED] * 30, dtype=np.int64)
    probabilities = np.tile([0.05, 0.05, 0.9], (81, 1))
    probabilities[51:56] = [0.8, 0.1, 0.1]
    probabilities[56:61] = [0.1, 0.8, 0.1]
    pool = Pool.of(81, classes=CLASSES, labels=labels, probabilities=probabilities)
    chosen = STRATEGIES[StrategyName.RARE_CLASSES](pool, 6, 0)
    top = probabilities[chosen.indices].argmax(axis=1)
    assert set(top) == {0, 1}
    assert chosen.indices[0] in range(56, 61)  # of class 1 there is no label at all


def test_novelty_finds_the_strange_ones_and_not_one_strange_thing_ten_times() -> None:
    chance = np.random.default_rng(0)
    axes = 9 * np.eye(8)
    usual = chance.normal(0, 1, (200, 8)) + axes[0]
    strange = chance.normal(0, 0.05, (20, 8)) + axes[1]
    other = chance.normal(0, 0.05, (5, 8)) + axes[2]
    labels = np.full(225, UNLABELLED, dtype=np.int64)
    labels[:100] = 0
    pool = Pool.of(
        225, classes=("a", "b"), labels=labels, embeddings=np.vstack([usual, strange, other]).astype(np.float32)
    )
    first = STRATEGIES[StrategyName.NOVELTY](pool, 2, 0).indices
    assert {row in range(200, 220) for row in first} == {True, False}
    assert all(row >= 200 for row in first)


def test_distance_to_labelled_is_cosine_and_bounded() -> None:
    place = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    assert np.allclose(distance_to_labelled(place, place[:1], neighbours=1), [0, 1, 2])
    assert np.allclose(distance_to_labelled(place, place[:0]), 2)


def test_unit_vectors_have_length_one_and_keep_the_unknown_unknown() -> None:
    vectors = unit_vectors(np.array([[5, 1], [5, 3], [np.nan, np.nan]], dtype=np.float32))
    assert np.allclose(np.linalg.norm(vectors[:2], axis=1), 1)
    assert np.isnan(vectors[2]).all()


def test_the_nearest_labelled_images_of_a_class_come_nearest_first() -> None:
    labelled = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]], dtype=np.float32)
    labels = np.array([0, 0, 1, 0])
    near = nearest_of_class(np.array([1, 0], dtype=np.float32), labelled, labels, 0, 2)
    assert list(near) == [0, 1]
    assert len(nearest_of_class(np.array([1, 0], dtype=np.float32), labelled, labels, 7, 2)) == 0


def test_the_cold_start_takes_one_typical_image_of_each_cluster() -> None:
    chance = np.random.default_rng(1)
    centres = chance.normal(0, 10, (5, 12))
    sizes = (90, 5, 40, 20, 60)
    embeddings = np.vstack([centre + chance.normal(0, 1, (n, 12)) for centre, n in zip(centres, sizes, strict=True)])
    cluster = np.repeat(np.arange(5), sizes)
    pool = Pool.of(len(embeddings), embeddings=embeddings.astype(np.float32))
    chosen = STRATEGIES[StrategyName.COLD_START](pool, 5, 0).indices
    assert sorted(cluster[chosen]) == [0, 1, 2, 3, 4]
    away = np.linalg.norm(embeddings - centres[cluster], axis=1)
    assert away[chosen].mean() < away.mean()


def test_planted_label_errors_are_suspected_first() -> None:
    chance = np.random.default_rng(2)
    truth = chance.choice(3, 600, p=[0.1, 0.3, 0.6])
    sharp = chance.normal(0, 1, (600, 3)) + 4 * np.eye(3)[truth]
    probabilities = np.exp(sharp) / np.exp(sharp).sum(axis=1, keepdims=True)
    labels = truth.astype(np.int64)
    planted = chance.choice(600, 30, replace=False)
    labels[planted] = (labels[planted] + 1 + chance.integers(2, size=30)) % 3
    pool = Pool.of(600, classes=CLASSES, labels=labels, probabilities=probabilities)
    found = STRATEGIES[StrategyName.SUSPECT_LABELS](pool, 30, 0).indices
    assert len(np.intersect1d(found, planted)) >= 25


def test_a_timid_class_is_judged_by_its_own_measure() -> None:
    probabilities = np.array([[0.55, 0.45], [0.6, 0.4], [0.05, 0.95], [0.5, 0.5]])
    doubt = label_doubt(probabilities, np.array([0, 0, 1, UNLABELLED]))
    assert np.isnan(doubt).all()
    assert np.isfinite(label_doubt(probabilities, np.array([0, 1, 1, 0]))[1])


def test_the_default_mix_asks_for_a_little_of_everything_from_its_beginning() -> None:
    pool = make_pool(1000, unknown=0.0, grouped=False)
    chosen = STRATEGIES[StrategyName.MIX](pool, 100, 0)
    kinds = {reason.partition(":")[0] for reason in chosen.reasons}
    assert kinds >= {"confused_pair", "suspect_label", "novelty", "conflict"}
    assert {reason.partition(":")[0] for reason in chosen.reasons[:20]} == kinds
    assert sum(item.share for item in MIX) == pytest.approx(1)


def test_without_a_model_the_mix_is_a_cold_start() -> None:
    pool = replace(make_pool(), probabilities=np.full((120, 3), np.nan))
    assert set(STRATEGIES[StrategyName.MIX](pool, 10, 0).reasons) <= {"cold_start", "conflict"}


def test_another_seed_draws_another_random_sample() -> None:
    pool = make_pool(400)
    first, second = (set(STRATEGIES[StrategyName.RANDOM](pool, 50, seed).indices) for seed in (0, 1))
    assert first != second


def test_the_audit_has_its_share_and_at_least_one_task() -> None:
    assert [audit_size(budget, 0.1) for budget in (0, 3, 5, 20, 200)] == [0, 0, 1, 2, 20]
    assert audit_size(50, 0) == 0
    assert audit_size(50, 1) == 50


def test_a_mistyped_strategy_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput, match=re.escape("Did you mean 'novelty'?")):
        parse_strategy("novlety")


def test_selection_needs_no_torch() -> None:
    code = "import sys, domain_models.selection.strategies; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_large_pool_is_quick() -> None:
    import time

    chance = np.random.default_rng(0)
    n = 5000
    pool = Pool.of(
        n,
        classes=CLASSES,
        labels=np.where(np.arange(n) < 1000, 0, UNLABELLED).astype(np.int64),
        probabilities=chance.dirichlet(np.ones(3), n),
        embeddings=chance.normal(size=(n, 128)).astype(np.float32),
    )
    began = time.monotonic()
    for strategy in STRATEGIES.values():
        strategy(pool, 100, 0)
    assert time.monotonic() - began < 20
