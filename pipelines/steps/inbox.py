"""The inbox: each folder in it is one production batch, scored once its files have stopped arriving."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data_contracts.errors import BadInput, NotFound
from data_contracts.workspace import Workspace
from pipelines.steps.score import batch_key

SETTLED_SECONDS = 10
"""A folder is whole when nothing in it has changed for so long."""


class InboxBatch(BaseModel):
    """A batch to score: its folder, the key that its present files give it, and where its scores go."""

    model_config = ConfigDict(frozen=True)

    folder: str
    key: str
    scores: str


class InboxLook(BaseModel):
    """The batches that are ready and new, and the sentence that says what else was seen."""

    model_config = ConfigDict(frozen=True)

    batches: list[InboxBatch]
    sentence: str


def look_into(workspace: Workspace, known: dict[str, str], now: datetime) -> InboxLook:
    """What lies in the workspace's inbox and was not asked for before.

    Args:
        workspace: its inbox is made if it is not there.
        known: batch key by folder, as asked for before.
        now: the time.
    """
    workspace.inbox.mkdir(parents=True, exist_ok=True)
    folders = sorted(path for path in workspace.inbox.iterdir() if path.is_dir() and not path.name.startswith("."))
    ready, arriving, empty = [], [], 0
    for folder in folders:
        if now.timestamp() - _last_change(folder) < SETTLED_SECONDS:
            arriving.append(folder.name)
            continue
        try:
            key = batch_key(workspace, str(folder))
        except (NotFound, BadInput):
            empty += 1
            continue
        if known.get(str(folder)) != key:
            ready.append(InboxBatch(folder=str(folder), key=key, scores=str(workspace.scores / f"inbox-{key}.parquet")))
    parts = [f"{len(folders)} folders in {workspace.inbox}"]
    if arriving:
        parts.append(
            f"still arriving: {', '.join(arriving)} (waiting for {timedelta(seconds=SETTLED_SECONDS)} of quiet)"
        )
    if empty:
        parts.append(f"{empty} without a file")
    return InboxLook(batches=ready, sentence="; ".join(parts) + "; nothing new.")


def _last_change(folder: Path) -> float:
    """The latest modification of the folder or of anything in it, in seconds since 1970."""
    latest = folder.stat().st_mtime
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                latest = max(latest, (Path(place) / name).lstat().st_mtime)
            except FileNotFoundError:
                continue  # moved away while we looked
    return latest
