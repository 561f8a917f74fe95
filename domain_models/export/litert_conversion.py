"""From a network to a LiteRT graph, in a process of its own: the toolkit changes torch, and talks to the terminal.

    python -m domain_models.export.litert_conversion PACKAGE GRAPH PRECISION CALIBRATION.npy

The graph takes one image at a time, as the devices do that LiteRT is made for.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import Refused
from domain_models.backbones import Classifier
from domain_models.export.kinds import Precision
from domain_models.graph import PixelsToLogits
from domain_models.graph_names import GRAPH_INPUT
from domain_models.model_card import ModelCard
from domain_models.model_package import load_package, save_package


def write_litert(
    network: Classifier, card: ModelCard, precision: Precision, calibration: NDArray[np.uint8], graph: Path
) -> None:
    """Write the graph of a network, from one image's stored pixels to its logits.

    Args:
        network: in 32-bit floats.
        card: of it.
        precision: of weights and, in 8 bits, of activations.
        calibration: uint8 [m, H, W, C], images that show the range of activations; none but for ``int8``.
        graph: to be written.

    Raises:
        Refused: the toolkit cannot convert this network.
    """
    with tempfile.TemporaryDirectory() as place:
        package = save_package(Path(place) / "package", network, card, onnx=False)
        images = Path(place) / "calibration.npy"
        np.save(images, calibration)
        command = ["-m", "domain_models.export.litert_conversion", str(package), str(graph), precision.value]
        run = subprocess.run([sys.executable, *command, str(images)], capture_output=True, text=True, errors="replace")
    if run.returncode != 0 or not graph.is_file():
        said = next((line for line in reversed(run.stderr.splitlines()) if line.strip()), f"exit {run.returncode}")
        raise Refused(
            f"The network cannot be converted to LiteRT in {precision.value}.",
            cause=f"The toolkit says: {said.strip()[:300]}",
            remedy="Take another precision, or --format onnx.",
        )


def convert(package: Path, graph: Path, precision: Precision, calibration: NDArray[np.uint8]) -> None:
    """Convert in this process; see :func:`write_litert`."""
    import litert_torch
    import torch

    network, card = load_package(package)
    spec = card.preprocessing
    image = torch.zeros((1, spec.height, spec.width, spec.channels), dtype=torch.uint8)
    whole = PixelsToLogits(network.to(memory_format=torch.contiguous_format), spec).eval()  # type: ignore[call-overload]
    with tempfile.TemporaryDirectory() as place:
        plain = Path(place) / "fp32.tflite"
        litert_torch.convert(whole, sample_kwargs={GRAPH_INPUT: image}).export(str(plain))
        if precision is Precision.FP32:
            graph.write_bytes(plain.read_bytes())
        else:
            _smaller(plain, precision, calibration).export_model(str(graph), overwrite=True)


def _smaller(plain: Path, precision: Precision, calibration: NDArray[np.uint8]) -> Any:
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(str(plain))
    _RECIPES[precision](quantizer)
    if not quantizer.need_calibration:
        return quantizer.quantize()
    from ai_edge_litert.interpreter import Interpreter

    ((signature, names),) = Interpreter(model_path=str(plain)).get_signature_list().items()
    images = [{names["inputs"][0]: image[None]} for image in calibration]
    return quantizer.quantize(quantizer.calibrate({signature: images}))


def _half(quantizer: Any) -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    quantizer.update_quantization_recipe(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        AlgorithmName.FLOAT_CASTING,
    )


def _int8(quantizer: Any) -> None:
    """The classifier stays in floats: most changed decisions come from the last layer, which is small."""
    from ai_edge_quantizer import qtyping, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    quantizer.load_quantization_recipe(recipe.static_wi8_ai8())
    for last in (qtyping.TFLOperationName.FULLY_CONNECTED, qtyping.TFLOperationName.OUTPUT):
        quantizer.update_quantization_recipe(".*", last, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _int8_dynamic(quantizer: Any) -> None:
    from ai_edge_quantizer import recipe

    quantizer.load_quantization_recipe(recipe.dynamic_wi8_afp32())


_RECIPES: dict[Precision, Callable[[Any], None]] = {
    Precision.FP16: _half,
    Precision.INT8: _int8,
    Precision.INT8_DYNAMIC: _int8_dynamic,
}


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), Precision(sys.argv[3]), np.load(sys.argv[4], allow_pickle=False))
