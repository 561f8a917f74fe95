"""Networks that look at each image twice: what the second look is, and that every way to it gives the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from data_contracts.input_settings import AugmentationSettings
from domain_models.architecture import Architecture, HeadKind, Mirror
from domain_models.backbones import Classifier, build_network
from domain_models.explanations import class_activation
from domain_models.inference import embed, predict_logits
from domain_models.mirroring import allowed_mirror, either_look, mirrored
from domain_models.model_card import ONNX_FILE, ModelCard
from domain_models.model_package import load_package, save_package
from domain_models.preprocessing import Preprocessing, to_tensor
from domain_models.stage_split import freeze_stages, prefix_of, splits_exactly, suffix_of

TURNS = [mirror for mirror in Mirror if mirror is not Mirror.NONE]
SPEC = Preprocessing(height=48, width=64, channels=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 1), dtype=np.uint8)


def network_with(mirror: Mirror, head: HeadKind = HeadKind.LINEAR, backbone: str = "resnet10t") -> Classifier:
    torch.manual_seed(1)
    network = build_network(Architecture(backbone=backbone, classes=3, mirror=mirror, head=head))
    torch.nn.init.normal_(network.classifier.weight)
    return network.eval()


@pytest.mark.parametrize("mirror", TURNS)
def test_logits_are_the_mean_of_what_is_said_of_the_image_and_of_its_mirror_image(mirror: Mirror) -> None:
    once, twice = network_with(Mirror.NONE), network_with(mirror)
    turned = {
        Mirror.LEFT_RIGHT: IMAGES[:, :, ::-1],
        Mirror.UPSIDE_DOWN: IMAGES[:, ::-1],
        Mirror.HALF_TURN: IMAGES[:, ::-1, ::-1],
    }[mirror]
    expected = (predict_logits(once, IMAGES, SPEC) + predict_logits(once, np.ascontiguousarray(turned), SPEC)) / 2
    np.testing.assert_allclose(predict_logits(twice, IMAGES, SPEC), expected, rtol=1e-4, atol=1e-4)
    assert np.abs(expected - predict_logits(once, IMAGES, SPEC)).max() > 1e-2


@pytest.mark.parametrize("head", list(HeadKind))
@pytest.mark.parametrize("mirror", TURNS)
def test_an_image_and_its_mirror_image_are_told_the_same(mirror: Mirror, head: HeadKind) -> None:
    network = network_with(mirror, head)
    images = to_tensor(IMAGES, SPEC)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), network(mirrored(images, mirror)), rtol=1e-4, atol=1e-4)
        features = network.embed(images)
        torch.testing.assert_close(network.classifier(features), network(images), rtol=1e-4, atol=1e-4)
    if head is HeadKind.COSINE:
        torch.testing.assert_close(features.norm(dim=1), features.norm(dim=1).mean().expand(len(IMAGES)))


@pytest.mark.parametrize("backbone", ["resnet10t", "tf_efficientnet_lite0", "convnext_atto", "shufflenet_v2_x0_5"])
def test_cut_behind_a_stage_it_says_what_the_whole_says(backbone: str) -> None:
    network = network_with(Mirror.HALF_TURN, backbone=backbone)
    frozen = freeze_stages(network, 2)
    images = torch.randn(3, 3, 64, 64)
    assert splits_exactly(network, frozen, images, 2)
    with torch.inference_mode(), prefix_of(network, 2) as prefix:
        maps = prefix(images)
    assert len(maps) == len(images)


def test_training_sees_one_look_of_each_image_and_both_in_turn() -> None:
    network = network_with(Mirror.LEFT_RIGHT)
    frozen = freeze_stages(network, 2)
    with torch.inference_mode(), prefix_of(network, 2) as prefix:
        maps = prefix(torch.randn(64, 3, 64, 64))
    torch.manual_seed(0)
    seen = either_look(maps)
    first, second = maps.chunk(2, dim=1)
    were_first = [bool(torch.equal(one, own)) for one, own in zip(seen, first, strict=True)]
    were_second = [bool(torch.equal(one, own)) for one, own in zip(seen, second, strict=True)]
    assert all(one != other for one, other in zip(were_first, were_second, strict=True))
    assert 16 < sum(were_first) < 48
    suffix = suffix_of(network, frozen)
    network.train()
    passed: list[int] = []
    hook = network.body.get_submodule(network.stages[-1][0]).register_forward_hook(
        lambda _module, inputs, _output: passed.append(len(inputs[0]))
    )
    suffix(maps)
    network.eval()
    with torch.inference_mode():
        suffix(maps)
    hook.remove()
    assert passed == [64, 128]


def test_the_package_and_its_export_look_twice_too(tmp_path: Path) -> None:
    network = network_with(Mirror.HALF_TURN)
    card = ModelCard(architecture=network.architecture, classes=("a", "b", "c"), preprocessing=SPEC)
    save_package(tmp_path, network, card)
    expected = predict_logits(network, IMAGES, SPEC)
    loaded, _ = load_package(tmp_path)
    np.testing.assert_array_equal(predict_logits(loaded, IMAGES, SPEC), expected)
    session = onnxruntime.InferenceSession(tmp_path / ONNX_FILE)
    (said,) = session.run(None, {session.get_inputs()[0].name: IMAGES})
    np.testing.assert_allclose(said, expected, rtol=1e-3, atol=1e-3)


def test_its_explanation_is_the_same_for_both_looks() -> None:
    network = network_with(Mirror.LEFT_RIGHT)
    classes = np.zeros(len(IMAGES), dtype=np.int64)
    heat = class_activation(network, IMAGES, classes, SPEC)
    other = class_activation(network, np.ascontiguousarray(IMAGES[:, :, ::-1]), classes, SPEC)
    np.testing.assert_allclose(heat, other[:, :, ::-1], atol=0.02)
    assert embed(network, IMAGES, SPEC).shape == (5, network.classifier.in_features)


@pytest.mark.parametrize(
    ("horizontal", "vertical", "mirror"),
    [
        (True, True, Mirror.HALF_TURN),
        (True, False, Mirror.LEFT_RIGHT),
        (False, True, Mirror.UPSIDE_DOWN),
        (False, False, Mirror.NONE),
    ],
)
def test_only_a_turn_that_the_profile_allows_is_made(horizontal: bool, vertical: bool, mirror: Mirror) -> None:
    settings = AugmentationSettings(flip_horizontal=horizontal, flip_vertical=vertical)
    assert allowed_mirror(settings) is mirror
