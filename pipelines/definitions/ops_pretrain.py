"""Pretraining: an op, because it is asked for by hand, between a dataset version and a candidate."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import PretrainConfig
from pipelines.definitions.names import PRETRAIN_NODE, Job
from pipelines.definitions.reporting import as_json
from pipelines.definitions.resources import Site


@dg.op(name=PRETRAIN_NODE)
def pretrain_backbone(config: PretrainConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """Weights that a backbone learned from images alone, and what they are worth."""
    from pipelines.steps.pretrain import PretrainRequest, pretrain

    request = PretrainRequest.model_validate(config.model_dump())
    return as_json(pretrain(site.workspace, request, site.progress))


@dg.job(name=Job.PRETRAIN.value, description="Let a backbone learn from images alone, and measure the gain.")
def pretrain_job() -> None:
    """Weights that a backbone learned from images alone, and what they are worth."""
    pretrain_backbone()
