"""What a pretraining was worth: a linear classifier on the features before and after it, on the same images.

A linear probe is the usual measure of a representation; it moves nothing but the classifier, so what differs is the
backbone's doing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain_models.class_counts import ClassCounts, confusion_matrix, count_columns, counts_from_sums
from domain_models.intervals import bootstrap_weights, group_codes, group_sums, percentile_interval
from domain_models.linear_probe import choose_linear_probe
from domain_models.pretrained_weights import Gain
from domain_models.training_data import TrainingData

Features = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Float32 [n_train, d] and [n_val, d] of the training and the validation images."""


def measure_gain(before: Features, after: Features, data: TrainingData, *, seed: int = 0) -> Gain:
    """Fit a linear classifier to each kind of features of the training images, and compare them on validation.

    Validation also chooses the penalty of both, which favours neither.

    Args:
        before: by the weights that pretraining began with.
        after: by those that it ended with.
        data: gives labels and groups.
        seed: of the bootstrap.
    """
    classes = len(data.classes)
    said = [
        choose_linear_probe(train, data.train.labels, data.train.weights, classes, val, data.val.labels)
        .logits(val)
        .argmax(axis=1)
        for train, val in (before, after)
    ]
    return compared(data.val.labels, said[0], said[1], data.val.groups, classes, seed=seed)


def compared(
    truth: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    groups: Sequence[str],
    classes: int,
    *,
    seed: int,
) -> Gain:
    """The gain in macro-F1 of one list of predictions over another, int64 [n] each, on images of these groups."""
    codes = group_codes(groups, len(truth))
    sums = group_sums(np.hstack([count_columns(truth, one, classes) for one in (before, after)]), codes)
    drawn = []
    for weights in bootstrap_weights(len(sums), seed=seed):
        counts = (weights @ sums).astype(np.float64)
        old, new = (counts_from_sums(part, classes).macro_f1 for part in np.hsplit(counts, 2))
        drawn.append(new - old)
    first, second = (float(ClassCounts.of(confusion_matrix(truth, one, classes)).macro_f1) for one in (before, after))
    interval = percentile_interval(np.concatenate(drawn))
    assert interval is not None  # there is a validation image, and it has a class
    return Gain(
        before=first,
        after=second,
        difference=second - first,
        difference_ci=interval,
        images=len(truth),
        groups=len(sums),
    )
