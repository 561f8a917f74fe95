"""Rows of a score file from prepared files: what the model says of each, or why it says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.vocabulary import Decision
from domain_models.runtimes import Compute
from pipelines.steps.decisions import Decider
from pipelines.steps.score_files import PreparedFile
from pipelines.steps.score_parts import PROBABILITY


def rows_of(
    batch: Sequence[PreparedFile], compute: Compute, decider: Decider, classes: Sequence[str], version: str
) -> list[dict[str, Any]]:
    """One row for each file, in order; every engine makes its rows here.

    Args:
        batch: files as the model sees them; those without pixels get a row with their error.
        compute: from pixels to logits.
        decider: from logits to a decision.
        classes: in class-index order.
        version: of the model.
    """
    readable = [item.pixels for item in batch if item.pixels is not None]
    decided = iter(decider.decide(compute(np.stack(readable))) if readable else [])
    rows = []
    for item in batch:
        row: dict[str, Any] = {
            "path": str(item.file.path),
            "image_id": item.image_id,
            "decision": Decision.REVIEW.value,
            "model_version": version,
            "error": item.error,
        }
        if item.pixels is not None:
            one = next(decided)
            row |= {name: getattr(one, name) for name in ("predicted", "confidence", "margin", "entropy")}
            row |= {"conformal_set": one.conformal_set, "decision": one.decision, "reason": one.reason}
            row |= _columns(one.probabilities, classes)
        rows.append(row)
    return rows


def _columns(probabilities: NDArray[np.float64], classes: Sequence[str]) -> Mapping[str, float]:
    return {f"{PROBABILITY}{name}": float(value) for name, value in zip(classes, probabilities, strict=True)}
