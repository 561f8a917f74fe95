"""What computes a packaged model: torch, ONNX Runtime or OpenVINO behind one function from pixels to logits."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import BadInput
from domain_models.model_package import ONNX_FILE, ONNX_INPUT, ModelCard, load_package
from domain_models.preprocessing import normalise

Compute = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 [n, H, W, C] prepared pixels to float32 [n, k] logits (before the temperature)."""


class Runtime(StrEnum):
    """``auto`` takes torch where there is a GPU, else OpenVINO or ONNX Runtime where the package has a graph."""

    AUTO = "auto"
    TORCH = "torch"
    ONNX = "onnx"
    OPENVINO = "openvino"


def resolve_runtime(name: str, package: Path) -> Runtime:
    """The runtime that a person means; never ``auto``.

    Raises:
        BadInput: there is no such runtime, or the package has no graph for it.
    """
    try:
        runtime = Runtime(name)
    except ValueError:
        raise BadInput(
            f"There is no runtime {name!r}.", remedy=f"Runtimes: {', '.join(item.value for item in Runtime)}."
        ) from None
    has_graph = (package / ONNX_FILE).is_file()
    if runtime is Runtime.AUTO:
        import torch

        if torch.cuda.is_available() or not has_graph:
            return Runtime.TORCH
        # On a CPU it computes small convolutional networks several times faster than the others.
        return Runtime.OPENVINO if find_spec("openvino") else Runtime.ONNX
    if runtime is not Runtime.TORCH and not has_graph:
        raise BadInput(
            f"This model has no {ONNX_FILE}, so --runtime {runtime.value} cannot compute it.",
            remedy="Use --runtime torch.",
        )
    return runtime


def open_runtime(runtime: Runtime, package: Path, card: ModelCard) -> Compute:
    """Load a package into a runtime.

    All runtimes compute in 32-bit floats: OpenVINO would otherwise pick bf16 on some processors without a word, and
    decisions near a threshold would depend on the machine.

    Args:
        runtime: anything but ``auto``; see :func:`resolve_runtime`.
        package: folder of the model package.
        card: its card, for the preprocessing.
    """
    return _OPENERS[runtime](package, card)


def _torch(package: Path, card: ModelCard) -> Compute:
    import torch

    from domain_models.preprocessing import to_tensor

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, _ = load_package(package, device=device)

    def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = network(to_tensor(batch, card.preprocessing).to(device)).float().cpu().numpy()
        return logits

    return compute


def _onnx(package: Path, card: ModelCard) -> Compute:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(package / ONNX_FILE), providers=["CPUExecutionProvider"])

    def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = np.ascontiguousarray(normalise(batch, card.preprocessing))
        return np.asarray(session.run(None, {ONNX_INPUT: pixels})[0], dtype=np.float32)

    return compute


def _openvino(package: Path, card: ModelCard) -> Compute:
    import openvino

    core = openvino.Core()
    model = core.compile_model(str(package / ONNX_FILE), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    output = model.output(0)

    def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = np.ascontiguousarray(normalise(batch, card.preprocessing))
        return np.array(model({0: pixels})[output], dtype=np.float32)

    return compute


_OPENERS: dict[Runtime, Callable[[Path, ModelCard], Compute]] = {
    Runtime.TORCH: _torch,
    Runtime.ONNX: _onnx,
    Runtime.OPENVINO: _openvino,
}
