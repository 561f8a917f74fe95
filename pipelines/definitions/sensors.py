"""What starts runs by itself: answers in the ledger, batches in the inbox, finished scores, a lead's approval."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from pipelines.definitions.assets_scoring import BATCHES
from pipelines.definitions.names import APPROVALS_NODE, RETRAIN_NODE, AssetName, Job
from pipelines.definitions.resources import Site

INBOX_TAG = "tailsight/inbox"
"""Run tag of a batch that came through the inbox: the path of its scores."""

SECONDS = 10
ON = dg.DefaultSensorStatus.RUNNING
"""Sensors are otherwise born stopped, and nobody would notice."""


@dg.sensor(
    name="answers_to_learn",
    job_name=Job.LEARN_FROM_ANSWERS.value,
    minimum_interval_seconds=SECONDS,
    default_status=ON,
)
def answers_to_learn(
    context: dg.SensorEvaluationContext, site: dg.ResourceParam[Site]
) -> dg.SensorResult | dg.SkipReason:
    """Retrain once enough was answered since the newest model and people have paused.

    The cursor is the last event that a run was asked to learn: while that run is under way, or after it failed, the
    same answers start no second one.
    """
    from pipelines.steps.learning_triggers import look

    busy = context.instance.get_runs(
        dg.RunsFilter(job_name=Job.LEARN_FROM_ANSWERS.value, statuses=list(_UNDER_WAY)), limit=1
    )
    if busy:
        return dg.SkipReason(f"Run {busy[0].run_id[:8]} is learning what was answered before; it is not finished.")
    answers, verdict = look(site.workspace, int(context.cursor or 0), datetime.now(UTC))
    if not verdict.ready:
        return dg.SkipReason(verdict.sentence)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"answers-{answers.head}",
                run_config={"ops": {RETRAIN_NODE: {"config": {"mode": "auto"}}}},
                tags={"tailsight/why": verdict.sentence[:200]},
            )
        ],
        cursor=str(answers.head),
    )


@dg.sensor(name="inbox", job_name=Job.SCORE.value, minimum_interval_seconds=SECONDS, default_status=ON)
def inbox(context: dg.SensorEvaluationContext, site: dg.ResourceParam[Site]) -> dg.SensorResult | dg.SkipReason:
    """Score each folder of the inbox once, as a partition of its own, when its files have stopped arriving.

    The cursor maps each batch folder to the batch that was asked for, so that files added later make a new batch.
    """
    from pipelines.steps.inbox import look_into

    known: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
    seen = look_into(site.workspace, known, datetime.now(UTC))
    if not seen.batches:
        return dg.SkipReason(seen.sentence)
    requests = [
        dg.RunRequest(
            run_key=f"inbox-{batch.key}",
            partition_key=batch.key,
            run_config={
                "ops": {AssetName.BATCH_SCORES.value: {"config": {"images": batch.folder, "out": batch.scores}}}
            },
            tags={INBOX_TAG: batch.scores},
        )
        for batch in seen.batches
    ]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[BATCHES.build_add_request([batch.key for batch in seen.batches])],
        cursor=json.dumps(known | {batch.folder: batch.key for batch in seen.batches}),
    )


@dg.sensor(name="scores_to_review", job_name=Job.QUEUE.value, minimum_interval_seconds=SECONDS, default_status=ON)
def scores_to_review(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Fill the queue from each batch of the inbox once it is scored.

    A tick asks again for every scored batch of late; the run key makes each of them one run.
    """
    runs = context.instance.get_runs(
        dg.RunsFilter(job_name=Job.SCORE.value, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=50
    )
    scored = [run.tags[INBOX_TAG] for run in runs if INBOX_TAG in run.tags]
    if not scored:
        yield dg.SkipReason("No batch of the inbox has been scored yet.")
    for scores in scored:
        yield dg.RunRequest(
            run_key=f"queue-{Path(scores).name}",
            run_config={"ops": {AssetName.REVIEW_ROUND.value: {"config": {"scores": [scores]}}}},
        )


@dg.sensor(
    name="approved_promotions",
    job_name=Job.APPROVED_PROMOTIONS.value,
    minimum_interval_seconds=SECONDS,
    default_status=ON,
)
def approvals(context: dg.SensorEvaluationContext, site: dg.ResourceParam[Site]) -> dg.SensorResult | dg.SkipReason:
    """Carry out a promotion that a lead approved in the app; one that the gate then refuses is not tried again."""
    from data_contracts.ledger.approvals import approved_promotions, waiting_promotions
    from pipelines.steps.ledger import open_ledger

    done = int(context.cursor or 0)
    with open_ledger(site.workspace) as ledger:
        approved = [approval for approval in approved_promotions(ledger) if approval.sequence > done]
        waiting = waiting_promotions(ledger)
    if not approved:
        versions = ", ".join(request.model_version for request in waiting)
        return dg.SkipReason(f"Waiting for a lead: version {versions}." if waiting else "No promotion is waiting.")
    last = max(approval.sequence for approval in approved)
    config = {"requests": [approval.request for approval in approved]}
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"approval-{last}", run_config={"ops": {APPROVALS_NODE: {"config": config}}})
        ],
        cursor=str(last),
    )


_UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

SENSORS = [answers_to_learn, inbox, scores_to_review, approvals]
