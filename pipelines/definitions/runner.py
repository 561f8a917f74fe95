"""Running one job in this process on the workspace's instance, so that the UI shows every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data_contracts.disk_space import require_space
from data_contracts.errors import BadInput, Refused, TailsightError
from data_contracts.progress import Progress
from data_contracts.workspace import Workspace
from pipelines.definitions.instance import SESSION_TAG, open_instance, session
from pipelines.definitions.interruption import said_until_heard
from pipelines.definitions.names import BATCH_PARTITION, JOB_NODES, REPORT_KEY, Job

if TYPE_CHECKING:
    from dagster import AssetCheckEvaluation, DagsterInstance, ExecuteInProcessResult


@dataclass(frozen=True)
class CheckOutcome:
    """One asset check of a run."""

    asset: str
    check: str
    passed: bool
    blocking: bool
    description: str


@dataclass(frozen=True)
class JobOutcome:
    """What a job left behind.

    Attributes:
        run_id: the run in the workspace's Dagster instance.
        reports: the report of each node by name, as JSON-ready values.
        checks: the outcome of every asset check.
    """

    run_id: str
    reports: dict[str, dict[str, Any]]
    checks: list[CheckOutcome] = field(default_factory=list)

    @property
    def report(self) -> dict[str, Any]:
        """The report of the job's last node."""
        return list(self.reports.values())[-1]


def run_job(
    workspace: Workspace,
    job: Job,
    config: Mapping[str, Mapping[str, Any]],
    *,
    progress: Progress,
    batch: str | None = None,
) -> JobOutcome:
    """Run ``job`` here and now.

    Args:
        config: configuration of each node by name; left-out values take the asset's defaults.
        batch: partition key, for the job that scores a batch.

    Raises:
        TailsightError: what the step raised, unchanged.
        NoSpace: the disk is full.
        Refused: a blocking asset check failed.
        BadInput: the configuration does not fit the job.
        KeyboardInterrupt: the run was stopped by a signal; it is recorded as ended.
    """
    import dagster as dg
    from dagster._core.errors import DagsterAssetCheckFailedError, DagsterExecutionInterruptedError

    from pipelines.definitions.build import build_definitions

    workspace.require()
    require_space(workspace.folder)
    with open_instance(workspace) as instance, session(workspace) as claim:
        definition = build_definitions(workspace, progress).resolve_job_def(job.value)
        if batch is not None:
            instance.add_dynamic_partitions(BATCH_PARTITION, [batch])
        try:
            with said_until_heard():
                result = definition.execute_in_process(
                    instance=instance,
                    run_config={
                        "ops": {node: {"config": dict(values)} for node, values in config.items()},
                        # The user reads our message; Dagster keeps the whole story in its event log.
                        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                    },
                    tags={SESSION_TAG: claim.name},
                    partition_key=batch,
                    raise_on_error=True,
                )
        except DagsterAssetCheckFailedError:
            raise _refusal(instance, claim.name) from None
        except (DagsterExecutionInterruptedError, KeyboardInterrupt):
            _end_interrupted(instance, claim.name)
            raise KeyboardInterrupt from None
        except dg.DagsterInvalidConfigError as error:
            reasons = "; ".join(item.message for item in error.errors)
            raise BadInput(f"The job {job.value!r} cannot be run like this: {reasons}.") from None
        return JobOutcome(
            run_id=result.run_id, reports=_reports(result, job), checks=[_outcome(e) for e in _evaluations(result)]
        )


def _reports(result: ExecuteInProcessResult, job: Job) -> dict[str, dict[str, Any]]:
    reports: dict[str, dict[str, Any]] = {}
    for node in JOB_NODES[job]:
        materializations = result.asset_materializations_for_node(node)
        if materializations:
            value: Any = materializations[-1].metadata[REPORT_KEY].value
        else:  # an op: its output is the report
            value = result.output_for_node(node)
        reports[node] = dict(value)
    return reports


def _evaluations(result: ExecuteInProcessResult) -> list[AssetCheckEvaluation]:
    return list(result.get_asset_check_evaluations())


def _outcome(evaluation: AssetCheckEvaluation) -> CheckOutcome:
    return CheckOutcome(
        asset=evaluation.asset_key.to_user_string(),
        check=evaluation.check_name,
        passed=evaluation.passed,
        blocking=bool(evaluation.blocking),
        description=evaluation.description or "",
    )


def _end_interrupted(instance: DagsterInstance, claim: str) -> None:
    """Leave no run that says it is under way, wherever the signal struck."""
    import dagster as dg

    for run in instance.get_runs(dg.RunsFilter(tags={SESSION_TAG: claim})):
        if not run.is_finished:
            instance.report_run_canceled(run, message="Stopped by a person.")


def _refusal(instance: DagsterInstance, claim: str) -> TailsightError:
    """The failed blocking checks of the run under this claim, in their own words."""
    import dagster as dg

    runs = instance.get_runs(dg.RunsFilter(tags={SESSION_TAG: claim}), limit=1)
    records = instance.get_records_for_run(runs[0].run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    failed = [
        f"{evaluation.check_name.replace('_', ' ')}: {evaluation.description}"
        for record in records
        if (event := record.event_log_entry.dagster_event)
        and (evaluation := event.asset_check_evaluation_data).blocking
        and not evaluation.passed
    ]
    return Refused(
        "A check that must hold failed, so what follows was not started: " + "; ".join(failed) + ".",
        remedy="See the run in the Dagster UI, put the cause right, and run the command again.",
    )
