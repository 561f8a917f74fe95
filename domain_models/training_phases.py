"""The phases of a training as functions of a network and images: used for the model itself and for each fold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress
from domain_models.architecture import Architecture, Mirror
from domain_models.backbones import Classifier, build_network, input_size_of
from domain_models.batches import AugmentedImages
from domain_models.frozen_views import Views
from domain_models.inference import embed, map_batches
from domain_models.linear_probe import LinearProbe, class_frequency_prior
from domain_models.mirroring import allowed_mirror
from domain_models.package_start import names_package, network_of_package
from domain_models.training_config import LossKind, TrainingConfig
from domain_models.training_data import LabelledImages, TrainingData

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """What the main training found out, so that fold models are made the same way without choosing again.

    Attributes:
        penalty: of the probe; ``None`` without one.
        epochs: of fine-tuning; 0 without.
        strength: of the second stage; ``None`` where it was not kept.
        views: of the frozen stages, if they are cached.
        features: float32 [n, d] per view of all training and then all validation images by the untouched backbone;
            ``None`` where the training went on after a kill and they are no longer at hand.
    """

    penalty: float | None
    epochs: int
    strength: float | None
    views: Views | None
    features: list[Features] | None = None


def architecture_of(config: TrainingConfig, classes: int) -> Architecture:
    """The network that a configuration describes."""
    return Architecture(
        backbone=config.backbone,
        classes=classes,
        attention=config.attention,
        attention_stages=config.attention_stages,
        head=config.head,
        dropout=config.dropout,
        drop_path=config.drop_path,
        fine_stem=config.fine_stem,
        input_size=input_size_of(config.backbone, config.preprocessing.height, config.preprocessing.width),
        mirror=allowed_mirror(config.augmentation) if config.mirrored_view else Mirror.NONE,
    )


def fresh_network(config: TrainingConfig, classes: int) -> Classifier:
    """The network as training begins; the same for the same configuration."""
    torch.manual_seed(config.seed)
    architecture = architecture_of(config, classes)
    if names_package(config.weights):
        return network_of_package(config.weights, architecture)
    return build_network(architecture, config.weights)


def loss_prior(
    config: TrainingConfig, labels: NDArray[np.int64], weights: NDArray[np.float64], classes: int
) -> NDArray[np.float64] | None:
    """What the loss adds to the logits while fitting; ``None`` for losses that add nothing."""
    strength = {LossKind.BALANCED_SOFTMAX: 1.0, LossKind.LOGIT_ADJUSTED: config.adjustment}.get(config.loss)
    if strength is None:
        return None
    return strength * class_frequency_prior(np.bincount(labels[weights > 0], minlength=classes))


def probe_views(config: TrainingConfig) -> int:
    """How many views of each image the probe sees."""
    return config.probe_views if config.augment else 1


def view_features(
    network: Classifier, images: LabelledImages, config: TrainingConfig, progress: Progress = SILENT
) -> list[Features]:
    """Features float32 [n, d] of each view: first the images as they are, then ``probe_views - 1`` augmented ones."""
    views = [embed(network, images.images, config.preprocessing, device=config.device, progress=progress)]
    if probe_views(config) == 1:
        return views
    source = AugmentedImages(images.images, images.image_ids, config)
    total = (config.probe_views - 1) * len(images)
    with progress.step("Extracting features of augmented views", total=total) as step:
        for view in range(1, config.probe_views):

            def features(positions: NDArray[np.int64], view: int = view) -> Features:
                with torch.inference_mode():
                    return network.embed(source.inputs(positions, view).to(config.device)).float().cpu().numpy()

            parts = map_batches(features, len(images), batch_size=32, device=config.device, step=step)
            views.append(np.concatenate(list(parts)))
    return views


def probe_features(
    network: Classifier, data: TrainingData, config: TrainingConfig, views: Views | None, progress: Progress
) -> tuple[list[Features], Features, list[Features] | None]:
    """Features of the training images (every view) and of the validation images (as they are), float32 [n, d] each.

    Where folds follow, they need every view of the validation images too; then all are computed here, and come third.
    """
    if views is not None and probe_views(config) == 1:
        everyone = np.arange(len(data.train) + len(data.val))
        all_features = [views.features(network, everyone, config.device, progress)]
    elif config.cross_fit_folds == 0:
        val_features = embed(network, data.val.images, config.preprocessing, device=config.device)
        return view_features(network, data.train, config, progress), val_features, None
    else:
        all_features = view_features(network, data.train.joined(data.val), config, progress)
    return [view[: len(data.train)] for view in all_features], all_features[0][len(data.train) :], all_features


def plain_features(
    network: Classifier, data: TrainingData, config: TrainingConfig, views: Views | None, progress: Progress = SILENT
) -> tuple[Features, Features]:
    """Features float32 [n, d] of the training and of the validation images as they are, by the network as it stands."""
    if views is not None:
        everyone = np.arange(len(data.train) + len(data.val))
        features = views.features(network, everyone, config.device, progress)
        return features[: len(data.train)], features[len(data.train) :]
    train, val = (
        embed(network, part.images, config.preprocessing, device=config.device, progress=progress)
        for part in (data.train, data.val)
    )
    return train, val


@contextlib.contextmanager
def one_look(network: Classifier) -> Iterator[None]:
    """The network without its second look at mirror images, for predictions that only compare epochs."""
    architecture = network.architecture
    network.architecture = architecture.model_copy(update={"mirror": Mirror.NONE})
    try:
        yield
    finally:
        network.architecture = architecture


def classifier_of(network: Classifier) -> LinearProbe:
    """A copy of the network's classifier."""
    layer = network.classifier
    return LinearProbe(layer.weight.detach().cpu().numpy().copy(), layer.bias.detach().cpu().numpy().copy(), 0.0)


def set_classifier(network: Classifier, classifier: LinearProbe) -> None:
    """Give the network another classifier; nothing else moves."""
    with torch.no_grad():
        network.classifier.weight.copy_(torch.from_numpy(classifier.weight))
        network.classifier.bias.copy_(torch.from_numpy(classifier.bias))


def probe_state(classifier: LinearProbe) -> dict[str, Any]:
    """A classifier as a checkpoint keeps it."""
    return {
        "weight": torch.from_numpy(classifier.weight),
        "bias": torch.from_numpy(classifier.bias),
        "penalty": classifier.penalty,
    }


def probe_of(state: dict[str, Any]) -> LinearProbe:
    """The classifier of a checkpoint."""
    return LinearProbe(state["weight"].numpy(), state["bias"].numpy(), float(state["penalty"]))
