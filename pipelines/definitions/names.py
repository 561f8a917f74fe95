"""The names of jobs, assets and partitions: what the UI shows and what run configurations refer to."""

from __future__ import annotations

from enum import StrEnum


class Job(StrEnum):
    """Every job; the command line runs them, and so can a person in the UI."""

    INGEST = "ingest"
    CURATE = "curate"
    TRAIN = "train"
    EVALUATE = "evaluate"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    SCORE = "score"
    QUEUE = "queue"
    REPORT = "report"
    IMPORT_LABELS = "import_labels"
    FULL_RETRAINING = "full_retraining"
    RETRAIN = "retrain"
    LEARN_FROM_ANSWERS = "learn_from_answers"
    APPROVED_PROMOTIONS = "carry_out_approvals"
    SIMULATE = "simulate"
    BACKBONES = "backbones"
    PRETRAIN = "pretrain"
    EXPORT = "export"
    CASCADE = "cascade"
    COMPRESS = "compress"


class AssetName(StrEnum):
    """Every asset, in the order of the loop."""

    IMAGES = "images"
    DATASET = "dataset"
    CANDIDATE = "candidate"
    EVALUATION = "evaluation"
    CHAMPION = "champion"
    BATCH_SCORES = "batch_scores"
    REVIEW_ROUND = "review_round"
    HTML_REPORT = "html_report"


BATCH_PARTITION = "batch"
"""Name of the dynamic partition: one per scored batch of files."""

REPORT_KEY = "report"
"""Metadata key under which a step leaves its report (JSON); the command line reads it from there."""

RETRAIN_NODE = "retrain_from_answers"
"""The op of the job ``retrain``."""

SIMULATE_NODE = "replay_labels"
"""The op of the job ``simulate``."""

BACKBONES_NODE = "measure_backbones"
"""The op of the job ``backbones``."""

PRETRAIN_NODE = "pretrain_backbone"
"""The op of the job ``pretrain``."""

EXPORT_NODE = "export_model"
"""The op of the job ``export``."""

CASCADE_NODE = "make_cascade"
"""The op of the job ``cascade``."""
COMPRESS_NODE = "compress_model"
"""The op of the job ``compress``."""

SETTLE_NODE = "settle_candidate"
"""The op that asks the gate after a retraining that a sensor started."""

APPROVALS_NODE = "carry_out_approved_promotions"
"""The op that promotes what leads have approved."""

JOB_NODES: dict[Job, tuple[str, ...]] = {
    Job.INGEST: (AssetName.IMAGES,),
    Job.CURATE: (AssetName.DATASET,),
    Job.TRAIN: (AssetName.CANDIDATE,),
    Job.EVALUATE: (AssetName.EVALUATION,),
    Job.PROMOTE: (AssetName.CHAMPION,),
    Job.ROLLBACK: ("restore_previous_champion",),
    Job.SCORE: (AssetName.BATCH_SCORES,),
    Job.QUEUE: (AssetName.REVIEW_ROUND,),
    Job.REPORT: (AssetName.HTML_REPORT,),
    Job.IMPORT_LABELS: ("import_labels_file",),
    Job.RETRAIN: (RETRAIN_NODE,),
    Job.LEARN_FROM_ANSWERS: (RETRAIN_NODE, SETTLE_NODE),
    Job.APPROVED_PROMOTIONS: (APPROVALS_NODE,),
    Job.SIMULATE: (SIMULATE_NODE,),
    Job.BACKBONES: (BACKBONES_NODE,),
    Job.PRETRAIN: (PRETRAIN_NODE,),
    Job.EXPORT: (EXPORT_NODE,),
    Job.CASCADE: (CASCADE_NODE,),
    Job.COMPRESS: (COMPRESS_NODE,),
    Job.FULL_RETRAINING: (AssetName.DATASET, AssetName.CANDIDATE, AssetName.EVALUATION),
}
"""The nodes of each job, in running order; the last one's report is the job's answer."""
