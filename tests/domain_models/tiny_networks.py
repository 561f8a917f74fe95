"""A network small enough to train in a test, and images that it can tell apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from domain_models.inference import ImageRows
from domain_models.preprocessing import Preprocessing
from domain_models.training_config import TrainingConfig
from domain_models.training_data import LabelledImages

SMALL = TrainingConfig(
    backbone="test_resnet",
    weights="none",
    preprocessing=Preprocessing(height=32, width=32, channels=3),
    augment=False,
    probe=False,
    epochs=3,
    batch_size=8,
    dropout=0.0,
    learning_rate=2e-3,
    early_stopping=99,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another make tiny networks slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def striped(labels: NDArray[np.int64], seed: int, prefix: str) -> LabelledImages:
    """Class 0: horizontal stripes; 1: vertical; 2: noise alone; 3: both kinds of stripes."""
    images = np.random.default_rng(seed).integers(0, 90, (len(labels), 32, 32, 3))
    images[np.isin(labels, (0, 3)), ::4] += 120
    images[np.isin(labels, (1, 3)), :, ::4] += 120
    rows = ImageRows(np.clip(images, 0, 255).astype(np.uint8), np.arange(len(labels)))
    ids = tuple(f"{prefix}{i}" for i in range(len(labels)))
    return LabelledImages(rows, labels.astype(np.int64), ids, ids, np.ones(len(labels)))
