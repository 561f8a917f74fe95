"""Served images that a person should look at, kept where ``tailsight queue`` finds them: as scored batches.

An image is kept under the hash of its bytes, readable by its owner alone; a row of scores names it. The rows of an
hour, at most two thousand, are one batch, written anew as a whole whenever rows have come. Nothing waits for it: an
image is answered first, and dropped from the log where there is no room.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.disk_space import require_space
from data_contracts.errors import BadInput, NoSpace
from data_contracts.frames import SCORES, checked
from data_contracts.image_formats import sniff
from data_contracts.workspace import Workspace, write_atomically
from domain_models.model_card import ModelCard
from pipelines.serving.figures import Figures
from pipelines.serving.options import MEGABYTE
from pipelines.serving.served_model import ServedModel
from pipelines.steps.decisions import Decider
from pipelines.steps.score_names import keep_words
from pipelines.steps.score_parts import PROBABILITY, arrow_schema

FLUSH_SECONDS = 2.0
"""A killed server loses the rows of so many seconds."""

_ROWS, _BATCH_SECONDS = 2000, 3600.0
_MOST_PENDING = 128 * MEGABYTE
_DECIDED = ("predicted", "confidence", "margin", "entropy", "conformal_set", "decision", "reason")
_LOG = logging.getLogger("tailsight.serving")


@dataclass(frozen=True)
class Kept:
    """An image to keep. ``own``: float64 [k], calibrated probabilities of the model's own classes."""

    model: ServedModel
    card: ModelCard
    image_id: str
    data: bytes = field(repr=False)
    own: NDArray[np.float64]


@dataclass
class _Batch:
    model: ServedModel
    card: ModelCard
    folder: Path
    began: float
    rows: dict[str, tuple[Path, NDArray[np.float64]]] = field(default_factory=dict)

    def takes(self, one: Kept) -> bool:
        same = (self.model.version, self.model.runtime) == (one.model.version, one.model.runtime)
        return same and len(self.rows) < _ROWS and time.monotonic() - self.began < _BATCH_SECONDS

    def write(self) -> None:
        decided = Decider.from_card(self.card).decide_of(np.stack([own for _, own in self.rows.values()]))
        rows = [
            {
                "path": str(path),
                "image_id": image_id,
                "model_version": self.model.version,
                "error": None,
                **{name: getattr(one, name) for name in _DECIDED},
                **{f"{PROBABILITY}{name}": p for name, p in zip(self.card.classes, own.tolist(), strict=True)},
            }
            for (image_id, (path, own)), one in zip(self.rows.items(), decided, strict=True)
        ]
        schema = arrow_schema(self.card.classes)
        frame = checked(pd.DataFrame(rows, columns=schema.names), SCORES)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), sink)
        keep_words(self.folder, self.card)
        write_atomically(self.folder / "scores.parquet", sink.getvalue().to_pybytes())


class TriageLog:
    """Keeps images and their rows from a thread of its own; offers come from the event loop.

    Args:
        workspace: whose ``served`` folder and scores it writes.
        most_bytes: that the kept images may have together, those of earlier servers included.
        figures: told of what was kept and what was not.

    Raises:
        BadInput: the workspace cannot be written to.
    """

    def __init__(self, workspace: Workspace, most_bytes: int, figures: Figures) -> None:
        self._workspace = workspace
        self._most_bytes = most_bytes
        self._figures = figures
        self._pending: list[Kept] = []
        self._pending_bytes = 0
        self._batch: _Batch | None = None
        self._said_full = False
        try:
            workspace.served.mkdir(mode=0o700, parents=True, exist_ok=True)
            workspace.scores.mkdir(parents=True, exist_ok=True)
            probe = workspace.scores / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
            self._used = sum(file.stat().st_size for file in workspace.served.iterdir())
        except OSError as error:
            raise BadInput(
                f"Predictions cannot be kept in {workspace.folder} ({error.strerror}).",
                cause="The workspace cannot be written to.",
                remedy="Mount it so that it can be, or leave out --log-predictions.",
            ) from None

    def offer(self, one: Kept) -> None:
        """Keep an image soon, or count that there was no room for it."""
        if self._pending_bytes + len(one.data) > _MOST_PENDING:
            self._figures.not_kept.inc()
            return
        self._pending.append(one)
        self._pending_bytes += len(one.data)

    async def run(self) -> None:
        """Write what was offered, every two seconds, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what was offered, now."""
        taken, self._pending, self._pending_bytes = self._pending, [], 0
        if taken:
            await asyncio.to_thread(self._write, taken)

    def _write(self, taken: Sequence[Kept]) -> None:
        for number, one in enumerate(taken):
            try:
                path = self._keep(one)
                if path is None:
                    continue
                if self._batch is None or not self._batch.takes(one):
                    self._finish()
                    self._batch = self._new_batch(one)
                self._batch.rows[one.image_id] = (path, one.own)
                self._figures.kept.inc()
            except (OSError, NoSpace) as error:
                self._no_room(str(error), len(taken) - number)
                break
        self._finish()

    def _keep(self, one: Kept) -> Path | None:
        """The image as a file, unless its kind is unknown or the limit is reached."""
        kind = sniff(one.data[:16])
        path = self._workspace.served / f"{one.image_id.partition('#')[0]}.{'img' if kind is None else kind.lower()}"
        if path.is_file():
            return path.absolute()
        if self._used + len(one.data) > self._most_bytes:
            self._no_room(f"{self._workspace.served} holds {self._used / MEGABYTE:,.0f} MB, as many as it may", 1)
            return None
        require_space(self._workspace.folder)
        write_atomically(path, one.data)
        self._used += len(one.data)
        return path.absolute()

    def _new_batch(self, one: Kept) -> _Batch:
        name = f"served-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        folder = self._workspace.scores / name / f"{one.model.version}-{one.model.runtime}"
        return _Batch(one.model, one.card, folder, time.monotonic())

    def _finish(self) -> None:
        if self._batch is not None and self._batch.rows:
            try:
                self._batch.write()
            except OSError as error:
                self._no_room(str(error), 0)

    def _no_room(self, why: str, images: int) -> None:
        self._figures.not_kept.inc(images)
        if not self._said_full:
            self._said_full = True
            _LOG.warning("Predictions are not kept any more: %s. Answers go on.", why)
