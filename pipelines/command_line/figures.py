"""How figures are written for a person: always with their interval, never with false precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def figure(report: Mapping[str, Any], name: str, digits: int = 3) -> str:
    """A figure with its 95% interval where there is one: ``0.812 (0.790 to 0.834)``."""
    value = report.get(name)
    if value is None:
        return "not defined"
    return f"{value:.{digits}f}{interval(report.get(f'{name}_ci'), digits)}"


def interval(limits: Any, digits: int = 3) -> str:
    """An interval in brackets, or nothing."""
    ends = bounds(limits)
    return f" ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})" if ends else ""


def bounds(limits: Any) -> tuple[float, float] | None:
    """Both ends of an interval, given as a pair or as low and high."""
    if isinstance(limits, Mapping):
        limits = (limits.get("low"), limits.get("high"))
    if not isinstance(limits, list | tuple) or len(limits) != 2 or None in limits:
        return None
    return float(limits[0]), float(limits[1])


def percent(share: float | None) -> str:
    """A share as a percentage."""
    return "unknown" if share is None else f"{100 * share:.1f}%"


def percent_interval(limits: Any) -> str:
    """An interval of shares as percentages, in brackets, or nothing."""
    ends = bounds(limits)
    return f" ({percent(ends[0])} to {percent(ends[1])})" if ends else ""
