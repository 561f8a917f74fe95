"""Which images a small model may answer alone: the most lenient threshold that keeps macro-F1 within a stated loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain_models.cascade import ShownByValidation, answers_early
from domain_models.class_counts import ClassCounts, confusion_matrix, count_columns, counts_from_sums
from domain_models.intervals import REPLICATES, bootstrap_weights, group_codes, group_sums, percentile_interval

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

CONFIDENCE = 0.8


@dataclass(frozen=True)
class TwoModels:
    """What two models say of the same labelled images.

    Attributes:
        lead: float64 [n], how sure the small model is of what it calls an image, from 0 to 1.
        first: int64 [n], what the small model calls them.
        large: int64 [n], what the large model calls them.
        labels: int64 [n].
        classes: how many there are.
        groups: one value per image, or ``None``: a bootstrap draws these.
    """

    lead: Floats
    first: Indices
    large: Indices
    labels: Indices
    classes: int
    groups: Sequence[object] | ArrayLike | None = None

    def decided(self, threshold: float) -> Indices:
        """What the cascade calls the images at a threshold, int64 [n]."""
        return np.where(answers_early(self.lead, threshold), self.first, self.large)


def choose_threshold(
    models: TwoModels, max_loss: float, *, confidence: float = CONFIDENCE, seed: int = 0, replicates: int = REPLICATES
) -> float | None:
    """The most lenient threshold that keeps the loss, as do all that are stricter; ``None`` where none does.

    A threshold keeps the loss where macro-F1 of the large model minus that of the cascade is at most ``max_loss`` on
    these images, and below it in ``confidence`` of the bootstrap's replicates. Thresholds are tried from the strictest
    on and the first that fails ends the search, so that none is taken because chance let it pass among many.
    The threshold lies half way to the next image, where rounding changes nothing.

    Args:
        models: what both say.
        max_loss: of macro-F1, from 0 to 1.
        confidence: share of replicates.
        seed: of the bootstrap.
        replicates: of the bootstrap.
    """
    order = np.argsort(-models.lead, kind="stable")
    lead = models.lead[order]
    differs = np.flatnonzero((models.first != models.large)[order])
    keeps = _keeps(models, order[differs], max_loss, confidence, seed, replicates)
    ends = np.append(np.diff(lead[differs]) != 0, True)  # images of one lead are answered together
    failed = np.flatnonzero(ends & ~keeps)
    if not len(failed):
        return 0.0 if len(lead) else None
    stopped = lead[differs[failed[0]]]
    surer = lead[lead > stopped]
    if not len(surer) or stopped >= 1.0:
        return None
    threshold = float((stopped + surer[-1]) / 2)
    return threshold if stopped < threshold < 1.0 else None


def shown_by_validation(
    models: TwoModels,
    threshold: float,
    max_loss: float,
    *,
    alone: Indices | None = None,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> ShownByValidation:
    """What the cascade does at a threshold on the images that it was chosen on.

    Args:
        models: what both say.
        threshold: of the small model's lead.
        max_loss: what was asked for.
        alone: int64 [n], what the small model calls the images when it decides by its own costs; ``None``: the same.
        confidence: of the bound of the loss.
        seed: of the bootstrap.
        replicates: of the bootstrap.
    """
    decided = models.decided(threshold)
    codes = group_codes(models.groups, len(models.labels))
    k, labels = models.classes, models.labels
    columns = np.concatenate([count_columns(labels, one, k) for one in (models.large, decided)], axis=1)
    sums = group_sums(columns, codes)
    drawn = np.concatenate(
        [weights @ sums for weights in bootstrap_weights(len(sums), replicates=replicates, seed=seed)]
    ).astype(np.float64)
    large, own = (counts_from_sums(half, k).macro_f1 for half in (drawn[:, : 3 * k], drawn[:, 3 * k :]))
    first, best, found = (
        float(ClassCounts.of(confusion_matrix(labels, one, k)).macro_f1)
        for one in (models.first if alone is None else alone, models.large, decided)
    )
    return ShownByValidation(
        n=len(labels),
        max_loss=max_loss,
        loss=best - found,
        loss_bound=float(np.quantile(large - own, confidence)),
        confidence=confidence,
        share_first=float(answers_early(models.lead, threshold).mean()),
        agreement=float((decided == models.large).mean()),
        macro_f1_first=first,
        macro_f1_large=best,
        macro_f1=found,
        macro_f1_ci=percentile_interval(own),
    )


def _keeps(
    models: TwoModels, rows: Indices, max_loss: float, confidence: float, seed: int, replicates: int
) -> NDArray[np.bool_]:
    """bool [m]: whether the loss is kept once the small model answers the first 1, 2, ... m of these images.

    They are the images on which the models differ, the surest first; the others change nothing.
    """
    codes = group_codes(models.groups, len(models.labels))
    k, count = models.classes, int(codes.max(initial=-1)) + 1
    keeps = np.zeros(len(rows), dtype=np.bool_)
    columns = count_columns(models.labels, models.large, k)
    weights = np.concatenate(
        [np.ones((1, count), dtype=np.float32), *bootstrap_weights(count, replicates=replicates, seed=seed)]
    )
    sums = (weights @ group_sums(columns, codes)).astype(np.float64)
    before = counts_from_sums(sums, k).macro_f1
    for place, row in enumerate(rows):
        drawn = weights[:, codes[row]].astype(np.float64)
        label, first, large = models.labels[row], models.first[row], models.large[row]
        sums[:, label] += drawn * (int(first == label) - int(large == label))
        sums[:, 2 * k + first] += drawn
        sums[:, 2 * k + large] -= drawn
        loss = before - counts_from_sums(sums, k).macro_f1
        keeps[place] = loss[0] <= max_loss and np.quantile(loss[1:], confidence) <= max_loss
    return keeps
