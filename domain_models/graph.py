"""The network as an ONNX graph from stored pixels to logits: normalisation travels inside the graph."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_contracts.errors import Refused
from domain_models.graph_names import GRAPH_INPUT, GRAPH_OUTPUT
from domain_models.preprocessing import Preprocessing, to_tensor

TOLERANCE = 1e-3
"""Largest difference of a logit, relative to the largest logit of the batch, between torch and ONNX Runtime."""


class PixelsToLogits(nn.Module):
    """A network behind its normalisation: uint8 [n, H, W, C] to logits float32 [n, k].

    Normalised in numpy, half of two cores' time goes into it; inside the graph it is fused with the first layer.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, spec: Preprocessing) -> None:
        super().__init__()
        self.network = network
        std, mean = torch.tensor(spec.std), torch.tensor(spec.mean)
        self.register_buffer("scale", (1.0 / (255.0 * std)).view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Grey pixels become three channels by broadcasting."""
        logits: Tensor = self.network(pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift)
        return logits


def write_graph(path: Path, network: nn.Module, spec: Preprocessing) -> float:
    """Write the ONNX graph, whole or not at all, and return the largest difference from torch (in logits).

    Args:
        path: to be written.
        network: float32 [n, 3, H, W] to float32 [n, k], in evaluation mode on the CPU.
        spec: height, width, channels, mean and std.

    Raises:
        Refused: ONNX Runtime disagrees with torch at batch 1 or batch 3 by more than `TOLERANCE`.
    """
    temporary = path.with_name(f".{path.name}")
    flat = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    write_unchecked_graph(temporary, PixelsToLogits(flat, spec).eval(), spec)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    difference, relative = _difference(temporary, network, spec)
    if not relative <= TOLERANCE:
        temporary.unlink()
        raise Refused(
            f"The ONNX graph differs from the network by {difference:.2g} in a logit ({relative:.2g} of the largest).",
            remedy="Train with another backbone, or save the model without ONNX.",
        )
    temporary.replace(path)
    return difference


def write_unchecked_graph(path: Path, whole: nn.Module, spec: Preprocessing) -> None:
    """Write the ONNX graph of a network behind its normalisation, without asking whether it computes the same.

    Args:
        path: to be written.
        whole: uint8 [n, H, W, C] to float32 [n, k], in evaluation mode on the CPU.
        spec: height, width and channels.
    """
    example = torch.zeros((2, spec.height, spec.width, spec.channels), dtype=torch.uint8)
    with warnings.catch_warnings():
        # The TorchScript exporter writes one self-contained file in one second; its successor takes sixteen, splits
        # the weights off, and prints to stdout. Its deprecation is known.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            whole,
            (example,),
            str(path),
            input_names=[GRAPH_INPUT],
            output_names=[GRAPH_OUTPUT],
            dynamic_axes={GRAPH_INPUT: {0: "n"}, GRAPH_OUTPUT: {0: "n"}},
            dynamo=False,
        )


def _difference(path: Path, network: nn.Module, spec: Preprocessing) -> tuple[float, float]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    chance = np.random.default_rng(0)
    worst, worst_relative = 0.0, 0.0
    for n in (1, 3):
        pixels: NDArray[np.uint8] = chance.integers(0, 256, (n, spec.height, spec.width, spec.channels), dtype=np.uint8)
        with torch.inference_mode():
            expected = network(to_tensor(pixels, spec)).numpy()
        got = session.run(None, {GRAPH_INPUT: pixels})[0]
        difference = float(np.abs(got - expected).max())
        worst = max(worst, difference)
        worst_relative = max(worst_relative, difference / max(1.0, float(np.abs(expected).max())))
    return worst, worst_relative
