"""Every artefact that can be written computes what the network computes, as far as its precision allows."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from data_contracts.errors import BadInput
from domain_models.architecture import Architecture
from domain_models.backbones import build_network
from domain_models.bundled_weights import BUNDLED_PACKAGES
from domain_models.compute import Threads
from domain_models.export import converters, kinds
from domain_models.export.converters import CONVERTERS, Source
from domain_models.export.kinds import GRAPH_FILE, OPENVINO_NAME, ExportFormat, Precision, check_kind
from domain_models.graph import write_graph
from domain_models.graph_names import GRAPH_INPUT, GRAPH_OUTPUT, NORMALISED_INPUT
from domain_models.inference import predict_logits
from domain_models.model_card import ModelCard
from domain_models.model_package import save_package
from domain_models.openvino_toolkit import load_openvino
from domain_models.preprocessing import Preprocessing, to_tensor
from domain_models.runtimes import Computable, Runtime, open_computable

SPEC = Preprocessing(height=64, width=64, channels=1)
ARCHITECTURE = Architecture(backbone=next(iter(BUNDLED_PACKAGES)), classes=3)
CARD = ModelCard(architecture=ARCHITECTURE, classes=("a", "b", "c"), preprocessing=SPEC)


def textures(count: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, "bundled").eval()
    torch.nn.init.normal_(network.classifier.weight, std=0.05)
    path = tmp_path_factory.mktemp("graph") / "fp32.onnx"
    write_graph(path, network, SPEC)
    return network, path


INSTALLED = sorted(pair for pair in CONVERTERS if pair[0] is not ExportFormat.LITERT)
"""LiteRT's toolkit is no part of the installation: tests/domain_models/test_litert.py."""

# root mean square difference of logits, as a share of their spread
WITHIN = {Precision.FP32: 1e-5, Precision.FP16: 0.03, Precision.BF16: 0.25, Precision.INT8: 0.25}
SMALLER = {Precision.FP16: 0.57, Precision.INT8: 0.31, Precision.INT8_DYNAMIC: 0.31}


def runtime_of_8_bits_that_does_not_follow(kind: ExportFormat, precision: Precision) -> bool:
    """ONNX Runtime loses this network in 8 bits; the gate says so, see tests/pipelines/test_export.py."""
    return kind is ExportFormat.ONNX and precision in (Precision.INT8, Precision.INT8_DYNAMIC)


@pytest.mark.parametrize(("kind", "precision"), INSTALLED, ids=lambda value: str(value))
def test_an_artefact_takes_stored_pixels_and_gives_the_networks_logits(
    graph: tuple[torch.nn.Module, Path], tmp_path: Path, kind: ExportFormat, precision: Precision
) -> None:
    network, path = graph
    CONVERTERS[kind, precision].write(Source(network, CARD, path, textures(48, 1)), tmp_path)
    pixels = textures(24, 2)
    expected = predict_logits(network, pixels, SPEC)
    item = Computable(Runtime(kind.value), tmp_path / GRAPH_FILE[kind], precision, exported=True)
    got = open_computable(item, CARD, Threads(2, 2))(pixels)
    error = np.sqrt(((got - expected) ** 2).mean()) / expected.std()
    if runtime_of_8_bits_that_does_not_follow(kind, precision):
        assert np.isfinite(got).all()
    else:
        assert error < WITHIN[precision]
    if precision in SMALLER and kind is not ExportFormat.TORCH:
        size = sum(file.stat().st_size for file in tmp_path.iterdir())
        assert size < SMALLER[precision] * path.stat().st_size


