"""One job per verb, and the full retraining that the schedule starts."""

import dagster as dg

from pipelines.definitions.assets_data import import_labels_file
from pipelines.definitions.assets_model import restore_previous_champion
from pipelines.definitions.names import JOB_NODES, AssetName, Job
from pipelines.definitions.ops_cascade import cascade_job
from pipelines.definitions.ops_compress import compress_job
from pipelines.definitions.ops_export import export_job
from pipelines.definitions.ops_learning import approved_promotions_job, learn_from_answers_job
from pipelines.definitions.ops_pretrain import pretrain_job
from pipelines.definitions.ops_retrain import retrain_job
from pipelines.definitions.ops_studies import backbones_job, simulate_job


@dg.job(name=Job.ROLLBACK.value, description="Restore the previous champion.")
def rollback_job() -> None:
    """Restore the previous champion."""
    restore_previous_champion()


@dg.job(name=Job.IMPORT_LABELS.value, description="Append the labels of a CSV to the ledger.")
def import_labels_job() -> None:
    """Append the labels of a CSV to the ledger."""
    import_labels_file()


ASSET_JOBS = [
    dg.define_asset_job(
        name=job.value,
        selection=dg.AssetSelection.assets(*(AssetName(node).value for node in JOB_NODES[job])),
    )
    for job in Job
    if all(node in set(AssetName) for node in JOB_NODES[job])
]
OP_JOBS = [
    rollback_job,
    import_labels_job,
    retrain_job,
    learn_from_answers_job,
    approved_promotions_job,
    simulate_job,
    backbones_job,
    pretrain_job,
    export_job,
    cascade_job,
    compress_job,
]
