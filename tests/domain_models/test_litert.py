"""LiteRT graphs compute what the network computes, say nothing on the terminal, and are computed by several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.errors import BadInput, Refused
from domain_models import litert_compute
from domain_models.architecture import Architecture, Mirror
from domain_models.backbones import build_network
from domain_models.bundled_weights import BUNDLED_PACKAGES
from domain_models.compute import Threads
from domain_models.export.kinds import LITERT_NAME, POSSIBLE, ExportFormat, Precision
from domain_models.export.litert_conversion import write_litert
from domain_models.inference import predict_logits
from domain_models.model_card import ModelCard
from domain_models.preprocessing import Preprocessing
from domain_models.runtimes import Computable, Runtime, open_computable

SPEC = Preprocessing(height=64, width=64, channels=1)
ARCHITECTURE = Architecture(backbone=next(iter(BUNDLED_PACKAGES)), classes=3, mirror=Mirror.LEFT_RIGHT)
CARD = ModelCard(architecture=ARCHITECTURE, classes=("a", "b", "c"), preprocessing=SPEC)
WITHIN = {Precision.FP32: 1e-5, Precision.FP16: 0.03, Precision.INT8: 0.3, Precision.INT8_DYNAMIC: 0.3}
SIZE_OF_FP32 = {Precision.FP16: 0.57, Precision.INT8: 0.31, Precision.INT8_DYNAMIC: 0.31}

needs_toolkit = pytest.mark.skipif(
    find_spec("litert_torch") is None, reason="deploy/litert-toolkit.txt is not installed"
)


def textures(count: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)


def random_network() -> torch.nn.Module:
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, "bundled").eval()
    torch.nn.init.normal_(network.classifier.weight, std=0.05)
    return network


@pytest.mark.slow
@needs_toolkit
@pytest.mark.parametrize("precision", POSSIBLE[ExportFormat.LITERT])
def test_a_graph_computes_the_networks_logits_alone_and_in_threads(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], precision: Precision
) -> None:
    network, graph = random_network(), tmp_path / LITERT_NAME
    write_litert(network, CARD, precision, textures(48, 1), graph)
    pixels = textures(24, 2)
    expected = predict_logits(network, pixels, SPEC)
    compute = open_computable(Computable(Runtime.LITERT, graph, precision, exported=True), CARD, Threads(2, 2))
    got = compute(pixels)
    assert np.sqrt(((got - expected) ** 2).mean()) / expected.std() < WITHIN[precision]
    with ThreadPoolExecutor(4) as pool:
        apart = list(pool.map(compute, pixels[:, None]))
    np.testing.assert_array_equal(np.concatenate(apart), got)
    assert compute(pixels[:0]).shape == (0, 3)
    assert graph.stat().st_size < SIZE_OF_FP32.get(precision, 1.1) * 4 * sum(p.numel() for p in network.parameters())
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.slow
@needs_toolkit
def test_what_the_toolkit_cannot_convert_is_refused_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be converted to LiteRT in int8") as error:
        write_litert(random_network(), CARD, Precision.INT8, textures(4, 1)[:, :32], tmp_path / LITERT_NAME)
    assert "The toolkit says: " in str(error.value)


def test_an_artefact_where_litert_is_missing_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_compute, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match="LiteRT is not installed here") as error:
        open_computable(Computable(Runtime.LITERT, tmp_path / LITERT_NAME, exported=True), CARD)
    assert "tailsight[litert]" in str(error.value)
