"""What computes a model: torch, ONNX Runtime, OpenVINO or LiteRT behind one function from pixels to logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import BadInput, IntegrityError
from domain_models.cascade import FIRST_FOLDER, cascading
from domain_models.compute import Compute, Threads
from domain_models.device import compute_device
from domain_models.export.kinds import Precision
from domain_models.graph_names import NORMALISED_INPUT
from domain_models.model_card import CARD_FILE, ONNX_FILE, ModelCard, read_card
from domain_models.openvino_toolkit import load_openvino, openvino_computes_bf16
from domain_models.preprocessing import normalise
from domain_models.second_look import SecondLook, looking_twice


class Runtime(StrEnum):
    """``auto`` takes torch where there is a GPU, else OpenVINO or ONNX Runtime where the package has a graph.

    LiteRT computes what was exported for it, and no package.
    """

    AUTO = "auto"
    TORCH = "torch"
    ONNX = "onnx"
    OPENVINO = "openvino"
    LITERT = "litert"


@dataclass(frozen=True)
class Computable:
    """Something that a runtime can open.

    Attributes:
        runtime: never ``auto``.
        source: the package's folder for torch, else the graph's file.
        precision: of weights and arithmetic.
        exported: whether it is an artefact that passed the parity gate, and not the package itself.
        second_look: which images the same graph computes again in 32-bit floats.
        first: of a cascade, the small model that answers what it is sure of; ``source`` is then the large one.
    """

    runtime: Runtime
    source: Path
    precision: Precision = Precision.FP32
    exported: bool = False
    second_look: SecondLook | None = None
    first: Computable | None = None

    @property
    def name(self) -> str:
        """How folders, reports and people call it: ``openvino-bf16``; the package itself is just ``openvino``."""
        return f"{self.runtime.value}-{self.precision.value}" if self.exported else self.runtime.value

    @property
    def package(self) -> Path:
        """The folder of the package, where the source is not exported."""
        return self.source if self.source.is_dir() else self.source.parent

    def is_in_reach(self) -> bool:
        """Whether this process can read all that is to be opened."""
        return self.source.exists() and (self.first is None or self.first.is_in_reach())


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
        if not has_graph or compute_device() != "cpu":
            return Runtime.TORCH
        # On a CPU it computes small convolutional networks several times faster than the others.
        return Runtime.OPENVINO if find_spec("openvino") else Runtime.ONNX
    if runtime not in (Runtime.TORCH, Runtime.LITERT) and not has_graph:
        raise BadInput(
            f"This model has no {ONNX_FILE}, so --runtime {runtime.value} cannot compute it.",
            remedy="Use --runtime torch.",
        )
    return runtime


def packaged(runtime: Runtime, package: Path) -> Computable:
    """The package itself in a runtime, in 32-bit floats; of a cascade, both networks."""
    inner = package / FIRST_FOLDER
    first = packaged(runtime, inner) if (inner / CARD_FILE).is_file() else None
    return Computable(runtime, package if runtime is Runtime.TORCH else package / ONNX_FILE, first=first)


def open_runtime(runtime: Runtime, package: Path, card: ModelCard) -> Compute:
    """Load a package into a runtime, for one batch at a time; see :func:`open_computable`.

    Args:
        runtime: anything but ``auto``; see :func:`resolve_runtime`.
        package: folder of the model package.
        card: its card, for the preprocessing.
    """
    return open_computable(packaged(runtime, package), card)


def open_computable(item: Computable, card: ModelCard, threads: Threads | None = None) -> Compute:
    """Load a package or an artefact into its runtime.

    The precision is never left to the runtime: OpenVINO would pick bf16 on some processors without a word, and
    decisions near a threshold would depend on the machine.

    Args:
        item: what to open.
        card: of the model, for the preprocessing.
        threads: how to share cores; without it one batch has all that the runtime likes.
    """
    compute = _OPENERS[item.runtime](item, card, threads)
    return compute if item.first is None else _cascade(item.first, compute, card, threads)


def _cascade(first: Computable, large: Compute, card: ModelCard, threads: Threads | None) -> Compute:
    """Both networks share the cores alike: a thread asks one after the other, so one of them rests."""
    if card.cascade is None:
        raise IntegrityError(f"The package {first.package.parent} holds two networks, and its card speaks of one.")
    own = read_card(first.package)
    return cascading(
        _OPENERS[first.runtime](first, own, threads),
        large,
        card.cascade,
        first_spec=own.preprocessing,
        first_calibration=own.calibrated_by,
        costs=card.decision_costs,
        temperature=card.temperature,
    )


def _onnx(item: Computable, card: ModelCard, threads: Threads | None) -> Compute:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads.of_each
    session = onnxruntime.InferenceSession(str(item.source), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {name: _as_input(name, batch, card)})[0], dtype=np.float32)

    return compute


def _openvino(item: Computable, card: ModelCard, threads: Threads | None) -> Compute:
    if item.precision is not Precision.BF16 or not openvino_computes_bf16():
        return _openvino_compute(item, card, threads, "f32")  # nothing to look at twice
    compute = _openvino_compute(item, card, threads, "bf16")
    if item.second_look is None:
        return compute
    return looking_twice(compute, _openvino_compute(item, card, threads, "f32"), card, item.second_look)


def _openvino_compute(item: Computable, card: ModelCard, threads: Threads | None, hint: str) -> Compute:
    wanted: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint}
    if threads is not None:
        wanted |= {"NUM_STREAMS": threads.at_once, "INFERENCE_NUM_THREADS": threads.cores}
    model = load_openvino().Core().compile_model(str(item.source), "CPU", wanted)
    name = model.input(0).any_name
    free: SimpleQueue[Any] = SimpleQueue()  # a request computes one batch at a time
    for _ in range(1 if threads is None else threads.at_once):
        request = model.create_infer_request()
        # The first call of all initialises OpenVINO's bindings: two threads that make it together wait for ever, one
        # for the interpreter's lock and the other for what the first is initialising.
        request.infer([_one_blank_image(model)], share_inputs=True)
        free.put(request)

    def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = _as_input(name, batch, card)
        request = free.get()
        try:
            request.infer([pixels], share_inputs=True)
            return np.array(request.get_output_tensor(0).data, dtype=np.float32)
        finally:
            free.put(request)

    return compute


def _one_blank_image(model: Any) -> NDArray[Any]:
    """Zeros as the graph's input takes them, for one image."""
    entry = model.input(0)
    shape = [1, *(side.get_length() for side in list(entry.partial_shape)[1:])]
    return np.zeros(shape, dtype=entry.element_type.to_dtype())


def _as_input(name: str, batch: NDArray[np.uint8], card: ModelCard) -> NDArray[Any]:
    pixels = np.ascontiguousarray(batch)
    return np.ascontiguousarray(normalise(pixels, card.preprocessing)) if name == NORMALISED_INPUT else pixels


def _torch(item: Computable, card: ModelCard, threads: Threads | None) -> Compute:
    from domain_models.torch_compute import open_torch

    compute = open_torch(item.source, card, item.precision, threads)
    if item.second_look is None:
        return compute
    return looking_twice(compute, open_torch(item.source, card, Precision.FP32, threads), card, item.second_look)


def _litert(item: Computable, card: ModelCard, threads: Threads | None) -> Compute:  # noqa: ARG001  # as the others
    from domain_models.litert_compute import open_litert

    return open_litert(item.source, threads)


_OPENERS: dict[Runtime, Callable[[Computable, ModelCard, Threads | None], Compute]] = {
    Runtime.TORCH: _torch,
    Runtime.ONNX: _onnx,
    Runtime.OPENVINO: _openvino,
    Runtime.LITERT: _litert,
}
