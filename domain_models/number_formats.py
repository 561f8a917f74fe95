"""In which number format a network computes on which kind of device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from domain_models.training_config import Precision, TrainingConfig


def _auto_precision(device_type: str) -> torch.dtype | None:
    return torch.bfloat16 if device_type == "cuda" else None


AUTOCAST: dict[Precision, Callable[[str], torch.dtype | None]] = {
    Precision.AUTO: _auto_precision,
    Precision.FASTEST: _auto_precision,  # where nobody has measured
    Precision.FP32: lambda _: None,
    Precision.BF16: lambda _: torch.bfloat16,
    Precision.FP16: lambda _: torch.float16,
}
"""Number format of each precision on a kind of device; ``None`` is plain fp32."""


def autocast(config: TrainingConfig) -> Any:
    """A context in which a network computes in the configuration's number format, on its device."""
    device = torch.device(config.device).type
    dtype = AUTOCAST[config.precision](device)
    return contextlib.nullcontext() if dtype is None else torch.autocast(device, dtype)
