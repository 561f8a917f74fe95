"""What a verb hands back to its caller: one JSON object, or a short summary for a person."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from data_contracts.errors import TailsightError

PLAIN_WIDTH = 120
"""Columns of a summary that goes to a file or a pipe."""

STDERR = Console(stderr=True, highlight=False, soft_wrap=True)


def finite(value: Any) -> Any:
    """``value`` with NaN and infinities as ``None``, so that it is JSON that every reader accepts."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def emit(report: Mapping[str, Any], summary: Callable[[Mapping[str, Any], Console], None], *, as_json: bool) -> None:
    """Print a verb's result on stdout: the JSON object and nothing else, or the summary."""
    if as_json:
        print(json.dumps(finite(report), ensure_ascii=False))
        sys.stdout.flush()
    else:
        summary(report, Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH))


def emit_error(what: str, *, cause: str | None = None, remedy: str | None = None, as_json: bool) -> None:
    """Tell a person on stderr what went wrong, why, and what to do; with ``--json`` a program on stdout as well."""
    STDERR.print(f"tailsight: {what}", style="bold red", markup=False)
    if cause:
        STDERR.print(f"  Why: {cause}", markup=False)
    if remedy:
        STDERR.print(f"  Do:  {remedy}", markup=False)
    if as_json:
        print(json.dumps({"error": {"what": what, "cause": cause, "remedy": remedy}}, ensure_ascii=False))
        sys.stdout.flush()


def emit_tailsight_error(error: TailsightError, *, as_json: bool) -> None:
    """Print an error of the tree in :mod:`data_contracts.errors`."""
    emit_error(error.what, cause=error.cause, remedy=error.remedy, as_json=as_json)
