"""Labels are held against what images of other groups say, and wrong ones lead the list."""

from __future__ import annotations

import numpy as np
import pytest

from domain_models.label_audit import (
    kernel_features,
    mixture_weights,
    neighbour_votes,
    out_of_fold_probabilities,
)
from domain_models.selection.labels_in_doubt import label_doubt, label_suspicion


def test_votes_of_neighbours_by_hand() -> None:
    features = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]], dtype=np.float32)
    votes = neighbour_votes(features, np.array([0, 1, 1, 0]), ["a", "b", "c", "d"], 2)
    # the first has one neighbour of class 1 in its own place (cosine 1) and one of each class across (cosine 0)
    near, far = np.exp(8.0), 1.0
    assert votes[0] == pytest.approx([far / (near + 2 * far), (near + far) / (near + 2 * far)])
    assert votes.sum(axis=1) == pytest.approx(np.ones(4))


def test_images_of_the_same_group_have_no_vote() -> None:
    features = np.array([[1.0, 0.0], [1.0, 0.0], [0.9, 0.1]], dtype=np.float32)
    assert neighbour_votes(features, np.array([0, 1, 0]), ["lot", "lot", "other"], 2)[0] == pytest.approx([1.0, 0.0])
    alone = neighbour_votes(features, np.array([0, 1, 0]), ["lot", "lot", "lot"], 2)
    assert alone == pytest.approx(np.full((3, 2), 0.5))


def test_a_copy_in_the_same_group_cannot_vouch_for_a_label() -> None:
    """Ten photographs of one wrongly labelled part: each is judged by other parts only."""
    chance = np.random.default_rng(0)
    truth = np.arange(200) % 2
    features = (chance.normal(0, 1, (200, 8)) + 6 * truth[:, None]).astype(np.float32)
    features[:10] = features[0] + chance.normal(0, 1e-3, (10, 8)).astype(np.float32)
    labels = truth.astype(np.int64)
    labels[:10] = 1 - truth[0]
    groups = ["part"] * 10 + [f"p{i}" for i in range(190)]
    said = out_of_fold_probabilities(features, labels, groups, 2, seed=0)
    assert (said[:10].argmax(axis=1) == truth[0]).all()
    assert (np.argsort(-label_suspicion(said, labels))[:10] < 10).sum() >= 9


def test_right_labels_of_a_rare_class_do_not_lead_the_list() -> None:
    chance = np.random.default_rng(1)
    truth = np.concatenate([np.zeros(950), np.ones(50)]).astype(np.int64)
    features = (chance.normal(0, 1, (1000, 4)) + 1.2 * truth[:, None]).astype(np.float32)
    labels = truth.copy()
    planted = chance.choice(950, 30, replace=False)
    labels[planted] = 1
    said = out_of_fold_probabilities(features, labels, [str(i) for i in range(1000)], 2, seed=0)
    by_probability = np.argsort(said[np.arange(1000), labels])[:100]
    ours = np.argsort(-label_suspicion(said, labels))[:100]
    rare = np.flatnonzero(truth == 1)
    assert np.isin(rare, ours).sum() <= np.isin(rare, by_probability).sum()
    assert np.isin(planted, ours).sum() >= np.isin(planted, by_probability).sum() - 1


def test_what_cannot_be_judged_is_not_doubted() -> None:
    features = np.ones((30, 3), dtype=np.float32)
    features[3] = np.nan
    labels = np.arange(30) % 2
    said = out_of_fold_probabilities(features, labels, [str(i) for i in range(30)], 2, seed=0)
    assert np.isnan(said[3]).all()
    assert np.isfinite(said[[0, 1, 2]]).all()
    assert np.isnan(label_suspicion(said, labels)[3])
    assert np.isnan(label_doubt(said, labels)[3])
    few = out_of_fold_probabilities(features[:10], labels[:10], [str(i) for i in range(10)], 2, seed=0)
    assert np.isnan(few).all()
    one_class = out_of_fold_probabilities(features, np.zeros(30, dtype=np.int64), ["g"] * 30, 2, seed=0)
    assert np.isnan(one_class).all()


def test_the_better_judge_weighs_more_and_the_mixture_is_the_most_probable_one() -> None:
    chance = np.random.default_rng(3)
    labels = chance.integers(0, 3, 400)
    good, bad = (chance.dirichlet(np.ones(3), 400) + strength * np.eye(3)[labels] for strength in (1.0, 0.1))
    judges = np.stack([one / one.sum(axis=1, keepdims=True) for one in (bad, good)])
    weights = mixture_weights(judges, labels)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[1] > weights[0]
    grid = np.linspace(0, 1, 201)
    own = judges[:, np.arange(400), labels]
    likelihood = [np.log((1 - share) * own[0] + share * own[1]).sum() for share in grid]
    assert weights[1] == pytest.approx(grid[int(np.argmax(likelihood))], abs=0.02)
    assert mixture_weights(judges[:, :0], labels[:0]) == pytest.approx([0.5, 0.5])


def test_products_of_kernel_features_are_the_gaussian_kernel() -> None:
    chance = np.random.default_rng(4)
    features = chance.normal(0, 1, (50, 3)).astype(np.float32)
    centred = features - features.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred / 50)
    place = centred @ axes * variance**-0.25
    place /= np.sqrt((place**2).sum(axis=1).mean())
    squared = ((place[:, None] - place[None]) ** 2).sum(axis=2)
    found = kernel_features(features, 0)
    assert np.abs(found @ found.T - np.exp(-0.5 * squared)).max() < 0.1
    assert np.isfinite(kernel_features(np.ones((30, 3), dtype=np.float32), 0)).all()
