"""From a packaged network to a graph in another format or precision: one function for each, in one table."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain_models.backbones import Classifier
from domain_models.export.kinds import LITERT_NAME, ONNX_NAME, OPENVINO_NAME, ExportFormat, Precision
from domain_models.export.litert_conversion import write_litert
from domain_models.graph_names import GRAPH_INPUT
from domain_models.model_card import ModelCard
from domain_models.model_package import save_package
from domain_models.openvino_toolkit import folded_graph, load_nncf, load_openvino, quiet
from domain_models.processor import adds_8_bit_products_in_32_bits


@dataclass(frozen=True)
class Source:
    """What is converted.

    Attributes:
        network: in 32-bit floats.
        card: of it.
        graph: the fp32 ONNX graph from stored pixels to logits.
        calibration: uint8 [m, H, W, C], images that show the range of activations.
    """

    network: Classifier
    card: ModelCard
    graph: Path
    calibration: NDArray[np.uint8]


@dataclass(frozen=True)
class Converter:
    """``write`` puts the graph's files into an empty folder; ``arithmetic`` says what they store and compute with."""

    write: Callable[[Source, Path], None]
    arithmetic: str


def _onnx_fp32(source: Source, folder: Path) -> None:
    (folder / ONNX_NAME).write_bytes(source.graph.read_bytes())


