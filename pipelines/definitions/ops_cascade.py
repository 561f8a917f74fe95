"""Cascades: an op, because one is asked for by hand, for two registered models."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import CascadeConfig
from pipelines.definitions.names import CASCADE_NODE, Job
from pipelines.definitions.reporting import as_json
from pipelines.definitions.resources import Site


@dg.op(name=CASCADE_NODE)
def make_cascade(config: CascadeConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """Two registered models as one candidate, if a threshold keeps the loss."""
    from pipelines.steps.cascade import CascadeRequest, cascade

    request = CascadeRequest.model_validate(config.model_dump())
    return as_json(cascade(site.workspace, request, site.progress))


@dg.job(name=Job.CASCADE.value, description="A small model first, a large one for what it is unsure of.")
def cascade_job() -> None:
    """Two registered models as one candidate, if a threshold keeps the loss."""
    make_cascade()
