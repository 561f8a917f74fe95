"""Rows of a score file from what was computed: what the model says of each file, or why it says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.vocabulary import Decision
from pipelines.steps.decisions import Decider
from pipelines.steps.score_files import ComputedBatch
from pipelines.steps.score_parts import ANSWERED_EARLY, PROBABILITY


def rows_of(batches: Sequence[ComputedBatch], decider: Decider, version: str) -> list[dict[str, Any]]:
    """One row for each file, in order; every engine makes its rows here.

    Args:
        batches: files with the logits of those that could be read; the others get a row with their error.
        decider: from logits to a decision.
        version: of the model.
    """
    logits = [batch.logits for batch in batches if batch.logits is not None]
    early = iter([one for batch in batches if batch.early is not None for one in batch.early])
    decided = iter(decider.decide(np.concatenate(logits)) if logits else [])
    rows = []
    for item in (item for batch in batches for item in batch.files):
        row: dict[str, Any] = {
            "path": str(item.file.path),
            "image_id": item.image_id,
            "decision": Decision.REVIEW.value,
            "model_version": version,
            "error": item.error,
        }
        if item.error is None:
            one = next(decided)
            row |= {name: getattr(one, name) for name in ("predicted", "confidence", "margin", "entropy")}
            row |= {"conformal_set": one.conformal_set, "decision": one.decision, "reason": one.reason}
            row[ANSWERED_EARLY] = next(early, None)
            row |= _columns(one.probabilities, decider.classes)
        rows.append(row)
    return rows


def _columns(probabilities: NDArray[np.float64], classes: Sequence[str]) -> Mapping[str, float]:
    return {f"{PROBABILITY}{name}": float(value) for name, value in zip(classes, probabilities, strict=True)}
