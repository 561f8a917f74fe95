"""In which number format and memory format a network learns fastest here, and what a fused optimiser saves."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from domain_models.training_config import TrainingConfig
from domain_models.training_phases import fresh_network

SECONDS = 8.0
"""Of each measurement; the first two steps are left out."""

BACKBONES = {"tf_efficientnet_lite0": "bundled", "resnet18": "none"}
FORMATS = {
    "fp32, contiguous": (None, torch.contiguous_format),
    "fp32, channels last": (None, torch.channels_last),
    "bf16 autocast, channels last": (torch.bfloat16, torch.channels_last),
}


def format_rates(config: TrainingConfig, classes: int) -> dict[str, Any]:
    """Images per second of forward and backward by backbone and format, and milliseconds of an optimiser step."""
    found: dict[str, Any] = {}
    for backbone, weights in BACKBONES.items():
        own = config.model_copy(update={"backbone": backbone, "weights": weights})
        found[backbone] = {name: _rate(own, classes, dtype, layout) for name, (dtype, layout) in FORMATS.items()}
    network = fresh_network(config, classes)
    for name, fused in (("AdamW", None), ("AdamW, fused", True)):
        found[name] = _step_milliseconds(network, fused)
    return found


def _rate(config: TrainingConfig, classes: int, dtype: torch.dtype | None, layout: torch.memory_format) -> float:
    spec = config.preprocessing
    network = fresh_network(config, classes).to(memory_format=layout).train()  # type: ignore[call-overload]
    images = torch.randn(config.batch_size, 3, spec.height, spec.width).contiguous(memory_format=layout)
    labels = torch.randint(classes, (config.batch_size,))
    steps, began = -2, 0.0
    while steps < 1 or time.perf_counter() - began < SECONDS:
        if steps == 0:
            began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
            logits = network(images)
        nn.functional.cross_entropy(logits.float(), labels).backward()
        network.zero_grad()
        steps += 1
    return steps * config.batch_size / (time.perf_counter() - began)


def _step_milliseconds(network: nn.Module, fused: bool | None) -> float:
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter) * 1e-6
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=fused)
    optimiser.step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS / 4:
        optimiser.step()
        steps += 1
    return 1000 * (time.perf_counter() - began) / steps
