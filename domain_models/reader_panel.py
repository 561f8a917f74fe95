"""What several readers together say of an image, how sure that is, and how good each reader is (CROWDLAB).

Goh, Tkachenko and Mueller, Human-Centered AI workshop at NeurIPS 2022: the answers of the readers and the probabilities
of a classifier that never saw the image's label are averaged, each weighed by how often it agrees with the others
beyond always naming the most frequent class. Computed by the authors' library, cleanlab (Apache-2.0).

The classifier is first made as sure as the answers bear out, by one temperature: on simulated panels of two to four
answers an image, one that is too sure overrules readers who are right, and the consensus falls behind a majority vote.
Qualities order images and readers; they are no shares of right answers, and lower than these.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain_models.calibration import fit_temperature, softmax

UNANSWERED = -1
"""Value of a panel's answers where a reader said nothing of an image."""

REPLICATES = 30
"""Bootstrap replicates: enough for a standard error within a seventh."""

_TIE = 1e-6
_LEAST = 1e-12
_NORMAL_95 = 1.96

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class ReaderQuality:
    """One reader. ``quality`` and ``agreement`` are between 0 and 1.

    Attributes:
        answers: how many images of the panel they read.
        quality: how far their answers can be relied on (CROWDLAB).
        interval: of ``quality``, 95%, by the standard error of bootstrap replicates that draw images (Efron 1979).
            ``None`` where it was not asked for.
        agreement: share of their answers that are the consensus.
    """

    answers: int
    quality: float
    interval: tuple[float, float] | None
    agreement: float


@dataclass(frozen=True)
class PanelConsensus:
    """What a panel says; arrays are aligned with the images.

    Attributes:
        labels: int64 [n], the consensus.
        quality: float64 [n], how sure it is, between 0 and 1.
        agreement: float64 [n], share of the readers who said it.
        readers: one per column of the answers.
    """

    labels: Indices
    quality: Floats
    agreement: Floats
    readers: tuple[ReaderQuality, ...]


def consensus_of(
    answers: Indices, probabilities: Floats, *, intervals: bool = True, seed: int = 0, replicates: int = REPLICATES
) -> PanelConsensus:
    """Consensus of each image and quality of each reader.

    Args:
        answers: int64 [n, m], class index or ``UNANSWERED``; n images with at least two answers each, m readers with at
            least one each.
        probabilities: float64 [n, k] by models that never saw a label of the image; in place of a row with NaN stands
            how often each class is answered.
        intervals: whether readers get an interval.
        seed: of the bootstrap and of ties.
        replicates: of the bootstrap.

    Raises:
        ValueError: an image has fewer than two answers, or a reader none.
    """
    said = answers != UNANSWERED
    if not len(answers) or (said.sum(axis=1) < 2).any() or not said.any(axis=0).all():
        raise ValueError("every image of a panel has at least two answers, and every reader at least one")
    chance = np.random.default_rng(seed)
    values = _as_sure_as_answers(answers, _known(answers, probabilities))
    values = values + chance.random(values.shape) * _TIE  # equal ones would be told apart by a global random state
    values /= values.sum(axis=1, keepdims=True)
    labels, quality, agreement, readers = _crowdlab(answers, values)
    drawn = np.full((replicates if intervals else 0, len(readers)), np.nan)
    for replicate in drawn:
        rows = chance.integers(len(answers), size=len(answers))
        there = said[rows].any(axis=0)
        replicate[there] = _crowdlab(answers[rows][:, there], values[rows])[3]
    stats = []
    for column, number in enumerate(readers.tolist()):
        own = drawn[:, column][np.isfinite(drawn[:, column])]
        reach = _NORMAL_95 * float(own.std(ddof=1)) if len(own) > 1 else np.nan
        interval = (max(0.0, number - reach), min(1.0, number + reach)) if np.isfinite(reach) else None
        with_consensus = float((answers[said[:, column], column] == labels[said[:, column]]).mean())
        stats.append(ReaderQuality(int(said[:, column].sum()), float(number), interval, with_consensus))
    return PanelConsensus(labels, quality, agreement, tuple(stats))


def _known(answers: Indices, probabilities: Floats) -> Floats:
    counts = np.bincount(answers[answers != UNANSWERED], minlength=probabilities.shape[1]) + 1.0
    unknown = ~np.isfinite(probabilities).all(axis=1, keepdims=True)
    return np.where(unknown, counts / counts.sum(), probabilities)


def _as_sure_as_answers(answers: Indices, probabilities: Floats) -> Floats:
    logits = np.log(probabilities.clip(_LEAST))
    rows, columns = np.nonzero(answers != UNANSWERED)
    return softmax(logits, fit_temperature(logits[rows], answers[rows, columns]))


def _crowdlab(answers: Indices, probabilities: Floats) -> tuple[Indices, Floats, Floats, Floats]:
    """Consensus int64 [n], its quality and agreement float64 [n], and the readers' quality float64 [m]."""
    from cleanlab.multiannotator import get_label_quality_multiannotator

    given = np.where(answers == UNANSWERED, np.nan, answers.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # advice to programmers, such as about ties
        found = get_label_quality_multiannotator(given, probabilities, verbose=False, return_detailed_quality=False)
    images, readers = found["label_quality"], found["annotator_stats"].sort_index()
    return (
        images["consensus_label"].to_numpy(dtype=np.int64),
        images["consensus_quality_score"].to_numpy(dtype=np.float64),
        images["annotator_agreement"].to_numpy(dtype=np.float64),
        readers["annotator_quality"].to_numpy(dtype=np.float64),
    )
