"""Export: an op, because it is asked for by hand, for one registered model."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import ExportConfig
from pipelines.definitions.names import EXPORT_NODE, Job
from pipelines.definitions.reporting import as_json
from pipelines.definitions.resources import Site


@dg.op(name=EXPORT_NODE)
def export_model(config: ExportConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """A registered model in another format or precision, if it decides as the network does."""
    from pipelines.steps.export import ExportRequest, export

    request = ExportRequest.model_validate(config.model_dump())
    return as_json(export(site.workspace, request, site.progress))


@dg.job(name=Job.EXPORT.value, description="Convert a model, hold it to the parity gate, attach it to its version.")
def export_job() -> None:
    """A registered model in another format or precision, if it decides as the network does."""
    export_model()
