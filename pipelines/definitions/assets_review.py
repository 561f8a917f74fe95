"""Review rounds: what people are asked, with all that the app shows."""

import dagster as dg

from pipelines.definitions.config import QueueConfig
from pipelines.definitions.names import AssetName
from pipelines.definitions.reporting import materialized
from pipelines.definitions.resources import Site


@dg.asset(
    name=AssetName.REVIEW_ROUND.value,
    deps=[AssetName.BATCH_SCORES.value],
    group_name="production",
    kinds={"numpy", "sqlite"},
)
def review_round(config: QueueConfig, site: dg.ResourceParam[Site]) -> dg.MaterializeResult[None]:
    """Tasks in the review queue: what waits for a person, a random audit, and what would teach the model most."""
    from pipelines.steps.queue import QueueRequest, build_queue

    request = QueueRequest.model_validate(config.model_dump())
    return materialized(build_queue(site.workspace, request, site.progress))
