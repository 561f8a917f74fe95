"""What of the demo is done, with its report: a killed demo asks and trains nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_contracts.workspace import write_atomically


class DemoNotes:
    """Reports by name in one small file.

    Every verb is idempotent by content, but the ledger moves on while the demo runs: curating again after a review
    round gives another dataset version, and with it another full training.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def once(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The report of ``work``, which is not done again where its report is noted already."""
        if name not in self._done:
            self._done[name] = work()
            write_atomically(self._path, json.dumps(self._done, default=str))
        return self._done[name]
