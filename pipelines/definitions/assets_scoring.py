"""Batches of files scored by the champion; one dynamic partition per batch."""

import dagster as dg

from pipelines.definitions.config import ScoreConfig
from pipelines.definitions.names import BATCH_PARTITION, AssetName
from pipelines.definitions.reporting import materialized
from pipelines.definitions.resources import Site

BATCHES = dg.DynamicPartitionsDefinition(name=BATCH_PARTITION)


@dg.asset(
    name=AssetName.BATCH_SCORES.value,
    deps=[AssetName.CHAMPION.value],
    partitions_def=BATCHES,
    group_name="production",
    kinds={"torch", "parquet"},
)
def batch_scores(config: ScoreConfig, site: dg.ResourceParam[Site]) -> dg.MaterializeResult[None]:
    """One row per file of a batch: probabilities, and whether a person should look and why."""
    from pipelines.steps.score import ScoreRequest, score

    request = ScoreRequest.model_validate(config.model_dump())
    return materialized(score(site.workspace, request, site.progress))
