"""From files to a dataset version."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import CurateConfig, ImportLabelsConfig, IngestConfig
from pipelines.definitions.names import AssetName
from pipelines.definitions.reporting import as_json, materialized
from pipelines.definitions.resources import Site


@dg.asset(name=AssetName.IMAGES.value, group_name="data", kinds={"python", "sqlite"})
def images(config: IngestConfig, site: dg.ResourceParam[Site]) -> dg.MaterializeResult[None]:
    """Images and labels taken in: what is good in the ledger, what is not in quarantine with a reason."""
    from pipelines.steps.ingest import IngestRequest, ingest

    request = IngestRequest.model_validate(config.model_dump())
    return materialized(ingest(site.workspace, request, site.progress))


@dg.asset(name=AssetName.DATASET.value, deps=[AssetName.IMAGES.value], group_name="data", kinds={"python", "parquet"})
def dataset(config: CurateConfig, site: dg.ResourceParam[Site]) -> dg.MaterializeResult[None]:
    """An immutable dataset version: duplicates bound, groups kept whole, splits stratified."""
    from pipelines.steps.curate import CurateRequest, curate

    request = CurateRequest.model_validate(config.model_dump())
    return materialized(curate(site.workspace, request, site.progress))


@dg.op
def import_labels_file(config: ImportLabelsConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """Append the labels of a CSV to the ledger."""
    from pathlib import Path

    from pipelines.steps.labels import import_labels

    return as_json(import_labels(site.workspace, Path(config.csv), site.progress))
