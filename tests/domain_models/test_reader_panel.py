"""Several readers: together they know more than a majority vote says, and who errs more is told."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from domain_models.calibration import softmax
from domain_models.reader_panel import UNANSWERED, consensus_of

ERRORS = (0.05, 0.12, 0.2, 0.3, 0.45)
CLASSES = 4


def panel(
    images: int, seed: int, *, read: float = 0.7
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Readers who err as :data:`ERRORS` says, each of whom reads a share of the images; a model; and the truth."""
    chance = np.random.default_rng(seed)
    truth = chance.choice(CLASSES, images, p=[0.5, 0.25, 0.15, 0.1])
    answers = np.full((images, len(ERRORS)), UNANSWERED)
    for column, error in enumerate(ERRORS):
        wrong = (truth + 1 + chance.integers(CLASSES - 1, size=images)) % CLASSES
        said = np.where(chance.random(images) < error, wrong, truth)
        answers[:, column] = np.where(chance.random(images) < read, said, UNANSWERED)
    kept = (answers != UNANSWERED).sum(axis=1) >= 2
    logits = chance.normal(0, 1, (images, CLASSES)) + 2.0 * np.eye(CLASSES)[truth]
    return answers[kept], softmax(logits, 1.0)[kept], truth[kept]


def majority(answers: NDArray[np.int64], ties: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class that most readers said; the largest of ``ties`` where several were said as often."""
    votes = np.stack([(answers == number).sum(axis=1) for number in range(CLASSES)], axis=1)
    return (votes + 1e-6 * ties).argmax(axis=1)


def test_the_consensus_beats_a_majority_vote_and_the_readers_come_out_in_their_order() -> None:
    by_lot, by_the_model, orders = [], [], []
    for seed in range(4):
        answers, probabilities, truth = panel(900, seed, read=0.4)  # mostly two or three answers, as in production
        found = consensus_of(answers, probabilities, intervals=False)
        right = (found.labels == truth).mean()
        lots = np.random.default_rng(seed).random(probabilities.shape)
        by_lot.append(right - (majority(answers, lots) == truth).mean())
        by_the_model.append(right - (majority(answers, probabilities) == truth).mean())
        orders.append(np.argsort([-reader.quality for reader in found.readers]).tolist())
    assert min(by_lot) > 0.05, by_lot
    assert np.mean(by_the_model) > 0, "even where the model decides what votes leave open"
    assert orders == [[0, 1, 2, 3, 4]] * 4


def test_quality_says_how_often_the_consensus_is_right() -> None:
    answers, probabilities, truth = panel(1500, 5)
    found = consensus_of(answers, probabilities, intervals=False)
    right = found.labels == truth
    sure = found.quality > np.quantile(found.quality, 0.5)
    assert right[sure].mean() > right[~sure].mean() + 0.05
    assert ((found.quality >= 0) & (found.quality <= 1)).all()
    shares = [(answers[row] == label).sum() / (answers[row] >= 0).sum() for row, label in enumerate(found.labels)]
    np.testing.assert_allclose(found.agreement, shares)


def test_an_interval_holds_its_figure_and_narrows_with_more_images() -> None:
    widths = []
    for images in (60, 600):
        answers, probabilities, _ = panel(images, 1)
        readers = consensus_of(answers, probabilities, replicates=15).readers
        for reader in readers:
            assert reader.interval is not None
            assert reader.interval[0] <= reader.quality <= reader.interval[1]
        widths.append(np.mean([reader.interval[1] - reader.interval[0] for reader in readers if reader.interval]))
    assert widths[1] < 0.6 * widths[0]


def test_nothing_depends_on_the_order_of_readers_or_on_chance_elsewhere() -> None:
    answers, probabilities, _ = panel(200, 2)
    first = consensus_of(answers, probabilities, intervals=False)
    np.random.seed(3)  # noqa: NPY002
    turned = consensus_of(answers[:, ::-1], probabilities, intervals=False)
    np.testing.assert_array_equal(first.labels, turned.labels)
    np.testing.assert_allclose(
        [reader.quality for reader in first.readers], [reader.quality for reader in turned.readers[::-1]]
    )


def test_readers_who_agree_are_believed_whatever_the_model_knows() -> None:
    answers = np.array([[0, 0], [1, 1], [0, 0], [1, 1]] * 5)
    known = np.where(answers[:, :1] == np.arange(2), 0.9, 0.1)
    unknown = np.full((20, 2), np.nan)
    for probabilities in (known, unknown):
        found = consensus_of(answers, probabilities, intervals=False)
        np.testing.assert_array_equal(found.labels, answers[:, 0])
        np.testing.assert_allclose(found.agreement, 1.0)
        assert [reader.agreement for reader in found.readers] == [1.0, 1.0]
        assert [reader.answers for reader in found.readers] == [20, 20]


def test_a_panel_of_single_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two answers"):
        consensus_of(np.array([[0, UNANSWERED], [1, 1]]), np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="every reader at least one"):
        consensus_of(np.array([[0, 0, UNANSWERED]]), np.full((1, 2), 0.5))