def test_bf16_weights_are_those_that_torch_rounds_to(graph: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    CONVERTERS[ExportFormat.ONNX, Precision.BF16].write(Source(graph[0], CARD, graph[1], textures(1, 0)), tmp_path)
    stored = {tensor.name: tensor for tensor in onnx.load(str(tmp_path / "model.onnx")).graph.initializer}
    before = {tensor.name: tensor for tensor in onnx.load(str(graph[1])).graph.initializer}
    rounded = [name for name in stored if name.endswith(".bf16")]
    assert len(rounded) > 20
    for name in rounded:
        values = torch.from_numpy(onnx.numpy_helper.to_array(before[name.removesuffix(".bf16")]).copy())
        expected = values.to(torch.bfloat16).view(torch.int16).numpy().ravel()
        np.testing.assert_array_equal(np.frombuffer(stored[name].raw_data, dtype=np.int16), expected)


@pytest.mark.slow
def test_quantizers_say_nothing_on_the_terminal(
    graph: tuple[torch.nn.Module, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    CONVERTERS[ExportFormat.OPENVINO, Precision.INT8].write(Source(graph[0], CARD, graph[1], textures(8, 1)), tmp_path)
    assert capfd.readouterr().out == ""


def test_neither_scoring_nor_quantizing_tells_anybody(graph: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    """A home without any file about consent, and a socket that may not be opened."""
    np.save(tmp_path / "images.npy", textures(8, 1))
    (tmp_path / "artefact").mkdir()
    (tmp_path / "home").mkdir()
    program = f"""
import socket, sys
import numpy as np
def refuse(*arguments, **more):
    print("a connection was tried", arguments, file=sys.stderr)
    raise OSError("no connection")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from pathlib import Path
from domain_models.export.converters import CONVERTERS, Source
from domain_models.export.kinds import Precision
from domain_models.runtimes import Computable, Runtime, open_computable
open_computable(Computable(Runtime.OPENVINO, Path({str(graph[1])!r})), None)
source = Source(None, None, Path({str(graph[1])!r}), np.load({str(tmp_path / "images.npy")!r}))
for (kind, precision), converter in CONVERTERS.items():
    if (kind, precision) in {{("openvino", "int8"), ("openvino", "fp16")}}:
        converter.write(source, Path({str(tmp_path / "artefact")!r}))
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0, run.stderr
    assert "a connection was tried" not in run.stderr
    assert run.stdout == ""
    assert (tmp_path / "artefact" / "model.xml").is_file()
    assert not list((tmp_path / "home").rglob("*")), "nothing about consent, and no identity, in the user's home"


def test_threads_may_ask_a_model_that_nobody_has_asked_before(graph: tuple[torch.nn.Module, Path]) -> None:
    """The bindings' first call deadlocked when two threads made it together, about once in six starts."""
    program = f"""
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from domain_models.compute import Threads
from domain_models.runtimes import Computable, Runtime, open_computable
compute = open_computable(Computable(Runtime.OPENVINO, Path({str(graph[1])!r})), None, Threads(4, 4))
together = threading.Barrier(4)
def ask(number):
    together.wait()
    return compute(np.zeros((1, 64, 64, 1), np.uint8)).shape
with ThreadPoolExecutor(4) as pool:
    assert list(pool.map(ask, range(4))) == [(1, 3)] * 4
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    starts = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(6)]
    try:
        assert [start.wait(timeout=60) for start in starts] == [0] * 6
    finally:
        for start in starts:
            start.kill()
            start.wait()


def test_a_package_from_before_whose_graph_wants_normalised_images_is_still_computed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, "bundled").eval()
    package = save_package(tmp_path / "package", network, CARD, onnx=False)
    names = {"input_names": [NORMALISED_INPUT], "output_names": ["logits"], "dynamo": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecation
        torch.onnx.export(
            network.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            (torch.zeros(2, 3, 64, 64),),
            str(package / "model.onnx"),
            dynamic_axes={NORMALISED_INPUT: {0: "n"}, "logits": {0: "n"}},
            **names,
        )
    pixels = textures(5, 3)
    expected = predict_logits(network, pixels, SPEC)
    for runtime in (Runtime.ONNX, Runtime.OPENVINO):
        got = open_computable(Computable(runtime, package / "model.onnx"), CARD)(pixels)
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_the_graph_normalises_as_training_does(graph: tuple[torch.nn.Module, Path]) -> None:
    network, path = graph
    pixels = textures(3, 4)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = network(to_tensor(pixels, SPEC)).numpy()
    np.testing.assert_allclose(session.run(None, {GRAPH_INPUT: pixels})[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "precision", "said"),
    [
        ("onnx", "fp8", "There is no precision 'fp8'"),
        ("openvino", "int8-dynamic", "openvino has no int8-dynamic"),
        ("tflite", "fp32", "There is no format 'tflite'"),
        ("tensorrt", "fp16", "tensorrt cannot be exported here"),
        ("coreml", "fp16", "coreml cannot be exported here"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_words(kind: str, precision: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        check_kind(kind, precision)


def test_litert_without_its_toolkit_is_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "find_spec", lambda name: None if name == "litert_torch" else object())
    with pytest.raises(BadInput, match="litert cannot be exported here") as error:
        check_kind("litert", "int8")
    assert "missing: litert_torch." in str(error.value)
    assert "deploy/litert-toolkit.txt" in str(error.value)
    monkeypatch.setattr(kinds, "find_spec", lambda _: object())
    assert check_kind("litert", "int8") == (ExportFormat.LITERT, Precision.INT8)


def test_weights_have_7_bits_where_sums_of_8_bit_products_may_not_fit(
    graph: tuple[torch.nn.Module, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converters, "adds_8_bit_products_in_32_bits", lambda: False)
    network, path = graph
    CONVERTERS[ExportFormat.OPENVINO, Precision.INT8].write(Source(network, CARD, path, textures(48, 1)), tmp_path)
    read = load_openvino().Core().read_model(str(tmp_path / OPENVINO_NAME))
    assert [read.input(0).get_names(), read.output(0).get_names()] == [{GRAPH_INPUT}, {GRAPH_OUTPUT}]
    constants = [node.get_data() for node in read.get_ordered_ops() if node.get_type_name() == "Constant"]
    # Depthwise convolutions multiply channel by channel, so nothing is added there in 16 bits.
    weights = [values for values in constants if values.dtype == np.int8 and values.ndim == 4]
    assert len(weights) > 20
    assert max(np.abs(one.astype(int)).max() for one in weights) == 64