def _onnx_fp16(source: Source, folder: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights under the smallest half float are told one by one; the gate judges
        half = convert_float_to_float16(onnx.load(str(source.graph)), keep_io_types=True)
    onnx.save(half, str(folder / ONNX_NAME))


def _onnx_bf16(source: Source, folder: Path) -> None:
    """Weights are rounded to bf16 and widened when the graph is loaded: ONNX Runtime computes no bf16 on processors."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(source.graph))
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or numpy_helper.to_array(tensor).ndim < 2:
            continue  # biases and scales are few, and rounding them costs most
        values = numpy_helper.to_array(tensor).astype(np.float32)
        name = tensor.name
        tensor.CopyFrom(
            helper.make_tensor(f"{name}.bf16", TensorProto.BFLOAT16, values.shape, _bf16_bytes(values), raw=True)
        )
        casts.append(helper.make_node("Cast", [f"{name}.bf16"], [name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / ONNX_NAME))


def _bf16_bytes(values: NDArray[np.float32]) -> bytes:
    """The upper half of each float, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded.astype("<u2").tobytes()


def _onnx_int8(source: Source, folder: Path) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(source.calibration)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            image = next(self.left, None)
            return None if image is None else {GRAPH_INPUT: image[None]}

    prepared = folder / ".prepared.onnx"
    with quiet():
        quant_pre_process(str(source.graph), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(folder / ONNX_NAME),
            Images(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
    prepared.unlink()


def _onnx_int8_dynamic(source: Source, folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(
            str(source.graph),
            str(folder / ONNX_NAME),
            weight_type=QuantType.QUInt8,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        )


def _torch_weights(source: Source, folder: Path) -> None:
    """Which arithmetic is taken is decided when it is opened; the weights stay exact for a second look."""
    save_package(folder, source.network, source.card, onnx=False)


def _openvino(source: Source, folder: Path, *, half: bool) -> None:
    graph = folded_graph(str(source.graph))
    load_openvino().save_model(graph, str(folder / OPENVINO_NAME), compress_to_fp16=half)


def _openvino_fp32(source: Source, folder: Path) -> None:
    _openvino(source, folder, half=False)


def _openvino_half(source: Source, folder: Path) -> None:
    _openvino(source, folder, half=True)


def _litert(precision: Precision) -> Callable[[Source, Path], None]:
    def write(source: Source, folder: Path) -> None:
        write_litert(source.network, source.card, precision, source.calibration, folder / LITERT_NAME)

    return write


def _openvino_int8(source: Source, folder: Path) -> None:
    nncf, graph = load_nncf(), folded_graph(str(source.graph))
    nodes = graph.get_ordered_ops()
    first = next(node for node in nodes if node.get_type_name() == "Convolution")
    last = next(node for node in reversed(nodes) if node.get_type_name() == "MatMul")
    with quiet():
        quantized: Any = nncf.quantize(
            graph,
            nncf.Dataset(list(source.calibration), lambda image: {GRAPH_INPUT: image[None]}),
            fast_bias_correction=False,
            **int8_settings(len(source.calibration), [first.get_friendly_name(), last.get_friendly_name()]),
        )
    save_int8(quantized, folder)


def int8_settings(images: int, first_and_last: list[str]) -> dict[str, Any]:
    """How NNCF quantizes, whether a graph as it is or a network that is trained further.

    Args:
        images: how many show the ranges.
        first_and_last: names of the first convolution and of the last linear layer. Most of the changed decisions come
            from these two, which are small, so they stay in floats. Of the last one the runtime makes more than the
            rounding that was measured.
    """
    nncf = load_nncf()
    # A defect is what is out of the ordinary: whole ranges, not those without outliers.
    ranges = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    seven_bits = nncf.quantization.advanced_parameters.OverflowFix.ENABLE
    return {
        "preset": nncf.QuantizationPreset.MIXED,  # activations of these networks are not symmetric around zero
        "subset_size": images,
        "advanced_parameters": nncf.quantization.advanced_parameters.AdvancedQuantizationParameters(
            activations_range_estimator_params=ranges,
            # In a trial, sums that were cut off made the error of the logits five times as large as rounding made it.
            overflow_fix=None if adds_8_bit_products_in_32_bits() else seven_bits,
        ),
        "ignored_scope": nncf.IgnoredScope(names=first_and_last),
    }


def save_int8(graph: Any, folder: Path) -> None:
    """Write a quantized OpenVINO graph; what is not in integers in 16-bit floats."""
    _shorten_names(graph)
    load_openvino().save_model(graph, str(folder / OPENVINO_NAME), compress_to_fp16=True)
    _without_indentation(folder / OPENVINO_NAME)


def _shorten_names(graph: Any) -> None:
    """Inner nodes are numbered: in an 8-bit artefact their names would take a fiftieth of the file."""
    for number, node in enumerate(graph.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(str(number))
            for output in node.outputs():
                if not any(target.get_node().get_type_name() == "Result" for target in output.get_target_inputs()):
                    output.get_tensor().set_names(set())


def _without_indentation(path: Path) -> None:
    """A tenth of an 8-bit artefact would be the indentation of its description."""
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r">\s+<", "><", text), encoding="utf-8")


CONVERTERS: dict[tuple[ExportFormat, Precision], Converter] = {
    (ExportFormat.ONNX, Precision.FP32): Converter(_onnx_fp32, "weights and arithmetic in 32-bit floats"),
    (ExportFormat.ONNX, Precision.FP16): Converter(
        _onnx_fp16, "weights in 16-bit floats; arithmetic in 16-bit floats where the machine has them, else in 32-bit"
    ),
    (ExportFormat.ONNX, Precision.BF16): Converter(_onnx_bf16, "weights in bf16; arithmetic in 32-bit floats"),
    (ExportFormat.ONNX, Precision.INT8): Converter(
        _onnx_int8, "weights (per channel) and activations in 8-bit integers, by ONNX Runtime"
    ),
    (ExportFormat.ONNX, Precision.INT8_DYNAMIC): Converter(
        _onnx_int8_dynamic, "weights in 8-bit integers, activations quantized batch by batch, by ONNX Runtime"
    ),
    (ExportFormat.TORCH, Precision.BF16): Converter(
        _torch_weights, "weights in 32-bit floats; convolutions and matrix products in bf16, the rest in 32-bit floats"
    ),
    (ExportFormat.TORCH, Precision.FP16): Converter(
        _torch_weights,
        "weights in 32-bit floats; convolutions and matrix products in 16-bit floats, the rest in 32-bit floats",
    ),
    (ExportFormat.OPENVINO, Precision.FP32): Converter(_openvino_fp32, "weights and arithmetic in 32-bit floats"),
    (ExportFormat.OPENVINO, Precision.FP16): Converter(
        _openvino_half, "weights in 16-bit floats; arithmetic in 32-bit floats"
    ),
    # Rounded twice, to 16-bit floats on disk and then to bf16, weights lose more than bf16 alone costs.
    (ExportFormat.OPENVINO, Precision.BF16): Converter(
        _openvino_fp32, "weights in 32-bit floats; arithmetic in bf16 where the processor has it, else in 32-bit floats"
    ),
    (ExportFormat.OPENVINO, Precision.INT8): Converter(
        _openvino_int8, "weights (per channel) and activations in 8-bit integers, by NNCF; the rest in 32-bit floats"
    ),
    (ExportFormat.LITERT, Precision.FP32): Converter(
        _litert(Precision.FP32), "weights and arithmetic in 32-bit floats"
    ),
    (ExportFormat.LITERT, Precision.FP16): Converter(
        _litert(Precision.FP16), "weights in 16-bit floats; arithmetic in 32-bit floats"
    ),
    (ExportFormat.LITERT, Precision.INT8): Converter(
        _litert(Precision.INT8),
        "weights (per channel) and activations in 8-bit integers, by LiteRT's quantizer; the last layer in floats",
    ),
    (ExportFormat.LITERT, Precision.INT8_DYNAMIC): Converter(
        _litert(Precision.INT8_DYNAMIC),
        "weights (per channel) in 8-bit integers, activations quantized image by image, by LiteRT's quantizer",
    ),
}
"""Every artefact that can be written."""
