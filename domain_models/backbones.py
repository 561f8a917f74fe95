"""Networks: a timm backbone with a linear classifier, optional attention, and weights from a named source."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from data_contracts.errors import BadInput
from domain_models.architecture import Architecture, AttentionKind, HeadKind, Mirror
from domain_models.attention import insert_attention
from domain_models.bundled_weights import BUNDLED_MEAN, BUNDLED_PACKAGES, BUNDLED_STD, read_bundled_weights
from domain_models.heads import of_one_length
from domain_models.mirroring import averaged, both_looks, either_look, one_after_another
from domain_models.pretrained_weights import read_record
from domain_models.stems import keep_resolution
from domain_models.timm_models import create_timm_model, takes_one_size, timm_model_names
from domain_models.widths import apply_widths


class WeightSource(StrEnum):
    """Where the first weights come from. Anything else that ``weights`` says is the path of a weights file."""

    BUNDLED = "bundled"
    HUB = "hub"
    NONE = "none"


class Classifier(nn.Module):
    """A timm network seen as stages, an embedding and a linear classifier.

    Args:
        architecture: what to build; the weights are random.

    Raises:
        BadInput: timm knows no such backbone, it is no CNN with 4-dimensional stages where attention is asked for, or a
            stage number does not exist.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.body = _timm_body(architecture)
        if architecture.fine_stem:
            keep_resolution(self.body, architecture.backbone)
        self.stages = _stages(self.body)
        if architecture.attention is not AttentionKind.NONE:
            insert_attention(self.body, _chosen(self.stages, architecture), architecture.attention)
        apply_widths(self.body, architecture.widths)
        self.begins_with_maps = False

    def forward(self, images: Tensor) -> Tensor:
        """float32 [n, 3, h, w] normalised, to logits float32 [n, classes].

        With a ``mirror``, training sees each image once and prediction twice, see :mod:`~domain_models.mirroring`.
        """
        if self.architecture.head is HeadKind.COSINE or self.architecture.mirror is not Mirror.NONE:
            return self.classifier(self.embed(images))  # type: ignore[no-any-return]
        logits: Tensor = self.body(images)
        return logits

    def embed(self, images: Tensor) -> Tensor:
        """float32 [n, 3, h, w] to the features that the classifier sees, float32 [n, d]."""
        mirror = self.architecture.mirror
        if mirror is Mirror.NONE:
            return self._seen(images)
        if self.classifier.training:  # not self.training: the second part of a cut network shares only its modules
            return self._seen(either_look(images) if self.begins_with_maps else images)
        looks = one_after_another(images) if self.begins_with_maps else both_looks(images, mirror)
        features = averaged(self._seen(looks))
        return of_one_length(features) if self.architecture.head is HeadKind.COSINE else features

    def _seen(self, images: Tensor) -> Tensor:
        return self.pooled(self.body.forward_features(images))  # type: ignore[operator]

    def pooled(self, feature_map: Tensor) -> Tensor:
        """The features that the classifier sees, float32 [n, d], for the output of ``forward_features``."""
        features: Tensor = self.body.forward_head(feature_map, pre_logits=True)  # type: ignore[operator]
        if self.architecture.head is HeadKind.COSINE:
            return of_one_length(features.flatten(1))
        return features.flatten(1)

    @property
    def classifier(self) -> nn.Linear:
        """The last layer, [classes, d]."""
        layer = self.body.get_classifier()  # type: ignore[operator]
        assert isinstance(layer, nn.Linear)
        return layer


