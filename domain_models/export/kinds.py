"""What an artefact can be: its format, its precision, and which toolkit writes it."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec

from data_contracts.errors import BadInput
from domain_models.openvino_toolkit import openvino_computes_bf16


class ExportFormat(StrEnum):
    """Whose file format an artefact has; ``torch`` is for machines with a GPU that score with the package's weights."""

    ONNX = "onnx"
    TORCH = "torch"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"
    LITERT = "litert"
    COREML = "coreml"


class Precision(StrEnum):
    """With which numbers an artefact stores its weights, and computes where the machine can.

    ``int8`` measures the range of every activation on calibration images beforehand, ``int8-dynamic`` measures it
    anew in every batch and needs no images.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT8_DYNAMIC = "int8-dynamic"


POSSIBLE: dict[ExportFormat, tuple[Precision, ...]] = {
    ExportFormat.ONNX: tuple(Precision),
    ExportFormat.TORCH: (Precision.BF16, Precision.FP16),  # in 32 bits it is the package itself
    ExportFormat.OPENVINO: (Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8),
    ExportFormat.LITERT: (Precision.FP32, Precision.FP16, Precision.INT8, Precision.INT8_DYNAMIC),
}
"""What can be written and held to the gate here."""

_ELSEWHERE = {
    ExportFormat.TENSORRT: ("tensorrt", "TensorRT compiles for one NVIDIA GPU, on the machine that has it"),
    ExportFormat.COREML: ("coremltools", "Core ML models compute on Apple machines only"),
}
"""Formats that can be computed on other machines only: the module of their toolkit, and which machines."""

_LITERT_TOOLKIT = ("litert_torch", "ai_edge_quantizer", "ai_edge_litert")
"""What writes a LiteRT graph, makes it smaller and computes it; no part of the installation."""


def check_kind(format_name: str, precision_name: str) -> tuple[ExportFormat, Precision]:
    """The format and precision that a person means.

    Raises:
        BadInput: there is no such format or precision, they do not go together, the format's toolkit is missing, or
            this processor does not compute in that precision.
    """
    try:
        kind = ExportFormat(format_name)
    except ValueError:
        formats = ", ".join(ExportFormat)
        raise BadInput(f"There is no format {format_name!r}.", remedy=f"Formats: {formats}.") from None
    if kind in _ELSEWHERE:
        module, why = _ELSEWHERE[kind]
        if find_spec(module) is None:
            cause, remedy = f"{why}; the package {module} is not installed.", "Take --format openvino or onnx here."
        else:
            cause = "An artefact leaves only after it was run against the network, and this release cannot run it."
            remedy = f"Export --format onnx, which passes the gate here, and compile {ONNX_NAME} with {module} there."
        raise BadInput(f"{kind.value} cannot be exported here.", cause=cause, remedy=remedy)
    if kind is ExportFormat.LITERT and (missing := [name for name in _LITERT_TOOLKIT if find_spec(name) is None]):
        raise BadInput(
            "litert cannot be exported here.",
            cause=f"LiteRT graphs are written by a toolkit of its own; missing: {', '.join(missing)}.",
            remedy="Install it with `pip install --no-deps -r deploy/litert-toolkit.txt` (that file says why), or take"
            " --format openvino or onnx.",
        )
    try:
        precision = Precision(precision_name)
    except ValueError:
        precisions = ", ".join(Precision)
        raise BadInput(f"There is no precision {precision_name!r}.", remedy=f"Precisions: {precisions}.") from None
    if precision not in POSSIBLE[kind]:
        raise BadInput(f"{kind.value} has no {precision.value}.", remedy=f"Precisions: {', '.join(POSSIBLE[kind])}.")
    if reason := not_computed_here(kind, precision):
        raise BadInput(
            f"{kind.value} cannot be exported in {precision.value} here.",
            cause=reason,
            remedy=f"Export on a machine that has {precision.value}, or take another --precision.",
        )
    return kind, precision


def not_computed_here(kind: ExportFormat, precision: Precision) -> str | None:
    """Why the parity gate could not see here what another processor would compute; ``None``: it can."""
    if (kind, precision) == (ExportFormat.OPENVINO, Precision.BF16) and not openvino_computes_bf16():
        return (
            "This processor has no bf16: the parity gate would compare 32-bit floats with themselves, and nobody would"
            " have seen what a processor with bf16 decides."
        )
    return None


ONNX_NAME = "model.onnx"
"""The graph's file in an ONNX artefact."""

OPENVINO_NAME = "model.xml"
"""The graph's file in an OpenVINO artefact; ``model.bin`` beside it holds the weights."""

LITERT_NAME = "model.tflite"
"""The graph's file in a LiteRT artefact."""

GRAPH_FILE = {
    ExportFormat.ONNX: ONNX_NAME,
    ExportFormat.OPENVINO: OPENVINO_NAME,
    ExportFormat.TORCH: "",
    ExportFormat.LITERT: LITERT_NAME,
}
"""The file that a runtime opens; torch opens the folder."""
