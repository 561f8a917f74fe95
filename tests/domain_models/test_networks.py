"""Backbones, attention, bundled weights, packages: real networks, no downloads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from data_contracts.errors import BadInput, IntegrityError, NotFound
from domain_models.architecture import Architecture, AttentionKind, HeadKind
from domain_models.backbones import Classifier, build_network, input_size_of
from domain_models.bundled_weights import BUNDLED_PACKAGES, read_bundled_weights
from domain_models.explanations import class_activation
from domain_models.graph_names import GRAPH_INPUT
from domain_models.inference import predict_logits
from domain_models.model_card import CARD_FILE, ONNX_FILE, WEIGHTS_FILE, ModelCard
from domain_models.model_package import load_package, save_package
from domain_models.preprocessing import Preprocessing
from domain_models.stage_split import freeze_stages, splits_exactly
from domain_models.timm_models import create_timm_model

CNNS = [
    "resnet10t",
    "tf_efficientnet_lite0",
    "convnext_atto",
    "mobilenetv3_small_050",
    "regnety_002",
    "shufflenet_v2_x0_5",
]


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


def package(
    folder: Path, head: HeadKind = HeadKind.LINEAR, backbone: str = "resnet10t"
) -> tuple[Classifier, ModelCard]:
    torch.manual_seed(1)
    spec = Preprocessing(height=48, width=64, channels=1)
    architecture = Architecture(backbone=backbone, classes=3, attention=AttentionKind.CBAM, head=head)
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
        pixels = np.random.default_rng(n).integers(0, 256, (n, 48, 64, 1), dtype=np.uint8)
        got = session.run(None, {GRAPH_INPUT: pixels})[0]
        np.testing.assert_allclose(got, predict_logits(network, pixels, card.preprocessing), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "coatnet_pico_rw_224"])
def test_a_transformer_is_built_for_the_size_of_the_images(tmp_path: Path, backbone: str) -> None:
    size = input_size_of(backbone, 64, 96)
    network = build_network(Architecture(backbone=backbone, classes=3, input_size=size)).eval()
    torch.nn.init.normal_(network.classifier.weight, std=0.1)
    spec = Preprocessing(height=64, width=96, channels=1)
    card = ModelCard(architecture=network.architecture, classes=("a", "b", "c"), preprocessing=spec, temperature=1.0)
    save_package(tmp_path, network, card)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 1), dtype=np.uint8)
    expected = predict_logits(network, pixels, spec)
    np.testing.assert_allclose(predict_logits(load_package(tmp_path)[0], pixels, spec), expected, rtol=1e-4, atol=1e-4)
    session = onnxruntime.InferenceSession(str(tmp_path / ONNX_FILE), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {GRAPH_INPUT: pixels})[0], expected, rtol=1e-3, atol=1e-3)
    if backbone.startswith("swin"):  # its maps have the channels last
        pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 1), dtype=np.uint8)
        heat = class_activation(network, pictures, np.array([0, 1]), spec)
        assert heat.shape == (2, 64, 96)
        assert heat.max() > 0


def test_a_size_that_a_transformer_cannot_cut_is_refused() -> None:
    assert input_size_of("resnet18", 112, 144) is None
    with pytest.raises(BadInput, match="does not take images of 112x144 px"):
        build_network(
            Architecture(
                backbone="coatnet_pico_rw_224", classes=2, input_size=input_size_of("coatnet_pico_rw_224", 112, 144)
            )
        )


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet10t"])
def test_a_fine_stem_doubles_every_map_with_the_same_weights(tmp_path: Path, backbone: str) -> None:
    plain, fine = (
        build_network(Architecture(backbone=backbone, classes=3, fine_stem=on)).eval() for on in (False, True)
    )
    assert {name: value.shape for name, value in fine.state_dict().items()} == {
        name: value.shape for name, value in plain.state_dict().items()
    }
    images = torch.randn(2, 3, 32, 64)
    with torch.inference_mode():
        coarse, doubled = (network.body.forward_features(images).shape for network in (plain, fine))
    assert doubled[2:] == (2 * coarse[2], 2 * coarse[3])
    card = ModelCard(
        architecture=fine.architecture,
        classes=("a", "b", "c"),
        preprocessing=Preprocessing(height=32, width=64, channels=1),
        temperature=1.0,
    )
    save_package(tmp_path, fine, card)
    assert load_package(tmp_path)[0].body.forward_features(images).shape == doubled


def test_a_stem_that_cuts_patches_stays_as_it_is() -> None:
    with pytest.raises(
        BadInput, match="fine_stem: the first layer of 'convnext_atto' has no stride of 2, but one of 4"
    ):
        build_network(Architecture(backbone="convnext_atto", classes=2, fine_stem=True))


def test_a_shufflenet_is_packaged_and_exported_like_any_other(tmp_path: Path) -> None:
    network, card = package(tmp_path, backbone="shufflenet_v2_x0_5")
    session = onnxruntime.InferenceSession(str(tmp_path / ONNX_FILE), providers=["CPUExecutionProvider"])
    for n in (1, 3):
        pixels = np.random.default_rng(n).integers(0, 256, (n, 48, 64, 1), dtype=np.uint8)
        expected = predict_logits(load_package(tmp_path)[0], pixels, card.preprocessing)
        np.testing.assert_allclose(session.run(None, {GRAPH_INPUT: pixels})[0], expected, rtol=1e-3, atol=1e-3)
    assert [channels for _, channels in network.stages] == [24, 48, 96, 192]


def test_a_damaged_package_is_named_and_an_unfinished_one_is_none(tmp_path: Path) -> None:
    package(tmp_path)
    weights = (tmp_path / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(IntegrityError, match="do not fit their card"):
        load_package(tmp_path)
    (tmp_path / CARD_FILE).unlink()
    with pytest.raises(NotFound, match="holds no model"):
        load_package(tmp_path)