def build_network(architecture: Architecture, weights: str = WeightSource.NONE) -> Classifier:
    """A network with weights from a source. The classifier starts at zero: no class is preferred before training.

    Args:
        architecture: what to build.
        weights: ``bundled``, ``hub`` (downloads; never by default), ``none``, or the path of a weights file
            (``.safetensors`` or a PyTorch file that loads without running code).

    Raises:
        BadInput: the backbone is unknown, or the source has no weights that fit it.
        NotFound: the package of bundled weights is not installed.
        ValueError: the architecture is pruned: it begins with what was left of its own weights.
    """
    if architecture.widths:
        raise ValueError("no source has the weights of a pruned network")
    plain = Classifier(architecture.model_copy(update={"attention": AttentionKind.NONE}))
    source = _SOURCES.get(weights, _file_weights)
    state = source(architecture, weights)
    if state is not None:
        _load_backbone(plain.body, state, architecture.backbone, weights)
    nn.init.zeros_(plain.classifier.weight)
    if plain.classifier.bias is not None:
        nn.init.zeros_(plain.classifier.bias)
    if architecture.attention is not AttentionKind.NONE:
        insert_attention(plain.body, _chosen(plain.stages, architecture), architecture.attention)
    plain.architecture = architecture
    return plain


def backbone_state(network: Classifier) -> dict[str, Tensor]:
    """The weights and statistics of all but the classifier, by names that a weights file may use."""
    classifier = _classifier_keys(network.body)
    return {name: value for name, value in network.body.state_dict().items() if name not in classifier}


