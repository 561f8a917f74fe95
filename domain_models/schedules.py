"""Learning-rate schedules: the factor on the base rate at each optimiser step."""

from __future__ import annotations

import math
from collections.abc import Callable

from domain_models.training_config import ScheduleKind

Schedule = Callable[[float, float], float]
"""Share of the way after warm-up (0..1) and the final factor to the factor on the learning rate."""


def cosine(share: float, final: float) -> float:
    """Half a cosine from 1 to ``final`` (Loshchilov and Hutter, ICLR 2017)."""
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


def constant(share: float, final: float) -> float:
    """1 throughout."""
    del share, final
    return 1.0


RISE = 0.3
"""The share of a one-cycle training in which the rate rises."""

FIRST_OF_CYCLE = 1 / 25
"""The factor that one cycle begins with."""

CYCLES = 3
"""Cosines of a training with warm restarts; each is twice as long as the one before."""


def one_cycle(share: float, final: float) -> float:
    """Up to 1 along a cosine, then down to ``final`` (Smith and Topin, 2019); the warm-up is part of it."""
    if share < RISE:
        return cosine(1.0 - share / RISE, FIRST_OF_CYCLE)
    return cosine((share - RISE) / (1.0 - RISE), final)


def warm_restarts(share: float, final: float) -> float:
    """Cosines one after another, each twice as long as the last (SGDR, Loshchilov and Hutter, ICLR 2017)."""
    begin, length = 0.0, 1.0 / (2**CYCLES - 1)
    while share >= begin + length and length < 2 ** (CYCLES - 1) / (2**CYCLES - 1):
        begin, length = begin + length, 2 * length
    return cosine((share - begin) / length, final)


SCHEDULES: dict[ScheduleKind, Schedule] = {
    ScheduleKind.COSINE: cosine,
    ScheduleKind.CONSTANT: constant,
    ScheduleKind.ONE_CYCLE: one_cycle,
    ScheduleKind.WARM_RESTARTS: warm_restarts,
}


def rate_factor(step: int, steps: int, warm_up: int, kind: ScheduleKind, final: float) -> float:
    """The factor on the learning rate at one step.

    Args:
        step: 0 is the first.
        steps: in the whole training.
        warm_up: steps of linear rise; the first step has ``1 / warm_up``, the step ``warm_up`` is the first at 1.
        kind: what follows.
        final: factor at the end.
    """
    if step < warm_up:
        return (step + 1) / warm_up
    return SCHEDULES[kind]((step - warm_up) / max(1, steps - 1 - warm_up), final)
