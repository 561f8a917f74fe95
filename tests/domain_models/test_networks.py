"""Backbones, attention, bundled weights, packages: real networks, no downloads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from data_contracts.errors import BadInput, IntegrityError, NotFound
from domain_models.attention import AttentionKind
from domain_models.backbones import Architecture, Classifier, build_network
from domain_models.bundled_weights import BUNDLED_PACKAGES, read_bundled_weights
from domain_models.heads import HeadKind
from domain_models.inference import predict_logits
from domain_models.model_package import CARD_FILE, ONNX_FILE, WEIGHTS_FILE, ModelCard, load_package, save_package
from domain_models.preprocessing import Preprocessing
from domain_models.stage_split import freeze_stages, splits_exactly
from domain_models.timm_models import create_timm_model

CNNS = ["resnet10t", "tf_efficientnet_lite0", "convnext_atto", "mobilenetv3_small_050", "regnety_002"]


@pytest.mark.parametrize("backbone", list(BUNDLED_PACKAGES))
def test_bundled_weights_fit_their_backbone_key_for_key(backbone: str) -> None:
    network = create_timm_model(backbone)
    result = network.load_state_dict(read_bundled_weights(backbone), strict=True)
    assert not result.missing_keys
    assert not result.unexpected_keys


@pytest.mark.parametrize("kind", [AttentionKind.CBAM, AttentionKind.SQUEEZE_EXCITATION])
@pytest.mark.parametrize("backbone", CNNS)
def test_attention_starts_as_identity_on_any_cnn(backbone: str, kind: AttentionKind) -> None:
    torch.manual_seed(0)
    plain = build_network(Architecture(backbone=backbone, classes=3))
    stages = tuple(range(len(plain.stages)))
    attended = Classifier(Architecture(backbone=backbone, classes=3, attention=kind, attention_stages=stages))
    mine = attended.state_dict()
    # The stage's own weights keep their names behind the gate's shell.
    renamed = {name.replace(".stage.", "."): name for name in mine if ".gate." not in name}
    assert set(renamed) == set(plain.state_dict())
    torch.nn.init.normal_(plain.classifier.weight)
    attended.load_state_dict({renamed[k]: v for k, v in plain.state_dict().items()}, strict=False)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(plain.eval()(images), attended.eval()(images))


def test_pretrained_weights_are_unchanged_by_attention_and_its_gates_learn() -> None:
    architecture = Architecture(
        backbone="tf_efficientnet_lite0", classes=3, attention=AttentionKind.CBAM, attention_stages=(2, -1)
    )
    network = build_network(architecture, "bundled")
    source = read_bundled_weights("tf_efficientnet_lite0")
    own = {k.removeprefix("body.").replace(".stage.", "."): v for k, v in network.state_dict().items()}
    assert all(torch.equal(own[k], v) for k, v in source.items() if not k.startswith("classifier."))
    torch.nn.init.normal_(network.classifier.weight)
    network(torch.randn(2, 3, 64, 64)).square().sum().backward()
    gates = [p for name, p in network.named_parameters() if ".gate." in name and ("excite" in name or "conv" in name)]
    assert gates
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in gates)


@pytest.mark.parametrize("backbone", CNNS)
def test_a_network_cut_behind_a_stage_computes_what_the_whole_computes(backbone: str) -> None:
    network = build_network(Architecture(backbone=backbone, classes=3))
    torch.nn.init.normal_(network.classifier.weight)
    frozen = freeze_stages(network, 2)
    assert splits_exactly(network, frozen, torch.randn(2, 3, 64, 64), 2)


def test_an_unknown_backbone_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(BadInput, match="Did you mean 'resnet18'"):
        build_network(Architecture(backbone="resnet_18", classes=2))


def test_a_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadInput, match="there is no stage 9"):
        build_network(
            Architecture(backbone="resnet10t", classes=2, attention=AttentionKind.CBAM, attention_stages=(9,))
        )


def package(folder: Path, head: HeadKind = HeadKind.LINEAR) -> tuple[Classifier, ModelCard]:
    torch.manual_seed(1)
    spec = Preprocessing(height=48, width=64, channels=1)
    architecture = Architecture(backbone="resnet10t", classes=3, attention=AttentionKind.CBAM, head=head)
    network = build_network(architecture)
    torch.nn.init.normal_(network.classifier.weight)
    card = ModelCard(architecture=architecture, classes=("a", "b", "c"), preprocessing=spec, temperature=1.5)
    save_package(folder, network, card)
    return network, card


@pytest.mark.parametrize("head", list(HeadKind))
def test_a_package_comes_back_as_it_was_saved(tmp_path: Path, head: HeadKind) -> None:
    network, card = package(tmp_path, head)
    loaded, loaded_card = load_package(tmp_path)
    assert loaded_card == card
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 1), dtype=np.uint8)
    expected = predict_logits(network, images, card.preprocessing)
    np.testing.assert_array_equal(predict_logits(loaded, images, card.preprocessing), expected)
    one_by_one = predict_logits(loaded, images, card.preprocessing, batch_size=1)
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", list(HeadKind))
def test_the_onnx_graph_takes_any_batch_and_agrees_with_torch(tmp_path: Path, head: HeadKind) -> None:
    network, card = package(tmp_path, head)
    session = onnxruntime.InferenceSession(str(tmp_path / ONNX_FILE), providers=["CPUExecutionProvider"])
    for n in (1, 2, 7):
        images = torch.randn(n, 3, card.preprocessing.height, card.preprocessing.width)
        with torch.inference_mode():
            expected = network(images).numpy()
        got = session.run(None, {"images": images.numpy()})[0]
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_a_damaged_package_is_named_and_an_unfinished_one_is_none(tmp_path: Path) -> None:
    package(tmp_path)
    weights = (tmp_path / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(IntegrityError, match="do not fit their card"):
        load_package(tmp_path)
    (tmp_path / CARD_FILE).unlink()
    with pytest.raises(NotFound, match="holds no model"):
        load_package(tmp_path)
