"""What a strategy's answers are worth against the same number at random: replayed on embeddings that stay as they are.

Every arm starts from the same labelled images, asks a reader who errs now and then, refits a linear classifier after
each round, and is judged on images that nobody trains on. Only the choice of images differs between the arms, so
their difference under the same seed is due to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from domain_models.calibration import softmax
from domain_models.intervals import Interval
from domain_models.linear_probe import (
    LinearProbe,
    choose_linear_probe,
    macro_f1,
    validation_score,
)
from domain_models.selection.pool import UNLABELLED, Pool, Strategy
from domain_models.two_stage import adjust_logits

CONFIDENCE = 0.95
_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Judges:
    """Images that nobody trains on. ``val`` chooses the penalty and the strength of the rebalancing; ``test`` is the
    result.

    Embeddings float32 [n, d], labels int64 [n]: the classes they truly have.
    """

    val_embeddings: NDArray[np.float32]
    val_labels: NDArray[np.int64]
    test_embeddings: NDArray[np.float32]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class ArmSettings:
    """How an arm is run: rounds, answers per round, and the share of answers in which the reader errs."""

    rounds: int
    budget: int
    reader_error: float


@dataclass(frozen=True)
class PairedDifference:
    """Mean of the differences of two arms under the same seeds, and its 95% interval (Student, over seeds)."""

    mean: float
    interval: Interval


def run_arm(
    pool: Pool, truth: NDArray[np.int64], judges: Judges, strategy: Strategy, settings: ArmSettings, seed: int
) -> float:
    """Macro-F1 on the test images after all rounds of one arm.

    Args:
        pool: as the first round sees it; rows without a label are what can be asked, and labels on file that the
            strategy doubts.
        truth: int64 [n]; the class each image of the pool truly has.
        judges: who says how good the result is.
        strategy: chooses the images.
        settings: rounds, budget and the reader's errors.
        seed: of the strategy and of the reader.
    """
    chance = np.random.default_rng([seed, 1])
    state, probe = pool, None
    for number in range(settings.rounds):
        probe = fitted(state, judges, probe)
        state = replace(state, probabilities=seen_by(probe, state))
        chosen = strategy(state, settings.budget, seed * 1000 + number).indices
        state = answered(state, chosen, _answers(truth[chosen], len(pool.classes), settings.reader_error, chance))
    return score(state, judges)


def score(pool: Pool, judges: Judges) -> float:
    """Macro-F1 on the test images of a linear classifier on what the pool's labels say, rebalanced by validation."""
    return macro_f1(predicted_test(fitted(pool, judges), pool, judges), judges.test_labels)


def predicted_test(probe: LinearProbe, pool: Pool, judges: Judges) -> NDArray[np.int64]:
    """int64 [n_test]: what the classifier of :func:`fitted` says of the test images, rebalanced by validation."""
    labels = pool.labels[pool.labels != UNLABELLED]
    nothing = np.zeros((0, judges.val_embeddings.shape[1]), dtype=np.float32)
    candidates = adjust_logits(probe, nothing, labels, np.ones(len(labels)), _STRENGTHS)
    # By labels alone: here validation has more of them than the classifier learned from, and in other shares.
    scores = [validation_score(one.classifier.logits(judges.val_embeddings), judges.val_labels) for one in candidates]
    best = candidates[max(range(len(candidates)), key=lambda i: scores[i])]
    said: NDArray[np.int64] = best.classifier.logits(judges.test_embeddings).argmax(axis=1)
    return said


def answered(pool: Pool, chosen: NDArray[np.int64], labels: NDArray[np.int64]) -> Pool:
    """The pool once these rows (int64 [b]) have these labels (int64 [b]); they are asked no more."""
    new_labels, candidates = pool.labels.copy(), pool.candidates.copy()
    new_labels[chosen] = labels
    candidates[chosen] = False
    return replace(pool, labels=new_labels, candidates=candidates)


def paired_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> PairedDifference:
    """Mean and interval of ``one - other``; float64 [seeds] each, at least two, aligned by seed."""
    differences = np.asarray(one) - np.asarray(other)
    mean = float(differences.mean())
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1) * stats.sem(differences))
    return PairedDifference(mean, (mean - reach, mean + reach))


def compare_arms(
    pool: Pool,
    truth: NDArray[np.int64],
    judges: Judges,
    strategies: Mapping[str, Strategy],
    settings: ArmSettings,
    seeds: range,
) -> dict[str, NDArray[np.float64]]:
    """Macro-F1 float64 [seeds] of each arm, aligned by seed."""
    return {
        name: np.array([run_arm(pool, truth, judges, strategy, settings, seed) for seed in seeds])
        for name, strategy in strategies.items()
    }


def fitted(pool: Pool, judges: Judges, before: LinearProbe | None = None) -> LinearProbe:
    """A linear classifier on the embeddings of what has a label, with the penalty that validation log-loss prefers.

    More labels never need a stronger one than the classifier ``before``, of fewer labels, has.
    """
    known = pool.labelled & pool.embedded
    labels = pool.labels[known]
    return choose_linear_probe(
        pool.embeddings[known],
        labels,
        np.ones(len(labels)),
        len(pool.classes),
        judges.val_embeddings,
        judges.val_labels,
        strongest=np.inf if before is None else before.penalty,
        iterations=50,
    )


def seen_by(probe: LinearProbe, pool: Pool) -> NDArray[np.float64]:
    """float64 [n, k]: probabilities of what has no label; labelled images, which it has seen, keep theirs."""
    values = pool.probabilities.copy()
    asked = ~pool.labelled & pool.embedded
    values[asked] = softmax(probe.logits(pool.embeddings[asked]))
    return values


def _answers(truth: NDArray[np.int64], classes: int, error: float, chance: np.random.Generator) -> NDArray[np.int64]:
    wrong = chance.random(len(truth)) < error
    moved = (truth + chance.integers(1, classes, len(truth))) % classes
    return np.where(wrong, moved, truth).astype(np.int64)
