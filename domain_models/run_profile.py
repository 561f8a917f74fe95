"""Where the time of a fine-tuning goes: seconds of each part of the loop, the dearest operators, a trace to look at.

The operators and the trace are of a few steps only, recorded by PyTorch's profiler; the seconds are of all steps.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch.profiler import ProfilerActivity, profile, record_function, schedule

SKIPPED_STEPS, WARM_UP_STEPS, RECORDED_STEPS = 2, 2, 8
"""The first steps are slower than all others; the first that the profiler watches are slowed by its own start."""

SHOWN_OPERATORS = 10


class Part(StrEnum):
    """What the fine-tuning loop does at a time."""

    INPUTS = "waiting for inputs"
    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMISER = "optimiser"
    VALIDATION = "validation"


class Operator(BaseModel):
    """One kind of operator in the recorded steps: ``seconds`` are its own, without those of the operators it calls."""

    model_config = ConfigDict(frozen=True)

    name: str
    calls: int
    seconds: float


class ProfileReport(BaseModel):
    """Where the time went.

    Attributes:
        seconds: of the fine-tuning loop, in this process.
        parts: seconds by :class:`Part`; what is left is the loop's own work.
        recorded_steps: how many steps are in the trace and behind ``operators``; 0 where nothing was left to learn.
        operators: the dearest first.
        trace: Chrome trace (gzipped JSON), for Perfetto or ``chrome://tracing``; ``None`` without recorded steps.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float
    parts: dict[str, float]
    recorded_steps: int
    operators: tuple[Operator, ...]
    trace: str | None

    @property
    def sentence(self) -> str:
        """The shares in words."""
        if self.recorded_steps == 0:
            return "Profile: nothing was left to learn, so nothing was measured; another --seed learns anew."
        shares = [f"{name} {seconds / self.seconds:.0%}" for name, seconds in self.parts.items()]
        return f"Profile: of {self.seconds:.1f} s of fine-tuning, {', '.join(shares)}."


class Watch(Protocol):
    """Who is told what the loop does."""

    def part(self, part: Part) -> contextlib.AbstractContextManager[Any]:
        """A context for a part of the loop."""

    def step(self) -> None:
        """An optimiser step is done."""


class Unwatched:
    """Nobody is told."""

    def part(self, part: Part) -> contextlib.AbstractContextManager[Any]:  # noqa: ARG002
        """Nothing is measured."""
        return contextlib.nullcontext()

    def step(self) -> None:
        """Nothing is counted."""


class RunProfile:
    """Measures one fine-tuning and changes nothing of its result.

    Args:
        trace: where to write the Chrome trace; its name ends in ``.json.gz``.
    """

    def __init__(self, trace: Path) -> None:
        self._trace = trace
        self._seconds = dict.fromkeys(Part, 0.0)
        self._whole, self._recorded = 0.0, 0
        self._operators: tuple[Operator, ...] = ()
        self._profiler: Any = None
        self._cuda = False

    @contextlib.contextmanager
    def watching(self, steps: int, device: str) -> Iterator[None]:
        """Measure what happens inside.

        Args:
            steps: optimiser steps that are planned; of few, fewer are recorded.
            device: a torch device; on a GPU each part waits until its work is done, so that it counts as its own.
        """
        self._cuda = torch.device(device).type == "cuda"
        began = time.perf_counter()
        try:
            if steps == 0:
                yield
                return
            warm_up = min(WARM_UP_STEPS, (steps - 1) // 2)
            skipped = min(SKIPPED_STEPS, max(0, steps - 1 - warm_up) // 2)
            recorded = min(RECORDED_STEPS, steps - skipped - warm_up)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*warmup", category=UserWarning)  # of one or two steps
                plan = schedule(skip_first=skipped, wait=0, warmup=warm_up, active=recorded, repeat=1)
                activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._cuda else [])]
                self._profiler = profile(activities=activities, schedule=plan, on_trace_ready=self._read)
                with self._profiler:
                    yield
        finally:
            self._profiler = None
            self._whole += time.perf_counter() - began

    @contextlib.contextmanager
    def part(self, part: Part) -> Iterator[None]:
        """See :class:`Watch`."""
        began = time.perf_counter()
        with record_function(part.value):
            yield
            if self._cuda:
                torch.cuda.synchronize()
        self._seconds[part] += time.perf_counter() - began

    def step(self) -> None:
        """See :class:`Watch`."""
        if self._profiler is not None:
            self._profiler.step()

    def report(self) -> ProfileReport:
        """What was measured."""
        return ProfileReport(
            seconds=self._whole,
            parts={part.value: seconds for part, seconds in self._seconds.items()},
            recorded_steps=self._recorded,
            operators=self._operators,
            trace=str(self._trace) if self._recorded else None,
        )

    def _read(self, profiler: Any) -> None:
        own = "self_device_time_total" if self._cuda else "self_cpu_time_total"
        ours = {part.value for part in Part}
        every = profiler.key_averages()
        self._recorded = sum(row.count for row in every if row.key.startswith("ProfilerStep"))
        rows = [row for row in every if row.key not in ours and not row.key.startswith("ProfilerStep")]
        rows.sort(key=lambda row: getattr(row, own), reverse=True)
        self._operators = tuple(
            Operator(name=row.key, calls=row.count, seconds=getattr(row, own) / 1e6) for row in rows[:SHOWN_OPERATORS]
        )
        self._trace.parent.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self._trace))
