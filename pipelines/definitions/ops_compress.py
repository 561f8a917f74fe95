"""Compression: an op, because it is asked for by hand, for one registered model and one target."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import CompressConfig
from pipelines.definitions.names import COMPRESS_NODE, Job
from pipelines.definitions.reporting import as_json
from pipelines.definitions.resources import Site


@dg.op(name=COMPRESS_NODE)
def compress_model(config: CompressConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """Smaller forms of a registered model; the best that meets the target becomes a candidate."""
    from pipelines.steps.compress import CompressRequest, compress

    request = CompressRequest.model_validate(config.model_dump())
    return as_json(compress(site.workspace, request, site.progress))


@dg.job(name=Job.COMPRESS.value, description="Students and pruned forms of a model; the best under a target.")
def compress_job() -> None:
    """Smaller forms of a registered model; the best that meets the target becomes a candidate."""
    compress_model()
