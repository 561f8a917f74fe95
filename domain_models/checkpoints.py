"""Checkpoints that a kill cannot tear: written whole or not at all, read without running code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from data_contracts.errors import IntegrityError


def save_checkpoint(path: Path, state: dict[str, Any], owner: str) -> None:
    """Write a checkpoint: tensors, numbers, strings, and lists and dicts of them.

    Args:
        path: final place; the previous checkpoint stays until the new one is on disk.
        state: what to keep.
        owner: key of configuration and data; only the same training may read it again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        torch.save({"owner": owner, "state": state}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path, owner: str) -> dict[str, Any] | None:
    """The checkpoint, or ``None`` if there is none yet.

    Raises:
        IntegrityError: the file is damaged, or belongs to a training with another configuration or other data.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, state = content["owner"], content["state"]
    except Exception as error:  # a damaged archive fails in many ways
        raise IntegrityError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}).",
            remedy=f"Delete {path.parent} and train again.",
        ) from None
    if found != owner:
        raise IntegrityError(
            f"The checkpoint {path} belongs to a training with other settings or other images.",
            remedy=f"Delete {path.parent}, or train into another folder.",
        )
    result: dict[str, Any] = state
    return result
