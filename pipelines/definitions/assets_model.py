"""From a dataset version to a champion, and its report."""

from typing import Any

import dagster as dg

from pipelines.definitions.config import EvaluateConfig, PromoteConfig, ReportConfig, RollbackConfig, TrainConfig
from pipelines.definitions.names import AssetName
from pipelines.definitions.reporting import as_json, materialized
from pipelines.definitions.resources import Site


@dg.asset(name=AssetName.CANDIDATE.value, deps=[AssetName.DATASET.value], group_name="model", kinds={"torch"})
def candidate(config: TrainConfig, site: dg.ResourceParam[Site]) -> dg.MaterializeResult[None]:
    """A trained, calibrated model with its triage rule, registered under the alias candidate."""
    from pipelines.steps.train import TrainRequest, train

    request = TrainRequest.model_validate(config.model_dump())
    return materialized(train(site.workspace, request, site.progress))


@dg.asset(name=AssetName.EVALUATION.value, deps=[AssetName.CANDIDATE.value], group_name="model", kinds={"python"})
def evaluation(config: EvaluateConfig, site: dg.ResourceParam[Site]) -> dg.MaterializeResult[None]:
    """Every metric of a model on a split of the newest dataset version, with intervals."""
    from pipelines.steps.evaluate import EvaluateRequest, evaluate

    request = EvaluateRequest.model_validate(config.model_dump())
    return materialized(evaluate(site.workspace, request, site.progress).as_one())


@dg.asset(name=AssetName.CHAMPION.value, deps=[AssetName.EVALUATION.value], group_name="model", kinds={"mlflow"})
def champion(config: PromoteConfig, site: dg.ResourceParam[Site]) -> dg.MaterializeResult[None]:
    """The model that scores production: moved through the gate, every look recorded."""
    from pipelines.steps.promote import PromoteRequest, promote

    request = PromoteRequest.model_validate(config.model_dump())
    return materialized(promote(site.workspace, request, site.progress))


@dg.asset(name=AssetName.HTML_REPORT.value, deps=[AssetName.EVALUATION.value], group_name="model", kinds={"html"})
def html_report(config: ReportConfig, site: dg.ResourceParam[Site]) -> dg.MaterializeResult[None]:
    """One self-contained HTML file about a model, with pictures."""
    from pipelines.steps.report import ReportRequest, write_report

    request = ReportRequest.model_validate(config.model_dump())
    return materialized(write_report(site.workspace, request, site.progress))


@dg.op
def restore_previous_champion(config: RollbackConfig, site: dg.ResourceParam[Site]) -> dict[str, Any]:
    """Give the alias champion back to the model that had it before."""
    from pipelines.steps.promote import rollback

    return as_json(rollback(site.workspace, who=config.who, why=config.why))
