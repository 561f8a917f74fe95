"""A packaged network in torch: pixels to the device as bytes, channels last, and half precision where it was agreed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.errors import BadInput
from data_contracts.settings import read_settings
from domain_models.compute import Compute, Threads
from domain_models.device import compute_device
from domain_models.export.kinds import Precision
from domain_models.model_card import ModelCard
from domain_models.model_package import load_package
from domain_models.preprocessing import Preprocessing

AUTOCAST = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
"""What convolutions and matrix products compute in; all else stays in 32-bit floats, as do the weights on disk."""


def open_torch(package: Path, card: ModelCard, precision: Precision, threads: Threads | None) -> Compute:
    """Load a package; on a GPU where there is one.

    32-bit floats are just these on a GPU too: torch would round to 10 bits there (TF32) without a word.
    ``TAILSIGHT_TORCH_COMPILE=1`` compiles the network at its first batches, which takes a minute and then computes
    sooner.

    Args:
        package: its folder, or that of an artefact with weights and card.
        card: of the model, for the preprocessing.
        precision: of the arithmetic: fp32, or one of :data:`AUTOCAST`.
        threads: how to share cores; without it one batch has all that torch likes.
    """
    device = torch.device(compute_device())
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    network: Callable[[torch.Tensor], torch.Tensor] = load_package(package, device=device.type)[0]
    if read_settings().torch_compile:
        network = _Compiled(network)
    normalise = Normaliser(card.preprocessing, device)
    mine = threading.local()

    def arithmetic() -> AbstractContextManager[object]:
        kind = AUTOCAST.get(precision)
        return nullcontext() if kind is None else torch.autocast(device.type, dtype=kind)

    def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        if threads is not None and not hasattr(mine, "told"):  # the number of threads is each calling thread's own
            torch.set_num_threads(threads.of_each)
            mine.told = True
        with torch.inference_mode(), arithmetic():
            logits: NDArray[np.float32] = network(normalise(batch)).float().cpu().numpy()
        return logits

    return compute


class Normaliser:
    """The network's input on its device; what crosses over are bytes, a quarter of the floats.

    Args:
        spec: whose mean and std are used.
        device: where the input is wanted.
    """

    def __init__(self, spec: Preprocessing, device: torch.device) -> None:
        std = torch.tensor(spec.std, dtype=torch.float32)
        shape, self._device = (1, 3, 1, 1), device
        self._scale = (1.0 / (255.0 * std)).view(shape).to(device)
        self._shift = (-torch.tensor(spec.mean, dtype=torch.float32) / std).view(shape).to(device)

    def __call__(self, batch: NDArray[np.uint8]) -> torch.Tensor:
        """float32 [n, 3, H, W], channels last, of uint8 [n, H, W, C]; as ``preprocessing.normalise`` computes it."""
        pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device).permute(0, 3, 1, 2)
        return (pixels.float() * self._scale + self._shift).contiguous(memory_format=torch.channels_last)


class _Compiled:
    """A compiled network; threads wait for one another while a batch size is new, because compiling is global."""

    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._network = torch.compile(network)
        self._known: set[tuple[object, ...]] = set()
        self._compiling = threading.Lock()

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        key = (tuple(batch.shape), torch.is_autocast_enabled(batch.device.type))
        if key in self._known:
            return self._network(batch)
        with self._compiling:
            try:
                logits = self._network(batch)
            except torch._dynamo.exc.TorchDynamoException as error:
                raise BadInput(
                    "torch cannot compile this network here.",
                    cause=str(error).strip().splitlines()[0],
                    remedy="It needs a C++ compiler, on a GPU Triton too; unset TAILSIGHT_TORCH_COMPILE to go without.",
                ) from None
            self._known.add(key)
        return logits
