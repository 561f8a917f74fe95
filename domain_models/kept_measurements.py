"""What was measured on this machine, kept in a file that is named by all that the measurement depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from data_contracts.workspace import write_atomically

Measurement = TypeVar("Measurement", bound=BaseModel)


def kept_or_measured(
    folder: Path, depends_on: Sequence[object], kind: type[Measurement], measure: Callable[[], Measurement]
) -> Measurement:
    """The measurement that is kept for these circumstances, or a new one, which is then kept.

    Args:
        folder: of such measurements; a damaged one is made again. Where it cannot be written, nothing is kept.
        depends_on: the circumstances, as JSON can write them.
        kind: what is read back.
        measure: called only where nothing usable is kept.
    """
    path = folder / f"{hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]}.json"
    if path.is_file():
        try:
            return kind.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError):
            path.unlink()
    found = measure()
    with suppress(OSError):  # a server may see the workspace read-only
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, found.model_dump_json(indent=2) + "\n")
    return found
