"""What a backbone costs on this machine, and what its features are worth: one row of the model selection matrix.

Time is taken as production would run it: the packaged network in the runtime that scoring chooses, from prepared pixels
to logits. Worth is the validation macro-F1 of a linear classifier on the features as they come: the cheapest honest
answer, and none at all for a backbone without pretrained weights.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.progress import SILENT, Progress
from domain_models.architecture import Architecture
from domain_models.backbones import WeightSource, build_network, input_size_of
from domain_models.inference import embed
from domain_models.linear_probe import choose_linear_probe, macro_f1
from domain_models.model_card import ModelCard
from domain_models.model_package import save_package
from domain_models.preprocessing import Preprocessing
from domain_models.runtimes import Runtime, open_runtime, resolve_runtime
from domain_models.training_data import TrainingData

FAMILIES: dict[str, tuple[str, ...]] = {
    "EfficientNet-Lite": ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"),
    "EfficientNet": ("efficientnet_b0",),
    "ResNet": ("resnet18", "resnet50"),
    "ResNeXt": ("resnext50_32x4d",),
    "MobileNetV3": ("mobilenetv3_small_100", "mobilenetv3_large_100"),
    "GhostNet": ("ghostnet_100",),
    "ShuffleNetV2": ("shufflenet_v2_x1_0",),
    "ConvNeXt": ("convnext_atto", "convnext_tiny"),
    "ViT": ("vit_tiny_patch16_224",),
    "Swin": ("swin_tiny_patch4_window7_224",),
    "CoAtNet": ("coatnet_nano_rw_224",),
}
"""Backbones that the matrix compares unless others are named; any timm model can be."""

BATCH = 32
_SECONDS_OF_TIMING = 1.0
_LEAST_RUNS = 5


class BackboneRow(BaseModel):
    """One backbone on this machine.

    Attributes:
        backbone: its name.
        family: as in `FAMILIES`; ``""`` for others.
        weights: where they came from.
        parameters: how many.
        megabytes: of the ONNX graph, 10^6 bytes.
        milliseconds: median, for one image.
        images_per_second: in batches of `BATCH`, at the median.
        runtime: what computed them.
        macro_f1: on the validation images; ``None`` without pretrained weights.
    """

    model_config = ConfigDict(frozen=True)

    backbone: str
    family: str
    weights: str
    parameters: int
    megabytes: float
    milliseconds: float
    images_per_second: float
    runtime: str
    macro_f1: float | None


def measure_backbone(
    backbone: str, weights: str, spec: Preprocessing, data: TrainingData, *, seed: int = 0, progress: Progress = SILENT
) -> BackboneRow:
    """Build, package, time and judge one backbone.

    Args:
        backbone: any timm model, or a ShuffleNetV2.
        weights: as in a training configuration.
        spec: how the images are prepared.
        data: training and validation images, prepared so.
        seed: of the pixels that are timed.
        progress: told of each step.

    Raises:
        BadInput: there is no such backbone, its weights cannot be had, or it does not take images of this size.
        Refused: its ONNX graph does not compute what the network computes.
    """
    architecture = Architecture(
        backbone=backbone,
        classes=len(data.classes),
        input_size=input_size_of(backbone, spec.height, spec.width),
    )
    network = build_network(architecture, weights)
    worth = None
    if weights != WeightSource.NONE:
        features, val_features = (
            embed(network, part.images, spec, progress=progress) for part in (data.train, data.val)
        )
        probe = choose_linear_probe(
            features, data.train.labels, data.train.weights, len(data.classes), val_features, data.val.labels
        )
        worth = macro_f1(probe.logits(val_features).argmax(axis=1), data.val.labels)
    card = ModelCard(architecture=architecture, classes=data.classes, preprocessing=spec, temperature=1.0)
    with tempfile.TemporaryDirectory(prefix="tailsight-backbone-") as place, progress.step(f"Timing {backbone}"):
        package = save_package(Path(place), network, card)
        runtime = resolve_runtime(Runtime.AUTO, package)
        compute = open_runtime(runtime, package, card)
        chance = np.random.default_rng(seed)
        shape = (BATCH, spec.height, spec.width, spec.channels)
        pixels: NDArray[np.uint8] = chance.integers(0, 256, shape, dtype=np.uint8)
        one = _median_seconds(lambda: compute(pixels[:1]))
        many = _median_seconds(lambda: compute(pixels))
        size = sum(path.stat().st_size for path in package.glob("model.onnx*"))
    return BackboneRow(
        backbone=backbone,
        family=next((family for family, names in FAMILIES.items() if backbone in names), ""),
        weights=weights,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        megabytes=size / 1e6,
        milliseconds=1000 * one,
        images_per_second=BATCH / many,
        runtime=runtime.value,
        macro_f1=worth,
    )


def _median_seconds(run: Callable[[], object]) -> float:
    """Median over at least five runs and a second, the first one left out: it warms up."""
    run()
    taken: list[float] = []
    while len(taken) < _LEAST_RUNS or sum(taken) < _SECONDS_OF_TIMING:
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))
