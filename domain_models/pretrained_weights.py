"""Weights of a backbone that was pretrained here: a safetensors file that carries what is known of them.

The record lies in the file's own metadata, so it can never be parted from the weights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_KEY = "tailsight.pretraining"


class Gain(BaseModel):
    """Macro-F1 on validation of a linear classifier on the features before and after, and the paired difference.

    ``difference_ci`` is the 95% interval of a bootstrap that draws whole groups; ``images`` and ``groups`` are those of
    validation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: float
    after: float
    difference: float
    difference_ci: tuple[float, float]
    images: int
    groups: int

    @property
    def shown(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.difference_ci[0] > 0

    @property
    def sentence(self) -> str:
        """The figures, and what they say."""
        low, high = self.difference_ci
        if self.shown:
            verdict = "It helps on these images."
        elif high < 0:
            verdict = "It does harm on these images: the weights that it began with are better."
        else:
            verdict = "The interval is not above zero: it has not been shown to help."
        return (
            f"A linear classifier on the features has macro-F1 {self.after:.3f} on validation, {self.before:.3f} before"
            f" pretraining: {self.difference:+.3f} ({low:+.3f} to {high:+.3f}; {self.images:,} images in"
            f" {self.groups:,} groups). {verdict}"
        )


class PretrainedRecord(BaseModel):
    """How weights came about and what they were found to be worth.

    ``mean`` and ``std`` (0..1 pixel range) are those that images were normalised with; ``weights`` are what it began
    with; ``images`` is how many it learned from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    backbone: str
    weights: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    epochs: int
    images: int
    dataset_version: str
    gain: Gain

    def sentence(self, path: str) -> str:
        """What a person should know who trains with these weights."""
        return (
            f"Begins with {path}: {self.backbone}, pretrained by {self.method} for {self.epochs} epochs on"
            f" {self.images:,} images of {self.dataset_version} from weights {self.weights!r}. {self.gain.sentence}"
        )


def save_pretrained(path: Path, state: Mapping[str, Tensor], record: PretrainedRecord) -> None:
    """Write weights by name and their record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in state.items()},
            temporary,
            metadata={_KEY: record.model_dump_json()},
        )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_record(weights: str) -> PretrainedRecord | None:
    """The record of a weights file; ``None`` where there is no such file, or it was not pretrained here."""
    path = Path(weights)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return PretrainedRecord.model_validate_json(metadata[_KEY]) if _KEY in metadata else None
    except (SafetensorError, ValidationError, OSError):
        return None  # whoever loads the weights says what is wrong with the file
