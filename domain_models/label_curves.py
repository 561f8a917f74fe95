"""How many labels a strategy needs: a labelled data set replayed as if it had none.

Each replay begins without a label, asks in growing batches, learns (a linear classifier on embeddings that stay as they
are, or a network that is retrained), and is judged on images that nobody is asked about. Curves of one seed share the
judges and the way of learning; only the choice of images differs, so the ratio of labels needed is due to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.isotonic import isotonic_regression

from domain_models.class_counts import ClassCounts, confusion_matrix, known_mean
from domain_models.intervals import CONFIDENCE, Interval
from domain_models.learners import Learner, ProbeLearner
from domain_models.linear_probe import macro_f1
from domain_models.metrics import frequency_thirds
from domain_models.selection.pool import Pool, Strategy
from domain_models.selection_arms import Judges, answered

FIRST_SHARE = 0.01
FIRST_PER_CLASS = 2
GROWTH = 1.25
"""Each batch adds a quarter of what is labelled already: a small fixed batch would refit thousands of times on large
sets, and how fast a curve rises is read on a logarithmic axis anyway."""

RETRAINING_GROWTH = 1.4
"""Where each batch costs a training; new images are then as large a share as an incremental training may learn."""


@dataclass(frozen=True)
class LabelCurve:
    """One replay.

    Attributes:
        labels: int64 [p], rising; images with a label at each point.
        macro_f1: float64 [p]; on the test images.
        thirds: per third of the classes (many, medium, few training images in all), mean recall float64 [p]; NaN where
            none of its classes is in the test.
    """

    labels: NDArray[np.int64]
    macro_f1: NDArray[np.float64]
    thirds: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class ShareOfRandom:
    """Labels needed as a share of what random choice needs: geometric mean over seeds, 95% interval (Student, on the
    logarithm of the ratio), and the labels themselves (float64 [seeds] each, aligned)."""

    mean: float
    interval: Interval
    labels: NDArray[np.float64]
    random: NDArray[np.float64]


def label_counts(images: int, classes: int, growth: float = GROWTH) -> NDArray[np.int64]:
    """int64 [p], rising by ``growth``: at how many labels a curve is looked at; the last is all of them."""
    first = min(images, max(FIRST_PER_CLASS * classes, round(FIRST_SHARE * images)))
    counts = [first]
    while counts[-1] < images:
        counts.append(min(images, max(counts[-1] + 1, round(counts[-1] * growth))))
    if len(counts) > 2 and counts[-1] < counts[-2] * (1 + (growth - 1) / 2):
        del counts[-2]  # a last batch of a few images says nothing of its own
    return np.asarray(counts, dtype=np.int64)


def replayed(
    pool: Pool,
    truth: NDArray[np.int64],
    judges: Judges,
    strategy: Strategy,
    counts: Sequence[int],
    seed: int,
    *,
    learner: Learner | None = None,
    known: LabelCurve | None = None,
) -> LabelCurve:
    """One curve.

    Args:
        pool: without labels; everything may be asked.
        truth: int64 [n]; the class each image of the pool truly has.
        judges: ``val`` chooses for the learner, and says which classes are confused (its labels are not counted: every
            strategy has them); ``test`` is the result.
        strategy: chooses the images.
        counts: of :func:`label_counts`.
        seed: of the strategy.
        learner: of this replay alone; ``None``: a linear classifier on the pool's embeddings.
        known: another curve of the same pool and judges by a learner that has no memory: its end, with every label, is
            the end of all of them.
    """
    k = len(pool.classes)
    thirds = frequency_thirds([int(count) for count in np.bincount(truth, minlength=k)])
    learner = learner or ProbeLearner(judges)
    state, learned = pool, None
    labels: list[int] = []
    scores: list[float] = []
    recalls: dict[str, list[float]] = {name: [] for name in thirds}
    for number, wanted in enumerate(counts):
        if known is not None and wanted == len(truth):
            labels.append(wanted)
            scores.append(float(known.macro_f1[-1]))
            for name in thirds:
                recalls[name].append(float(known.thirds[name][-1]))
            break
        have = int(state.labelled.sum())
        if learned is not None:
            state = replace(
                state,
                probabilities=learned.probabilities,
                confusion=confusion_matrix(judges.val_labels, learned.val_predicted, k),
                embeddings=state.embeddings if learned.embeddings is None else learned.embeddings,
            )
        chosen = strategy(state, wanted - have, seed * 1000 + number).indices
        state = answered(state, chosen, truth[chosen])
        learned = learner.learn(state)
        labels.append(int(state.labelled.sum()))
        scores.append(macro_f1(learned.test_predicted, judges.test_labels))
        recall = ClassCounts.of(confusion_matrix(judges.test_labels, learned.test_predicted, k)).recall
        for name, members in thirds.items():
            recalls[name].append(float(known_mean(recall[members])))
    return LabelCurve(
        np.asarray(labels, dtype=np.int64),
        np.asarray(scores),
        {name: np.asarray(values) for name, values in recalls.items()},
    )


def labels_to_reach(curve: LabelCurve, target: float) -> float:
    """How many labels it takes until macro-F1 stays at ``target``, read from the curve made monotone; NaN if never.

    Macro-F1 on a few hundred test images jumps from batch to batch; the first point above the target would be a lucky
    one. Isotonic regression has no lucky points. Between two points it is read on a logarithmic axis.
    """
    smooth = np.asarray(isotonic_regression(curve.macro_f1, increasing=True))
    reached = np.flatnonzero(smooth >= target - 1e-12)
    if not len(reached):
        return float("nan")
    at = int(reached[0])
    if at == 0:
        return float(curve.labels[0])
    share = (target - smooth[at - 1]) / max(smooth[at] - smooth[at - 1], 1e-12)
    before, after = np.log(curve.labels[at - 1 : at + 1])
    return float(np.exp(before + share * (after - before)))


def share_of_random(labels: NDArray[np.float64], random: NDArray[np.float64]) -> ShareOfRandom:
    """Labels needed, float64 [seeds] and aligned, against random choice; at least two seeds, none NaN."""
    logs = np.log(labels) - np.log(random)
    mean = float(logs.mean())
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1) * stats.sem(logs))
    return ShareOfRandom(
        float(np.exp(mean)), (float(np.exp(mean - reach)), float(np.exp(mean + reach))), labels, random
    )
