"""Was the backbone better left alone? The untouched one with a linear classifier against the fine-tuned one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain_models.calibration import calibrated_nll
from domain_models.decision_weights import choose_decision_weights
from domain_models.training_data import LabelledImages


def untouched_is_better(
    probe: NDArray[np.float32],
    tuned: NDArray[np.float32],
    val: LabelledImages,
    class_counts: NDArray[np.int64] | None = None,
    *,
    seed: int = 0,
) -> tuple[bool, str]:
    """Whether the untouched backbone predicts validation better than the fine-tuned one, and a sentence about it.

    Where decisions are weighed for rare classes, the macro-F1 counts that each is expected to have with its best
    weights (:func:`~domain_models.decision_weights.choose_decision_weights`): a penalised linear classifier can have
    the better log-loss and still not tell the rare classes apart. Otherwise the calibrated log-loss counts: macro-F1
    would rest on the few images of the rarest class alone.

    Args:
        probe: logits float32 [n, k] of the linear classifier on the untouched backbone.
        tuned: logits float32 [n, k] of the fine-tuned network.
        val: the n validation images.
        class_counts: int64 [k], training images of each class; ``None``: decisions are not weighed.
        seed: of the folds of calibration.
    """
    if class_counts is None:
        before, after = calibrated_nll(probe, val.labels), calibrated_nll(tuned, val.labels)
        better, what = before < after, "Calibrated log-loss"
    else:
        before, after = (
            choose_decision_weights(logits, val.labels, class_counts, groups=val.groups, seed=seed).figures[0]
            for logits in (probe, tuned)
        )
        better, what = before > after, "Macro-F1 expected with weighed decisions"
    return better, (
        f"{what} on validation: {before:.3f} with the untouched backbone, {after:.3f} fine-tuned; "
        + ("the backbone stays untouched." if better else "fine-tuning is kept.")
    )
