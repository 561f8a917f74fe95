"""How an asset leaves its report: as metadata that the UI shows and the command line reads back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import BaseModel

from pipelines.definitions.names import REPORT_KEY


def as_json(report: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """A step's report as plain JSON values; NaN and infinities become null."""
    value = report.model_dump(mode="json") if isinstance(report, BaseModel) else dict(report)
    cleaned = json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
    return dict(cleaned)


def materialized(report: BaseModel | Mapping[str, Any]) -> dg.MaterializeResult[None]:
    """The result of an asset whose content lies in the workspace: nothing is pickled, only the report is kept.

    Single numbers of the report become metadata of their own, which the UI plots over time.
    """
    value = as_json(report)
    numbers = {
        key: number
        for key, number in value.items()
        if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    }
    return dg.MaterializeResult(metadata={REPORT_KEY: dg.MetadataValue.json(value), **numbers})
