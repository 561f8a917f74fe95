"""What review would have cost, replayed: one op, which only reads the workspace and writes a table and a picture."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import SimulateConfig
from pipelines.definitions.names import SIMULATE_NODE, Job
from pipelines.definitions.reporting import as_json
from pipelines.definitions.resources import Site


@dg.op(name=SIMULATE_NODE)
def replay_labels(config: SimulateConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """How many labels each strategy would have needed on the newest dataset version."""
    from pipelines.steps.simulate import SimulateRequest, simulate

    request = SimulateRequest.model_validate(config.model_dump())
    return as_json(simulate(site.workspace, request, site.progress))


@dg.job(name=Job.SIMULATE.value, description="How many labels each strategy would have needed.")
def simulate_job() -> None:
    """How many labels each strategy would have needed on the newest dataset version."""
    replay_labels()
