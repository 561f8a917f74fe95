"""Scoring in torch: the network's own numbers, whatever way the pixels take, and compiled the same."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.errors import BadInput
from domain_models.architecture import Architecture
from domain_models.backbones import build_network
from domain_models.compute import Threads
from domain_models.export.kinds import Precision
from domain_models.inference import predict_logits
from domain_models.model_card import ModelCard
from domain_models.model_package import load_package, save_package
from domain_models.preprocessing import Preprocessing, to_tensor
from domain_models.torch_compute import Normaliser, open_torch

SPEC = Preprocessing(height=32, width=32, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
ARCHITECTURE = Architecture(backbone="test_resnet", classes=3)
CARD = ModelCard(architecture=ARCHITECTURE, classes=("a", "b", "c"), preprocessing=SPEC)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, "none")
    torch.nn.init.normal_(network.classifier.weight, std=0.05)
    return save_package(tmp_path_factory.mktemp("package"), network, CARD, onnx=False)


def pixels(count: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_device_normalises_as_the_processor_does(channels: int) -> None:
    spec = SPEC.model_copy(update={"channels": channels})
    batch = np.ascontiguousarray(pixels(4)[..., :channels])
    got = Normaliser(spec, torch.device("cpu"))(batch)
    expected = to_tensor(batch, spec).expand(-1, 3, -1, -1)
    assert got.shape == (4, 3, 32, 32)
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, expected.contiguous(), rtol=0, atol=1e-5)


def test_thirty_two_bits_are_the_networks_own_and_half_precision_is_near(package: Path) -> None:
    expected = predict_logits(load_package(package)[0], pixels(8), SPEC)
    exact = open_torch(package, CARD, Precision.FP32, None)(pixels(8))
    half = open_torch(package, CARD, Precision.BF16, None)(pixels(8))
    np.testing.assert_allclose(exact, expected, atol=1e-4)
    assert half.dtype == np.float32
    assert 1e-6 < np.abs(half - expected).max() < 0.1 * np.abs(expected).max() + 0.05


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # of torch, about torch
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.slow
def test_a_compiled_network_computes_the_same_for_threads_and_any_batch_size(
    package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain = open_torch(package, CARD, Precision.FP32, Threads(2, 2))
    monkeypatch.setenv("TAILSIGHT_TORCH_COMPILE", "1")
    compiled = open_torch(package, CARD, Precision.FP32, Threads(2, 2))
    images = pixels(8)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(compiled, [images, images[:3], images, images[:1]]))
    for got in found:
        np.testing.assert_allclose(got, plain(images)[: len(got)], atol=1e-4)
    assert list(tmp_path.iterdir()), "something was compiled"


def test_without_a_compiler_the_sentence_says_how_to_go_without(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(network: object) -> object:
        def compute(_: torch.Tensor) -> torch.Tensor:
            raise torch._dynamo.exc.InternalTorchDynamoError("no compiler found")

        return compute

    monkeypatch.setenv("TAILSIGHT_TORCH_COMPILE", "1")
    monkeypatch.setattr(torch, "compile", refuse)
    compute = open_torch(package, CARD, Precision.FP32, None)
    with pytest.raises(BadInput, match="torch cannot compile") as told:
        compute(pixels(1))
    assert "unset TAILSIGHT_TORCH_COMPILE" in str(told.value)
