"""What is written into MLflow about a model version, and read back from it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_NAME = "tailsight"
RUN_KEY = "tailsight.run_key"
PACKAGE = "tailsight.package"
PACKAGE_SHA256 = "tailsight.package_sha256"
ATTACHED = "tailsight.attached."
"""How the tags begin that hold the content hashes of what is attached to a version."""

OWN_TAGS = frozenset({RUN_KEY, PACKAGE, PACKAGE_SHA256})

_BATCH = 100  # MLflow refuses more parameters or tags in one call
_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000
_LONGEST_KEY = 250


class ModelVersionInfo(BaseModel):
    """One registered model version: where it comes from, what it measured, and what it is called now.

    ``metrics`` holds the last value logged for each name, ``params`` the configuration as text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    run_key: str
    created_at: datetime
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]
    package_sha256: str


def describe(entity: Any, run: Any, aliases: Mapping[str, Sequence[str]]) -> ModelVersionInfo:
    """A version as MLflow's registry and its run know it; ``aliases`` lists the aliases of each version."""
    return ModelVersionInfo(
        version=str(entity.version),
        run_key=entity.tags[RUN_KEY],
        created_at=datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC),
        aliases=tuple(sorted(aliases.get(str(entity.version), []))),
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        tags={
            name: value for name, value in entity.tags.items() if name not in OWN_TAGS and not name.startswith(ATTACHED)
        },
        package_sha256=entity.tags[PACKAGE_SHA256],
    )


def log_figures(
    client: MlflowClient,
    run_id: str,
    timestamp: int,
    params: Mapping[str, object],
    metrics: Mapping[str, float | None],
    tags: Mapping[str, str],
) -> None:
    """Write parameters, metrics and tags of a run; the same call again changes nothing.

    Args:
        timestamp: of the metrics, milliseconds; part of what makes a point the same point.
        metrics: ``None`` and non-finite values are left out.
    """
    from mlflow.entities import Metric, Param, RunTag

    known = {name: float(value) for name, value in metrics.items() if value is not None and math.isfinite(value)}
    points = [Metric(key, value, timestamp, 0) for key, value in zip(entity_keys(known), known.values(), strict=True)]
    present = client.get_run(run_id).data.params if params else {}  # MLflow refuses to set a parameter twice
    entries = [
        Param(key, str(value)[:_LONGEST_PARAM])
        for key, value in zip(entity_keys(params), params.values(), strict=True)
        if key not in present
    ]
    marks = [RunTag(name, value[:_LONGEST_TAG]) for name, value in tags.items()]
    for start in range(0, max(len(points), len(entries), len(marks)), _BATCH):
        part = slice(start, start + _BATCH)
        client.log_batch(run_id, metrics=points[part], params=entries[part], tags=marks[part])


def entity_keys(names: Iterable[str]) -> list[str]:
    """Distinct metric or parameter names as MLflow allows them; class names may hold any character, its keys not."""
    keys: list[str] = []
    for name in names:
        parts = re.sub(r"[^\w .:/-]", "_", name).split("/")
        key = "/".join(part for part in parts if part.strip(". "))[:_LONGEST_KEY] or "_"
        number, distinct = 1, key
        while distinct in keys:
            number += 1
            distinct = f"{key[: _LONGEST_KEY - 6]} {number}"
        keys.append(distinct)
    return keys
