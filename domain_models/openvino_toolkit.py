"""The one door to OpenVINO and NNCF: loaded without telemetry and without chatter, the environment left as it was."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

from data_contracts.settings import variables_set

_NO_TELEMETRY = {"CI": "true", "NNCF_CI": "1"}
"""Both decide about telemetry while they are imported. Unless they believe to run in a test of theirs, or a file in the
user's home forbids it, they tell their maker of each import and of what is converted."""

_NOISY_LOGGERS = ("nncf", "root", "onnxruntime")


@cache
def load_openvino() -> ModuleType:
    """Import OpenVINO, with its telemetry client switched off for good."""
    with variables_set(_NO_TELEMETRY):
        import openvino

        package: ModuleType = openvino
        return package


@cache
def openvino_computes_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor; elsewhere it computes in 32-bit floats without a word."""
    return "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def load_nncf() -> ModuleType:
    """Import NNCF, with its telemetry client switched off for good."""
    load_openvino()
    with variables_set(_NO_TELEMETRY), quiet():
        import nncf
        import nncf.quantization.advanced_parameters
        import nncf.quantization.range_estimator

        package: ModuleType = nncf
        return package


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Toolkits that write to the terminal keep still: a person reads the gate's report instead."""
    loggers = [logging.getLogger(None if name == "root" else name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def folded_graph(path: str) -> Any:
    """An ONNX graph in OpenVINO, with what the exporter left to be computed of constants folded.

    Otherwise the weights of depthwise convolutions would stay floats among an 8-bit artefact's integers. The public
    converter does the same, and tells its maker about it.
    """
    openvino = load_openvino()
    with variables_set(_NO_TELEMETRY):
        from openvino._offline_transformations import apply_moc_transformations

    graph = openvino.Core().read_model(path)
    apply_moc_transformations(graph, cf=True)
    return graph


def first_and_last(network: Any, example: Any) -> list[str]:
    """How NNCF calls the first convolution and the last linear layer that a torch network computes.

    Args:
        network: a module.
        example: its input for one image.
    """
    load_nncf()
    from nncf.torch.function_hook.nncf_graph.nncf_graph_builder import build_nncf_graph

    nodes = build_nncf_graph(network, example).topological_sort()
    first = next(node.node_name for node in nodes if node.node_type == "conv2d")
    return [first, next(node.node_name for node in reversed(nodes) if node.node_type == "linear")]


def graph_of_rounding(path: str) -> Any:
    """An ONNX graph with NNCF's rounding in it, in OpenVINO, with weights as the integers that they were rounded to."""
    openvino = load_openvino()
    with variables_set(_NO_TELEMETRY):
        from openvino._offline_transformations import (
            apply_moc_transformations,
            compress_quantize_weights_transformation,
        )

    graph = openvino.Core().read_model(path)
    apply_moc_transformations(graph, cf=False)  # constants folded, the rounding of weights would be gone
    compress_quantize_weights_transformation(graph)
    return graph
