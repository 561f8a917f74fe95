"""Studies: ops that read the workspace, measure, and write a page or a picture. They change nothing that serves."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import BackbonesConfig, SimulateConfig
from pipelines.definitions.names import BACKBONES_NODE, SIMULATE_NODE, Job
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


@dg.op(name=BACKBONES_NODE)
def measure_backbones(config: BackbonesConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """What backbones cost on this machine, and what their features are worth."""
    from pipelines.steps.backbones import BackbonesRequest, backbones

    request = BackbonesRequest.model_validate(config.model_dump())
    return as_json(backbones(site.workspace, request, site.progress))


@dg.job(name=Job.BACKBONES.value, description="What backbones cost on this machine, and what their features are worth.")
def backbones_job() -> None:
    """What backbones cost on this machine, and what their features are worth."""
    measure_backbones()
