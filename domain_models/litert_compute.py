"""LiteRT behind one function from pixels to logits: one image at a time, as on the devices that it is made for."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import BadInput
from domain_models.compute import Compute, Threads


def open_litert(graph: Path, threads: Threads | None) -> Compute:
    """Load a LiteRT graph.

    Args:
        graph: from uint8 [1, H, W, C] to float32 [1, k].
        threads: how to share cores; without it one image has one core.

    Raises:
        BadInput: LiteRT is not installed.
    """
    if find_spec("ai_edge_litert") is None:
        raise BadInput(
            "LiteRT is not installed here.",
            cause="The package ai_edge_litert is missing.",
            remedy="Install it with `pip install 'tailsight[litert]'`, or take --runtime openvino or onnx.",
        )
    from ai_edge_litert.interpreter import Interpreter

    free: SimpleQueue[Any] = SimpleQueue()  # an interpreter computes one image at a time
    with _quiet_stderr():
        for _ in range(1 if threads is None else threads.at_once):
            one = Interpreter(model_path=str(graph), num_threads=1 if threads is None else threads.of_each)
            one.allocate_tensors()
            free.put(one)
    (entry,), (answer,) = one.get_input_details(), one.get_output_details()
    classes = int(answer["shape"][-1])

    def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = np.empty((len(batch), classes), dtype=np.float32)
        interpreter = free.get()
        try:
            for row, image in zip(logits, batch, strict=True):
                interpreter.set_tensor(entry["index"], np.ascontiguousarray(image[None]))
                interpreter.invoke()
                row[:] = interpreter.get_tensor(answer["index"])[0]
        finally:
            free.put(interpreter)
        return logits

    return compute


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """LiteRT greets on the terminal from outside Python, whenever it is loaded."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
