"""The loop without a person at the keyboard: retrain from answers, ask the gate, carry out what leads approved."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import ApprovalsConfig
from pipelines.definitions.names import APPROVALS_NODE, SETTLE_NODE, Job
from pipelines.definitions.ops_retrain import retrain_from_answers
from pipelines.definitions.reporting import as_json
from pipelines.definitions.resources import Site

PATIENCE = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)
"""A disk that was full, a database that was held: tried again after 30 and 60 seconds, then shown as failed."""


@dg.op(name=SETTLE_NODE)
def settle_candidate(site: dg.ResourceParam[Site], retrained: dict[str, Any]) -> dict[str, Any]:
    """Ask the gate about the new candidate: promoted, waiting for a lead, or refused."""
    from pipelines.steps.settle import settle

    why = " ".join(retrained.get("reasons") or ["retrained from answers"])
    return as_json(settle(site.workspace, retrained.get("model_version"), why, site.progress))


@dg.op(name=APPROVALS_NODE)
def carry_out_approved_promotions(config: ApprovalsConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """Promote what leads have approved in the review app."""
    from pipelines.steps.settle import carry_out_approvals

    settled = carry_out_approvals(site.workspace, config.requests, site.progress)
    return {"settled": [as_json(item) for item in settled]}


RETRIED = {"dagster/max_retries": "2"}
"""Also a run whose process was killed is run again; it goes on from its checkpoints."""


@dg.job(name=Job.LEARN_FROM_ANSWERS.value, op_retry_policy=PATIENCE, tags=RETRIED)
def learn_from_answers_job() -> None:
    """Retrain from what people answered, then ask the gate."""
    settle_candidate(retrain_from_answers())


@dg.job(name=Job.APPROVED_PROMOTIONS.value, op_retry_policy=PATIENCE, tags=RETRIED)
def approved_promotions_job() -> None:
    """Promote what leads have approved."""
    carry_out_approved_promotions()