def normalisation(backbone: str, weights: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation (0..1 pixel range) that the weights were trained with."""
    record = read_record(weights)
    if record is not None:
        return record.mean, record.std
    if weights == WeightSource.BUNDLED and backbone in BUNDLED_PACKAGES:
        return BUNDLED_MEAN, BUNDLED_STD
    settings = getattr(create_timm_model(_known(backbone), num_classes=2), "pretrained_cfg", {})
    mean, std = settings.get("mean", BUNDLED_MEAN), settings.get("std", BUNDLED_STD)
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def _timm_body(architecture: Architecture) -> nn.Module:
    arguments = {"num_classes": architecture.classes, "drop_rate": architecture.dropout}
    if architecture.drop_path > 0:
        arguments["drop_path_rate"] = architecture.drop_path
    if architecture.input_size is not None:
        return _of_one_size(architecture, architecture.input_size, arguments)
    try:
        body = create_timm_model(_known(architecture.backbone), **arguments)
    except TypeError as error:
        raise BadInput(
            f"The backbone {architecture.backbone!r} does not take these settings ({error}).",
            remedy="Set drop_path=0 and dropout=0 for it.",
        ) from None
    return _with_linear_end(body, architecture.backbone)


def _of_one_size(architecture: Architecture, size: tuple[int, int], arguments: dict[str, Any]) -> nn.Module:
    """A network for images of one size, tried on an empty one: which sizes go depends on patches and windows."""
    try:
        body = create_timm_model(_known(architecture.backbone), img_size=size, **arguments)
        with torch.inference_mode():
            body.eval()(torch.zeros((1, 3, *size)))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise BadInput(
            f"The backbone {architecture.backbone!r} does not take images of {size[0]}x{size[1]} px ({error}).",
            cause="It cuts images into patches and windows that have to come out even.",
            remedy="Set preprocessing.height and preprocessing.width to the same multiple of 32, for example 160.",
        ) from None
    return _with_linear_end(body, architecture.backbone)


def _with_linear_end(body: nn.Module, backbone: str) -> nn.Module:
    if not isinstance(body.get_classifier(), nn.Linear):  # type: ignore[operator]
        raise BadInput(
            f"The backbone {backbone!r} does not end in one linear classifier.",
            remedy="Choose another, for example tf_efficientnet_lite0, resnet18 or convnext_atto.",
        )
    return body


def input_size_of(backbone: str, height: int, width: int) -> tuple[int, int] | None:
    """What an :class:`Architecture` says of its input: the size, where the backbone is built for one."""
    return (height, width) if takes_one_size(_known(backbone)) else None


def _known(backbone: str) -> str:
    known = timm_model_names()
    if backbone.partition(".")[0] not in known:
        near = difflib.get_close_matches(backbone, known, n=1)
        raise BadInput(
            f"There is no backbone {backbone!r}.",
            remedy=f"Did you mean {near[0]!r}?" if near else "Any timm model name works, for example resnet18.",
        )
    return backbone


def _stages(body: nn.Module) -> tuple[tuple[str, int], ...]:
    """(module path, output channels) of each stage that timm reports, in order."""
    information = getattr(body, "feature_info", None)
    entries = information if isinstance(information, list) else getattr(information, "info", [])
    modules = dict(body.named_modules())
    return tuple((str(e["module"]), int(e["num_chs"])) for e in entries if e["module"] in modules)


def _chosen(stages: tuple[tuple[str, int], ...], architecture: Architecture) -> list[tuple[str, int]]:
    if not stages:
        raise BadInput(f"The backbone {architecture.backbone!r} reports no stages to put attention behind.")
    chosen = []
    for number in architecture.attention_stages:
        if not -len(stages) <= number < len(stages):
            raise BadInput(
                f"attention_stages: {architecture.backbone} has {len(stages)} stages, there is no stage {number}.",
                remedy=f"Give numbers from 0 to {len(stages) - 1}; -1 is the last.",
            )
        if stages[number] not in chosen:
            chosen.append(stages[number])
    return chosen


def _bundled_weights(architecture: Architecture, _: str) -> dict[str, Tensor] | None:
    return read_bundled_weights(architecture.backbone)


def _no_weights(_: Architecture, __: str) -> dict[str, Tensor] | None:
    return None


def _hub_weights(architecture: Architecture, _: str) -> dict[str, Tensor] | None:
    backbone, size = architecture.backbone, architecture.input_size
    fitted = {} if size is None else {"img_size": size}
    try:
        return dict(create_timm_model(_known(backbone), pretrained=True, **fitted).state_dict())
    except BadInput:
        raise
    except Exception as error:  # whatever the hub client of the day raises
        raise BadInput(
            f"The weights of {backbone} could not be fetched from the hub ({type(error).__name__}: {error}).",
            cause="There is no network, or the model has no weights there.",
            remedy="Use weights=bundled, weights=none or a weights file.",
        ) from None


def _file_weights(_: Architecture, weights: str) -> dict[str, Tensor] | None:
    path = Path(weights)
    if not path.is_file():
        raise BadInput(
            f"weights={weights!r} is neither a source nor a file.",
            remedy=f"Give {', '.join(WeightSource)} or the path of a weights file.",
        )
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling a hostile or damaged file fails in many ways
        raise BadInput(f"The weights file {path} cannot be read ({type(error).__name__}).") from None
    if not isinstance(state, dict):
        raise BadInput(f"The weights file {path} holds no weights by name.")
    return {str(k): v for k, v in state.items() if isinstance(v, Tensor)}


_SOURCES: dict[str, Callable[[Architecture, str], dict[str, Tensor] | None]] = {
    WeightSource.BUNDLED: _bundled_weights,
    WeightSource.HUB: _hub_weights,
    WeightSource.NONE: _no_weights,
}
"""Reader of each weight source; any other value of ``weights`` is read as a file."""


def _load_backbone(body: nn.Module, state: dict[str, Tensor], backbone: str, weights: str) -> None:
    own = body.state_dict()
    stripped = {key.removeprefix("body."): value for key, value in state.items()}
    classifier = _classifier_keys(body)
    missing = [key for key in own if key not in classifier and key not in stripped]
    unfit = [k for k, v in stripped.items() if k not in classifier and (k not in own or own[k].shape != v.shape)]
    if missing or unfit:
        example = (missing or unfit)[0]
        raise BadInput(
            f"The weights {weights!r} do not fit {backbone} ({len(missing)} missing, {len(unfit)} of another shape or"
            f" unknown, first {example!r}).",
            remedy="Use weights made for this backbone.",
        )
    body.load_state_dict({k: v for k, v in stripped.items() if k in own and own[k].shape == v.shape}, strict=False)


def _classifier_keys(body: nn.Module) -> set[str]:
    layer = body.get_classifier()  # type: ignore[operator]
    prefix = next(name for name, module in body.named_modules() if module is layer)
    return {f"{prefix}.{name}" for name in layer.state_dict()}
