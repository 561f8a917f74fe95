"""Overlays point at what the network saw."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from data_contracts.errors import BadInput
from domain_models.architecture import Architecture
from domain_models.backbones import build_network
from domain_models.explanations import class_activation, on_the_image
from domain_models.preprocessing import Preprocessing, ResizeMode, to_tensor

SPEC = Preprocessing(height=96, width=128)


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18", "convnext_atto", "mobilenetv3_small_050"])
def test_every_backbone_of_ours_has_an_overlay(backbone: str) -> None:
    network = build_network(Architecture(backbone=backbone, classes=3))
    torch.manual_seed(0)
    torch.nn.init.normal_(network.classifier.weight)
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), dtype=np.uint8)
    heat = class_activation(network, images, np.array([0, 1, 2]), SPEC, batch_size=2)
    assert heat.shape == (3, 96, 128)
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() <= 1
    assert np.isfinite(heat).all()
    assert heat.max() > 0.5


def test_it_is_the_class_activation_map_of_a_pooled_network() -> None:
    network = build_network(Architecture(backbone="tf_efficientnet_lite0", classes=2), "bundled").eval()
    torch.manual_seed(1)
    torch.nn.init.normal_(network.classifier.weight)
    images = np.random.default_rng(1).integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    with torch.no_grad():
        features = network.body.forward_features(to_tensor(images, SPEC))  # type: ignore[operator]
        weight = network.classifier.weight[1] - network.classifier.weight.mean(dim=0)
        expected = torch.einsum("c,nchw->nhw", weight, features).clamp(min=0)[0].numpy()
    heat = class_activation(network, images, np.array([1]), SPEC)[0]
    coarse = cv2.resize(heat, expected.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.corrcoef(coarse.ravel(), expected.ravel())[0, 1] > 0.95


def test_the_overlay_points_at_the_object_that_makes_the_class() -> None:
    """A classifier on bundled features, told apart a bright square from none: the heat lies on the square."""
    chance = np.random.default_rng(2)
    network = build_network(Architecture(backbone="tf_efficientnet_lite0", classes=2), "bundled").eval()
    spec = Preprocessing(height=128, width=128)
    images = chance.integers(90, 110, (40, 128, 128, 3), dtype=np.uint8)
    corners = chance.integers(0, 2, (20, 2)) * 80
    for image, (top, left) in zip(images[:20], corners, strict=True):
        image[top : top + 40 : 2, left : left + 40] = 250
    with torch.no_grad():
        features = network.embed(to_tensor(images, spec)).numpy()
    direction = features[:20].mean(axis=0) - features[20:].mean(axis=0)
    with torch.no_grad():
        network.classifier.weight[1] = torch.from_numpy(direction)
    heat = class_activation(network, images[:20], np.ones(20, dtype=np.int64), spec)
    on_it = [one[top : top + 40, left : left + 40].mean() for one, (top, left) in zip(heat, corners, strict=True)]
    assert np.mean(on_it) > 2 * heat.mean()


@pytest.mark.parametrize("mode", list(ResizeMode))
def test_the_overlay_has_the_shape_of_the_image_and_lies_where_it_was_seen(mode: ResizeMode) -> None:
    spec = Preprocessing(height=64, width=64, resize=mode)
    heat = np.zeros((64, 64), dtype=np.float32)
    heat[28:36, 28:36] = 1.0
    shown = on_the_image(heat, spec, height=100, width=200, longer_side=256)
    assert shown.shape == (128, 256)
    rows, columns = np.nonzero(shown > 0.5)
    assert abs(rows.mean() - 64) < 4
    assert abs(columns.mean() - 128) < 4
    assert shown.min() >= 0
    assert shown.max() <= 1


def test_a_network_without_a_map_of_places_says_so() -> None:
    network = build_network(Architecture(backbone="vit_tiny_patch16_224", classes=2))
    images = np.zeros((1, 224, 224, 3), dtype=np.uint8)
    with pytest.raises(BadInput, match="keeps no map of places"):
        class_activation(network, images, np.array([0]), Preprocessing(height=224, width=224))
