"""Pruning real networks: consistent, stored without the library, and a training can begin with what is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from data_contracts.errors import BadInput, IntegrityError
from domain_models import pruning
from domain_models.architecture import Architecture, AttentionKind
from domain_models.backbones import Classifier, build_network
from domain_models.graph_names import GRAPH_INPUT
from domain_models.model_card import CARD_FILE, ONNX_FILE, ModelCard
from domain_models.model_package import load_package, save_package
from domain_models.package_start import check_classes
from domain_models.preprocessing import Preprocessing, to_tensor
from domain_models.pruning import pruned
from domain_models.training import train
from domain_models.training_config import TrainingConfig, with_overrides
from domain_models.training_data import TrainingData
from domain_models.training_phases import fresh_network
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread

SPEC = Preprocessing(height=64, width=64, channels=3)
KINDS = [
    ("tf_efficientnet_lite0", AttentionKind.NONE),  # depthwise convolutions and residual additions
    ("mobilenetv3_small_050", AttentionKind.NONE),  # squeeze-and-excitation
    ("resnext26ts", AttentionKind.NONE),  # grouped convolutions
    ("test_resnet", AttentionKind.CBAM),
    ("mobilenetv3_small_050", AttentionKind.EFFICIENT_CHANNEL),
    ("tf_efficientnet_lite0", AttentionKind.SQUEEZE_EXCITATION),
]


def disturbed(backbone: str, attention: AttentionKind = AttentionKind.NONE) -> Classifier:
    """A network in which no layer is left at its neutral start, so that a channel in the wrong place shows."""
    torch.manual_seed(0)
    stages = (-2, -1) if attention is not AttentionKind.NONE else (-1,)
    network = Classifier(Architecture(backbone=backbone, classes=3, attention=attention, attention_stages=stages))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.7, 1.4)
                module.weight.uniform_(0.7, 1.4)
        for name, parameter in network.named_parameters():
            if ".gate." in name:
                parameter.normal_(0, 0.3)
    return network.eval()


@pytest.mark.parametrize(("backbone", "attention"), KINDS)
def test_a_pruned_network_is_narrower_and_is_itself_again_after_save_and_load(
    backbone: str, attention: AttentionKind, tmp_path: Path
) -> None:
    network = disturbed(backbone, attention)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    small = pruned(network, 0.5, 64, 64)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert small.architecture.widths
    count, fewer = (sum(p.numel() for p in one.parameters()) for one in (network, small))
    assert fewer < 0.6 * count
    card = ModelCard(architecture=small.architecture, classes=("a", "b", "c"), preprocessing=SPEC)
    save_package(tmp_path, small, card)  # also holds the ONNX graph against torch
    loaded, read = load_package(tmp_path)
    assert read.architecture == small.architecture
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected, again = (one(to_tensor(pixels, SPEC)).numpy() for one in (small, loaded))
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-5)
    session = onnxruntime.InferenceSession(tmp_path / ONNX_FILE, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {GRAPH_INPUT: pixels})[0], expected, rtol=1e-3, atol=1e-3)


def test_channels_that_a_gate_weighs_stay() -> None:
    network = disturbed("test_resnet", AttentionKind.CBAM)
    small = pruned(network, 0.5, 64, 64)
    gates = [name for name in network.state_dict() if ".gate." in name]
    assert gates
    for name in gates:
        assert torch.equal(small.state_dict()[name], network.state_dict()[name])


def test_what_leaves_has_the_smallest_weights() -> None:
    network = build_network(Architecture(backbone="test_resnet", classes=3))
    layer = network.body.get_submodule("layer1.0")
    strong = torch.arange(layer.conv1.out_channels) % 2 == 0  # conv1 is followed by conv2 alone
    with torch.no_grad():
        for parameter in (layer.conv1.weight, layer.bn1.weight, layer.bn1.bias):
            parameter.copy_(torch.where(strong.view(-1, *[1] * (parameter.ndim - 1)), 1.0, 0.01))
        layer.conv2.weight.fill_(0.5)
    small = pruned(network, 0.5, 64, 64).body.get_submodule("layer1.0")
    assert small.conv1.out_channels == layer.conv1.out_channels // 2
    assert (small.bn1.weight == 1.0).all()


def test_widths_are_multiples_that_processors_like_and_nothing_disappears() -> None:
    small = pruned(disturbed("tf_efficientnet_lite0"), 0.3, 64, 64)
    outputs = [m.out_channels for m in small.modules() if isinstance(m, torch.nn.Conv2d)]
    assert min(outputs) >= pruning.MULTIPLE
    assert all(count % pruning.MULTIPLE == 0 for count in outputs)


def test_a_pruned_network_can_be_pruned_again() -> None:
    once = pruned(disturbed("test_resnet"), 0.75, 64, 64)
    twice = pruned(once, 0.5, 64, 64)
    assert sum(p.numel() for p in twice.parameters()) < 0.5 * sum(p.numel() for p in once.parameters())


@pytest.mark.parametrize("backbone", ["convnext_atto", "shufflenet_v2_x0_5"])
def test_a_network_that_cannot_be_pruned_is_refused(backbone: str) -> None:
    with pytest.raises(BadInput, match=f"{backbone}.* cannot be pruned"):
        pruned(Classifier(Architecture(backbone=backbone, classes=3)), 0.5, 64, 64)


def test_a_missing_library_is_said_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"torch-pruning.*pip install .*tailsight\[compress\]"):
        pruned(disturbed("test_resnet"), 0.5, 64, 64)


def test_a_pruned_package_is_loaded_without_the_library(tmp_path: Path) -> None:
    small = pruned(disturbed("test_resnet"), 0.5, 64, 64)
    card = ModelCard(architecture=small.architecture, classes=("a", "b", "c"), preprocessing=SPEC)
    save_package(tmp_path, small, card, onnx=False)
    code = (
        "import sys; sys.modules['torch_pruning'] = None\n"
        "from pathlib import Path; from domain_models.model_package import load_package\n"
        "print(sum(p.numel() for p in load_package(Path(sys.argv[1]))[0].parameters()))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == sum(p.numel() for p in small.parameters())


def test_a_card_from_before_has_no_widths_and_one_with_a_wrong_layer_is_refused(tmp_path: Path) -> None:
    network = disturbed("test_resnet")
    card = ModelCard(architecture=network.architecture, classes=("a", "b", "c"), preprocessing=SPEC)
    save_package(tmp_path, network, card, onnx=False)
    text = (tmp_path / CARD_FILE).read_text()
    assert '"widths": {}' in text
    (tmp_path / CARD_FILE).write_text(text.replace(',\n    "widths": {}', ""))
    assert load_package(tmp_path)[1].architecture.widths == {}
    (tmp_path / CARD_FILE).write_text(text.replace('"widths": {}', '"widths": {"layer9": [8, 8]}'))
    with pytest.raises(IntegrityError, match="layer9"):
        load_package(tmp_path)


def data() -> TrainingData:
    labels = np.tile(np.arange(3), 16)
    return TrainingData(("a", "b", "c"), striped(labels, 0, "t"), striped(labels[:24], 1, "v"))


def test_a_training_begins_with_what_pruning_left_and_keeps_its_widths(tmp_path: Path) -> None:
    teacher = train(data(), SMALL, tmp_path / "whole")
    small = pruned(teacher.network, 0.5, 32, 32)
    start = save_package(
        tmp_path / "start",
        small,
        ModelCard(architecture=small.architecture, classes=("a", "b", "c"), preprocessing=SMALL.preprocessing),
        onnx=False,
    )
    config = TrainingConfig.model_validate(SMALL.model_dump() | {"weights": str(start), "drop_path": 0.1, "epochs": 2})
    begun = fresh_network(config, 3)
    assert begun.architecture.drop_path == 0.1
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in begun.state_dict().items())
    trained = train(data(), config, tmp_path / "small")
    assert trained.network.architecture.widths == small.architecture.widths
    assert trained.history["train_loss"].iloc[-1] < trained.history["train_loss"].iloc[0]
    with pytest.raises(BadInput, match="backbone differ"):
        fresh_network(config.model_copy(update={"backbone": "resnet18"}), 3)
    with pytest.raises(BadInput, match="other classes"):
        check_classes(str(start), ("a", "c", "b"), 0)
    with pytest.raises(BadInput, match="cross_fit_folds=0"):
        check_classes(str(start), ("a", "b", "c"), 3)
    assert "pruned in" in check_classes(str(start), ("a", "b", "c"), 0)[0]
    assert check_classes("bundled", ("a", "b"), 3) == []


def test_a_package_that_training_begins_with_brings_its_normalisation(tmp_path: Path) -> None:
    network = disturbed("test_resnet")
    spec = SPEC.model_copy(update={"mean": (0.1, 0.2, 0.3)})
    card = ModelCard(architecture=network.architecture, classes=("a", "b", "c"), preprocessing=spec)
    save_package(tmp_path, network, card, onnx=False)
    config = with_overrides(SMALL, ["dropout=0.2", f"weights={tmp_path}"])
    assert config.preprocessing.mean == (0.1, 0.2, 0.3)
