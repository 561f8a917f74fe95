"""The number format in which a network learns fastest on this processor: measured once per network, and kept."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from data_contracts.progress import SILENT, Progress
from domain_models.architecture import Architecture, Mirror
from domain_models.backbones import build_network
from domain_models.kept_measurements import kept_or_measured
from domain_models.number_formats import autocast
from domain_models.processor import processor_name
from domain_models.stage_split import freeze_stages, set_training_mode
from domain_models.training_config import Precision, TrainingConfig
from domain_models.training_phases import architecture_of

WORTH = 1.1
"""16-bit floats are taken where they are at least so many times as fast; below, the plain way stays."""

FEWEST_STEPS = 400
"""A shorter training in 32-bit floats is over before measuring would have paid."""

ROUNDS = 5
"""Steps timed in each format, in turn, after one that prepares memory; the fastest of each counts."""


class TrainingRates(BaseModel):
    """Images per second of forward and backward alone, by the number format of the forward pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fp32: float = Field(gt=0)
    bf16: float = Field(gt=0)

    @property
    def fastest(self) -> Precision:
        """bf16 only where it is clearly faster."""
        return Precision.BF16 if self.bf16 >= WORTH * self.fp32 else Precision.FP32


def in_fastest_format(
    config: TrainingConfig, classes: int, images: int, folder: Path, progress: Progress = SILENT
) -> tuple[TrainingConfig, str | None]:
    """The configuration with the number format that is faster on this processor, and a sentence that says so.

    Only ``precision=fastest`` is decided, and measured only on a processor that knows 16-bit floats, for trainings that
    are long enough to gain from it; elsewhere it is ``auto``. Decisions are kept, so that the same training has the
    same settings on this machine.

    Args:
        config: of a whole training.
        classes: how many the classifier has.
        images: that it learns from in each epoch.
        folder: of kept measurements; a damaged one is made again.
        progress: told of a measurement, not of a kept one.
    """
    if config.precision is not Precision.FASTEST:
        return config, None
    usual = config.model_copy(update={"precision": Precision.AUTO})
    steps = config.epochs * math.ceil(images / config.batch_size)
    if torch.device(config.device).type != "cpu" or steps < FEWEST_STEPS or not computes_bf16():
        return usual, None
    rates = _kept(folder, config, classes, progress)
    if rates.fastest is Precision.FP32:
        return usual, None
    sentence = (
        f"It learns in 16-bit floats (bf16) where that is safe, as torch decides by operator: {rates.bf16:.0f} images a"
        f" second instead of {rates.fp32:.0f} in 32 bits, forward and backward alone, on this processor."
    )
    return config.model_copy(update={"precision": rates.fastest}), sentence


def computes_bf16() -> bool:
    """Whether this processor multiplies 16-bit floats by itself; elsewhere torch would imitate them, slowly."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def training_rates(config: TrainingConfig, classes: int) -> TrainingRates:
    """How fast the network of this configuration goes forward and backward over noise, in both formats.

    It is measured with all threads that torch has now; frozen stages go forward only.
    """
    state = torch.random.get_rng_state()
    network = build_network(_architecture(config, classes))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    set_training_mode(network, freeze_stages(network, config.frozen_stages))
    spec = config.preprocessing
    images = torch.randn(config.batch_size, 3, spec.height, spec.width).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, (config.batch_size,))
    seconds: dict[Precision, list[float]] = {Precision.FP32: [], Precision.BF16: []}
    for _ in range(1 + ROUNDS):
        for precision, taken in seconds.items():
            began = time.perf_counter()
            with autocast(config.model_copy(update={"precision": precision})):
                logits = network(images)
            nn.functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
            network.zero_grad()
            taken.append(time.perf_counter() - began)
    torch.random.set_rng_state(state)
    rates = {precision: config.batch_size / min(taken[1:]) for precision, taken in seconds.items()}
    return TrainingRates(fp32=rates[Precision.FP32], bf16=rates[Precision.BF16])


def _kept(folder: Path, config: TrainingConfig, classes: int, progress: Progress) -> TrainingRates:
    spec = config.preprocessing
    content = [
        _architecture(config, classes).model_dump(mode="json", exclude={"classes"}),
        spec.height,
        spec.width,
        config.batch_size,
        config.frozen_stages,
    ]
    content += [torch.__version__, torch.get_num_threads(), processor_name()]

    def measure() -> TrainingRates:
        with progress.step("Measuring which number format learns faster here"):
            return training_rates(config, classes)

    return kept_or_measured(folder, content, TrainingRates, measure)


def _architecture(config: TrainingConfig, classes: int) -> Architecture:
    return architecture_of(config, classes).model_copy(update={"mirror": Mirror.NONE})  # it learns from one look
