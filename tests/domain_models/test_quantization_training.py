"""Training in 8 bits: rounding moves a network's logits, and training brings them back."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from domain_models.architecture import Architecture
from domain_models.backbones import build_network
from domain_models.compute import Threads
from domain_models.export.kinds import OPENVINO_NAME, Precision
from domain_models.export.quantization_training import QuantizationTraining, write_trained_int8
from domain_models.inference import ImageRows, predict_logits
from domain_models.model_card import ModelCard
from domain_models.preprocessing import Preprocessing
from domain_models.runtimes import Computable, Runtime, open_computable
from domain_models.training_data import LabelledImages

SPEC = Preprocessing(height=32, width=32, channels=3)
ARCHITECTURE = Architecture(backbone="test_resnet", classes=3)
CARD = ModelCard(architecture=ARCHITECTURE, classes=("a", "b", "c"), preprocessing=SPEC)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="training in 8 bits needs a C++ compiler"),
    pytest.mark.filterwarnings("ignore"),  # the toolkit's own, about torch
]


def textures(count: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)


def log_probabilities(logits: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return torch.from_numpy(logits).log_softmax(dim=1).numpy()


def test_training_brings_the_logits_nearer_and_leaves_the_network_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, "none").eval()
    torch.nn.init.normal_(network.classifier.weight, std=0.2)
    count = 128
    names = tuple(f"image {number}" for number in range(count))
    pictures = textures(count, 1)
    pictures[:4] = 122 + pictures[:4] // 20  # ranges measured on these cut off what the others show
    images = LabelledImages(
        ImageRows(pictures, np.arange(count)), np.zeros(count, dtype=np.int64), names, names, np.ones(count)
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pixels = textures(64, 2)
    expected = log_probabilities(predict_logits(network, pixels, SPEC))
    errors = {}
    for epochs in (0, 8):
        folder = tmp_path / str(epochs)
        folder.mkdir()
        training = QuantizationTraining(epochs=epochs, learning_rate=1e-3, batch_size=16)
        write_trained_int8(network, CARD, images, np.arange(4), training, folder)
        item = Computable(Runtime.OPENVINO, folder / OPENVINO_NAME, Precision.INT8, exported=True)
        got = log_probabilities(open_computable(item, CARD, Threads(1, 1))(pixels))
        errors[epochs] = float(np.sqrt(((got - expected) ** 2).mean()))
    assert errors[8] < 0.7 * errors[0], errors
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
