"""Automatic decisions on their way out: what triage decided of scored images, as verdicts on images or on groups."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.promotions import promotions
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.progress import SILENT, Progress
from data_contracts.review.decisions_out import publish
from data_contracts.vocabulary import Alias, Decision, SubjectKind
from data_contracts.workspace import Workspace
from pipelines.steps.known_images import make_known
from pipelines.steps.queue_scores import ScoredBatches, finished_scores, read_scores

PATIENCE = 600.0


def know_the_scored(
    workspace: Workspace,
    ledger: Ledger,
    scored: ScoredBatches,
    *,
    copy_files: bool = False,
    progress: Progress = SILENT,
) -> tuple[int, int]:
    """Make scored images known to the ledger: (new ones, those that are gone or changed since they were scored)."""
    wanted = set(scored.frame["image_id"])
    added = 0
    with workspace.lock("ingest", wait_seconds=PATIENCE):
        for batch, rows in scored.frame.groupby("batch", sort=True):
            known = make_known(
                workspace, ledger, rows["path"].tolist(), batch=str(batch), copy_files=copy_files, progress=progress
            )
            added += known.added
    return added, len(wanted - set(images_frame(ledger)["image_id"]))


def publish_automatic(workspace: Workspace, ledger: Ledger, scored: ScoredBatches) -> int:
    """Put the automatic decisions of scored batches into the outbox; returns how many were new.

    Only a model that is or was the champion decides. Where the profile reviews by group, a group is decided when all
    its scored images are, and all the same; else people are asked, see :func:`group_verdicts`.
    """
    decided_by = {event.model_version for event in promotions(ledger) if event.to_alias is Alias.CHAMPION}
    if scored.model_version not in decided_by or not len(scored.frame):
        return 0
    images = images_frame(ledger)[["image_id", "group"]]
    rows = scored.frame.merge(images, on="image_id", how="inner")
    if workspace.profile.review.by_group:
        rows = group_verdicts(rows)
    return publish(ledger, rows[rows["decision"] == Decision.AUTO.value].reset_index(drop=True))


def publish_scored_batches(workspace: Workspace, ledger: Ledger, seen: set[Path]) -> int:
    """Publish every batch that a champion of this workspace has scored and that is not in ``seen`` yet (it grows)."""
    versions = dict.fromkeys(event.model_version for event in promotions(ledger) if event.to_alias is Alias.CHAMPION)
    published = 0
    for version in versions:
        fresh = [path for path in finished_scores(workspace, version) if path not in seen]
        if fresh:
            taxonomy = current_taxonomy(ledger)
            scored = read_scores(fresh, workspace=workspace, taxonomy=taxonomy, model_version=version)
            know_the_scored(workspace, ledger, scored)
            published += publish_automatic(workspace, ledger, scored)
            seen.update(fresh)
    return published


def group_verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Score rows with ``subject_kind`` and ``subject_id``; one row for each group that is decided automatically.

    Args:
        rows: columns of a score file and ``group`` (null where an image has none).
    """
    grouped = rows["group"].notna()
    alone = rows[~grouped].assign(subject_kind=SubjectKind.IMAGE.value, subject_id=rows.loc[~grouped, "image_id"])
    decided = rows[grouped].groupby("group").filter(_is_decided)
    heads = decided.drop_duplicates("group")
    heads = heads.assign(subject_kind=SubjectKind.GROUP.value, subject_id=heads["group"])
    return pd.concat([alone, heads], ignore_index=True)


def _is_decided(group: pd.DataFrame) -> bool:
    return bool((group["decision"] == Decision.AUTO.value).all() and group["predicted"].nunique() == 1)
