"""From a network to an artefact that was held against it: the same for a registered model and for a candidate."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from data_contracts.progress import SILENT, Progress
from domain_models.backbones import Classifier
from domain_models.export.artefact import Manifest, file_hashes
from domain_models.export.calibration_images import calibration_images
from domain_models.export.converters import CONVERTERS, Source
from domain_models.export.kinds import GRAPH_FILE, ExportFormat, Precision
from domain_models.export.parity import LIMITS, ParityLimits
from domain_models.export.quantization_training import QuantizationTraining, write_trained_int8
from domain_models.graph import write_graph
from domain_models.graph_names import GRAPH_INPUT
from domain_models.inference import predict_logits
from domain_models.model_card import ONNX_FILE, ModelCard
from domain_models.processor import adds_8_bit_products_in_32_bits, processor_name
from domain_models.runtimes import Computable, Runtime
from domain_models.training_data import TrainingData
from pipelines.steps.export_gate import Gate

_TOOLS = ("torch", "onnx", "onnxruntime", "openvino", "nncf", "litert-torch", "ai-edge-quantizer", "ai-edge-litert")

ALONE = {
    "input": f"{GRAPH_INPUT}: uint8 [1, height, width, channels], as the preprocessing below leaves an image",
    "output": "float32 [1, classes], before the calibration below",
}
"""What a graph takes and gives that computes one image at a time."""


@dataclass(frozen=True)
class Conversion:
    """Into what a model is converted.

    Attributes:
        kind: whose file format.
        precision: of weights and arithmetic.
        calibration_count: training images that int8 measures.
        agreement: least share of decisions that stay the same; ``None``: the usual for the precision.
        seed: which training images are measured.
        training_epochs: how long an 8-bit network is trained further where it does not pass as it is; 0: not at all.
    """

    kind: ExportFormat
    precision: Precision
    calibration_count: int = 300
    agreement: float | None = None
    seed: int = 0
    training_epochs: int = 0

    @property
    def can_be_trained(self) -> bool:
        """Whether further training may help it through the gate."""
        return self.training_epochs > 0 and (self.kind, self.precision) == (ExportFormat.OPENVINO, Precision.INT8)

    @property
    def limits(self) -> ParityLimits:
        """What the gate allows."""
        usual = LIMITS[self.precision]
        return usual if self.agreement is None else usual.model_copy(update={"agreement": self.agreement})


def convert(
    network: Classifier,
    card: ModelCard,
    data: TrainingData,
    conversion: Conversion,
    folder: Path,
    *,
    model_version: str,
    package_sha256: str,
    progress: Progress = SILENT,
) -> Manifest:
    """Write an artefact's files and hold them against the network; the manifest says how it went and is not written.

    Args:
        network: in evaluation mode.
        card: of it.
        data: the images that it learned from and validates on.
        conversion: into what.
        folder: there and empty.
        model_version: for the manifest; empty for a model that is not registered.
        package_sha256: content of the package.
        progress: told of each step.

    Raises:
        BadInput: the toolkit is missing.
        Refused: the runtime cannot compute the artefact. That it computes something else is in the manifest.
    """
    kind, precision = conversion.kind, conversion.precision
    with progress.step("Predicting with the network"):
        expected = predict_logits(network, data.val.images, card.preprocessing)
    gate = Gate(card, data.val.images, data.val.labels, expected, conversion.limits)
    calibration: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    made: dict[str, object] = {}
    if precision is Precision.INT8:
        calibration = calibration_images(data.train.labels, conversion.calibration_count, conversion.seed)
        made = {"calibration_images": len(calibration), "calibration_split": "train", "seed": conversion.seed}
    with (
        progress.step(f"Converting to {kind.value} {precision.value}"),
        TemporaryDirectory(dir=folder.parent, prefix=".graph-") as place,
    ):
        graph = Path(place) / ONNX_FILE
        write_graph(graph, network, card.preprocessing)
        converter = CONVERTERS[kind, precision]
        converter.write(Source(network, card, graph, data.train.images[calibration]), folder)
    item, arithmetic = Computable(Runtime(kind.value), folder / GRAPH_FILE[kind], precision), converter.arithmetic
    if (kind, precision) == (ExportFormat.OPENVINO, Precision.INT8) and not adds_8_bit_products_in_32_bits():
        arithmetic += "; weights have 7 of the 8 bits, because the processor that exported adds products in 16 bits"
    parity, look = gate.hold(item, progress)
    if not parity.passed and conversion.can_be_trained:
        progress.say(f"8 bits as they are do not pass: {' '.join(parity.failures)} The network is trained in 8 bits.")
        made |= {"training_epochs": conversion.training_epochs, "agreement_before_training": parity.agreement}
        arithmetic += ", trained in 8 bits"
        training = QuantizationTraining(epochs=conversion.training_epochs, seed=conversion.seed)
        for path in folder.iterdir():
            path.unlink()
        write_trained_int8(network, card, data.train, calibration, training, folder, progress)
        parity, look = gate.hold(item, progress)
    manifest = Manifest(
        format=kind,
        precision=precision,
        arithmetic=arithmetic,
        model_version=model_version,
        package_sha256=package_sha256,
        card=card,
        files=file_hashes(folder),
        size_bytes=sum(path.stat().st_size for path in folder.iterdir()),
        made=made,
        second_look=look,
        tools=_tools(),
        machine=processor_name(),
        parity=parity,
    )
    return manifest.model_copy(update=ALONE) if kind is ExportFormat.LITERT else manifest


def _tools() -> dict[str, str]:
    found = {}
    for name in _TOOLS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
