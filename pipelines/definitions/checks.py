"""Asset checks: one property each; blocking where a failure must stop what follows."""

import dagster as dg

from pipelines.definitions.names import AssetName
from pipelines.definitions.resources import Site


@dg.asset_check(asset=AssetName.IMAGES.value, blocking=True)
def ledger_chain_verifies(site: dg.ResourceParam[Site]) -> dg.AssetCheckResult:
    """No label event or promotion was changed, removed or forged."""
    from data_contracts.ledger.verify import verify_chain
    from pipelines.steps.ledger import open_ledger

    with open_ledger(site.workspace) as ledger:
        result = verify_chain(ledger)
    return dg.AssetCheckResult(
        passed=result.ok,
        description="; ".join(result.problems[:5]) or f"{result.events} label events verify",
        metadata={"events": result.events, "promotions": result.promotions},
    )


@dg.asset_check(asset=AssetName.DATASET.value, blocking=True)
def nothing_leaks_between_splits(site: dg.ResourceParam[Site]) -> dg.AssetCheckResult:
    """No group, exact duplicate or confirmed near-duplicate lies on both sides of a split."""
    from data_contracts.vocabulary import Split
    from pipelines.steps.dataset import load_dataset

    version, manifest = load_dataset(site.workspace)
    labelled = manifest[manifest["split"] != Split.POOL.value]
    crossing = [
        column
        for column in ("component", "group")
        if (labelled.dropna(subset=[column]).groupby(column)["split"].nunique() > 1).any()
    ]
    return dg.AssetCheckResult(
        passed=not crossing,
        description=f"{' and '.join(crossing)} crosses splits" if crossing else "every component lies in one split",
        metadata={"dataset_version": version.dataset_version, "images": len(labelled)},
    )


@dg.asset_check(asset=AssetName.DATASET.value)
def classes_have_enough_images(site: dg.ResourceParam[Site]) -> dg.AssetCheckResult:
    """Every class has the advised number of images; a warning, because rare classes are the normal case."""
    from pipelines.steps.dataset import load_dataset

    version, _ = load_dataset(site.workspace)
    rare = list(version.classes_under_minimum)
    return dg.AssetCheckResult(
        passed=not rare,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"under the advised minimum: {', '.join(rare)}" if rare else "every class has the advised minimum",
    )


@dg.asset_check(asset=AssetName.EVALUATION.value)
def confidence_is_calibrated(
    context: dg.AssetCheckExecutionContext, site: dg.ResourceParam[Site]
) -> dg.AssetCheckResult:
    """The calibration error is within the profile's limit, or no larger than chance explains on so few images."""
    from pipelines.definitions.names import REPORT_KEY

    event = context.instance.get_latest_materialization_event(dg.AssetKey(AssetName.EVALUATION.value))
    materialization = event.asset_materialization if event else None
    report = dict(materialization.metadata[REPORT_KEY].value) if materialization else {}
    ece, limit = report.get("ece"), site.workspace.profile.gate.maximum_ece
    return dg.AssetCheckResult(
        passed=ece is not None and float(ece) <= limit,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"expected calibration error {ece} against the limit {limit}",
    )


@dg.asset_check(asset=AssetName.CHAMPION.value)
def champion_went_through_the_gate(site: dg.ResourceParam[Site]) -> dg.AssetCheckResult:
    """The last promotion was not an override."""
    from data_contracts.ledger.promotions import promotions
    from pipelines.steps.ledger import open_ledger

    with open_ledger(site.workspace) as ledger:
        events = promotions(ledger)
    overridden = bool(events) and events[-1].override
    last = events[-1] if events else None
    return dg.AssetCheckResult(
        passed=not overridden,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{last.who} overrode the gate: {last.why}" if last and overridden else "the gate agreed",
    )
