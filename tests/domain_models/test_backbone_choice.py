"""Is the untouched backbone better? Where decisions are weighed, by what they find; otherwise by log-loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain_models.backbone_choice import untouched_is_better
from domain_models.inference import ImageRows
from domain_models.training_data import LabelledImages

COUNTS = np.array([970, 970, 60])


def validation() -> LabelledImages:
    labels = np.repeat([0, 1, 2], COUNTS).astype(np.int64)
    ids = tuple(str(i) for i in range(len(labels)))
    return LabelledImages(
        ImageRows(np.zeros((1, 1, 1, 1), np.uint8), np.zeros(len(labels), np.int64)), labels, ids, ids, np.ones(2000)
    )


def logits(labels: NDArray[np.int64], between_frequent: float, of_rare: float) -> NDArray[np.float32]:
    """What Bayes' rule says where classes 0 and 1 lie so far apart, and class 2 so far from both."""
    chance = np.random.default_rng(0)
    centres = np.array([[between_frequent, 0.0], [-between_frequent, 0.0], [0.0, of_rare]])
    seen = centres[labels] + chance.normal(0, 1, (len(labels), 2))
    distance = ((seen[:, None] - centres[None]) ** 2).sum(axis=2)
    return (np.log(COUNTS / COUNTS.sum()) - distance / 2).astype(np.float32)


def test_a_better_log_loss_does_not_outweigh_the_rare_class() -> None:
    val = validation()
    blind, finds_the_rare = logits(val.labels, 1.8, 0.3), logits(val.labels, 1.4, 2.0)
    alone, by_loss = untouched_is_better(blind, finds_the_rare, val)
    weighed, by_figures = untouched_is_better(blind, finds_the_rare, val, COUNTS)
    assert alone, "the log-loss prefers what never sees the rare class"
    assert not weighed
    assert "fine-tuning is kept" in by_figures
    assert "Macro-F1 expected with weighed decisions" in by_figures
    assert "Calibrated log-loss" in by_loss
    swapped, _ = untouched_is_better(finds_the_rare, blind, val, COUNTS)
    assert swapped


def test_without_weighed_decisions_the_log_loss_decides() -> None:
    val = validation()
    worse, better = logits(val.labels, 1.0, 1.0), logits(val.labels, 2.0, 1.0)
    assert untouched_is_better(better, worse, val)[0]
    assert not untouched_is_better(worse, better, val)[0]
