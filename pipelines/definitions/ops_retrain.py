"""Learning from answers: one op, because it curates, compares and trains as one decision."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import RetrainConfig
from pipelines.definitions.names import RETRAIN_NODE, Job
from pipelines.definitions.reporting import as_json
from pipelines.definitions.resources import Site


@dg.op(name=RETRAIN_NODE)
def retrain_from_answers(config: RetrainConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """A new candidate from what the ledger has learned since the champion."""
    from pipelines.steps.retrain import RetrainRequest, retrain

    request = RetrainRequest.model_validate(config.model_dump())
    return as_json(retrain(site.workspace, request, site.progress))


@dg.job(name=Job.RETRAIN.value, description="A new candidate from what the ledger has learned since the champion.")
def retrain_job() -> None:
    """A new candidate from what the ledger has learned since the champion."""
    retrain_from_answers()
