"""A model with attention really trains, and its report names the most confused pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domain_models.architecture import AttentionKind
from domain_models.attention_comparison import compare_attention
from domain_models.inference import ImageRows
from domain_models.preprocessing import Preprocessing
from domain_models.training_data import LabelledImages, TrainingData
from tests.domain_models.tiny_networks import SMALL
from tests.domain_models.tiny_networks import one_thread as one_thread

CONFIG = SMALL.model_copy(update={"preprocessing": Preprocessing(height=32, width=32, channels=1)})


def _images(count: int, seed: int) -> LabelledImages:
    """Dark, and two greys that the noise makes hard to tell apart."""
    chance = np.random.default_rng(seed)
    labels = (np.arange(count) % 3).astype(np.int64)
    level = np.array([40, 150, 152])[labels] + chance.normal(0, 12, count)
    pixels = np.clip(level[:, None, None, None] + chance.normal(0, 8, (count, 32, 32, 1)), 0, 255).astype(np.uint8)
    ids = tuple(f"{seed}-{number}" for number in range(count))
    return LabelledImages(ImageRows(pixels, np.arange(count)), labels, ids, ids, np.ones(count))


def test_attention_is_judged_on_the_most_confused_pair(tmp_path: Path) -> None:
    data = TrainingData(("dark", "grey", "lighter"), _images(48, 1), _images(36, 2))
    report = compare_attention(data, CONFIG, tmp_path, seeds=(0,))
    assert {report.actual, report.predicted} == {"grey", "lighter"}
    assert report.images_of_the_pair == 24
    assert report.gain == pytest.approx(report.recall_with - report.recall_without)
    assert report.gain_ci[0] <= report.gain <= report.gain_ci[1]
    assert report.attention is AttentionKind.CBAM
    assert "'grey'" in report.sentence


def test_a_model_without_mistakes_has_no_confused_pair(tmp_path: Path) -> None:
    images = _images(48, 1)
    labels = (images.labels > 0).astype(np.int64)
    easy = LabelledImages(images.images, labels, images.image_ids, images.groups, images.weights)
    longer = CONFIG.model_copy(update={"epochs": 12})
    with pytest.raises(ValueError, match="no mistake"):
        compare_attention(TrainingData(("dark", "light"), easy, easy), longer, tmp_path, seeds=(0,))
