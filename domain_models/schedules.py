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


SCHEDULES: dict[ScheduleKind, Schedule] = {ScheduleKind.COSINE: cosine, ScheduleKind.CONSTANT: constant}


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
