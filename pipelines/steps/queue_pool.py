"""Everything that a round may ask about: images with what is known of each, aligned with the arrays of selection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_contracts.blobs import Blobs
from data_contracts.ledger.conflicts import conflicts_frame
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.fold import current_labels, image_answers
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.near_duplicates import near_duplicates_frame
from data_contracts.ledger.splits import split_assignments
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.progress import Progress
from data_contracts.review.panel import independent_answers
from data_contracts.review.tasks import tasks_frame
from data_contracts.set_aside import components_set_aside, lot
from data_contracts.splitting import components
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import ConflictKind, ReviewReason, Split, SubjectKind, TaskState
from data_contracts.workspace import Workspace
from domain_models.decision_costs import cost_matrix
from domain_models.label_audit import out_of_fold_probabilities
from domain_models.selection.mapped_embeddings import Embeddings, blocks_of
from domain_models.selection.pool import UNLABELLED, Pool
from pipelines.steps.embeddings import Embedder, bundled_embedder, embeddings_of, mapped_embeddings_of
from pipelines.steps.panel import contradicted_images, judge_panel
from pipelines.steps.queue_model import RoundModel, confusion_today
from pipelines.steps.queue_scores import ScoredBatches
from pipelines.steps.score_parts import PROBABILITY

MOST_UNSCORED = 10_000
"""Of images without a label that no batch has scored, so many are looked at, by lot."""

MOST_LABELLED = 10_000
"""So many labelled images serve as neighbours and are audited, by lot."""

_OPEN = (TaskState.OPEN, TaskState.LEASED, TaskState.ANSWERED, TaskState.DISPUTED)
_CONTRADICTIONS = (
    ConflictKind.DUPLICATE_LABELS.value,
    ConflictKind.NEAR_DUPLICATE_LABELS.value,
    ConflictKind.IMPORT_AGAINST_HUMAN.value,
)
_SAID = ("source", "at", "event_id")
"""Of the answer that holds."""


@dataclass(frozen=True)
class RoundPool:
    """The pool and, aligned with it, ``images``.

    ``images`` has the columns ``image_id, uri, subject_kind, subject_id, component, label`` (class today, or None),
    ``bad_image, waiting`` (has a task under way), ``set_aside, in_test`` (belongs with images of the test), ``lot,
    scored, flagged, batch, reason``.
    """

    images: pd.DataFrame
    pool: Pool
    taxonomy: Taxonomy
    embedder: Embedder | None


def build_pool(
    workspace: Workspace,
    ledger: Ledger,
    blobs: Blobs,
    scored: ScoredBatches,
    model: RoundModel | None,
    *,
    by_group: bool,
    seed: int,
    progress: Progress,
) -> RoundPool:
    """Gather what the ledger, the scores and the model's network know.

    Args:
        workspace: for caches.
        ledger: knows every scored image already.
        blobs: where the bytes come from.
        scored: the batches of the round.
        model: whose network says where images lie; ``None``: the bundled backbone does, and nothing is predicted.
        by_group: one task is a group with all its images.
        seed: of the audit of labels.
        progress: told of the work.
    """
    taxonomy = current_taxonomy(ledger)
    images = _images(ledger, scored, taxonomy, by_group=by_group)
    if not len(images):
        return RoundPool(images, Pool.of(0, classes=taxonomy.names), taxonomy, None)
    unshaped = bundled_embedder(images, workspace.profile)
    embedder = unshaped if model is None else model.embedder
    items = list(zip(images["image_id"], images["uri"], strict=True))
    embeddings = mapped_embeddings_of(workspace, blobs, embedder, items, progress)
    labels = _label_codes(images, taxonomy)
    given = np.flatnonzero(labels != UNLABELLED)
    # A network that learned these labels agrees with the wrong ones too; the backbone as it came does not.
    features = embeddings_of(workspace, blobs, unshaped, [items[row] for row in given], progress)
    probabilities = _probabilities(images, scored, model, embeddings, taxonomy)
    with progress.step("Holding labels against what a model says that never saw them"):
        parts = images["component"].iloc[given].tolist()
        probabilities[given] = out_of_fold_probabilities(features, labels[given], parts, len(taxonomy.names), seed=seed)
    with progress.step("Holding labels against what several readers say together"):
        panel = judge_panel(
            independent_answers(ledger), images, probabilities, taxonomy.names, intervals=False, seed=seed
        )
    pool = Pool.of(
        len(images),
        classes=taxonomy.names,
        candidates=(~images["bad_image"] & ~images["waiting"]).to_numpy(dtype=bool),
        labels=labels,
        probabilities=probabilities,
        embeddings=embeddings,
        groups=pd.factorize(images["subject_kind"] + images["subject_id"])[0].astype(np.int64),
        conflicts=images["image_id"].isin(_undecided(ledger) | contradicted_images(panel)).to_numpy(dtype=bool),
        confusion=None if model is None else confusion_today(model, taxonomy),
        costs=cost_matrix(taxonomy.names, workspace.profile.under(taxonomy).costs),
    )
    return RoundPool(images, pool, taxonomy, embedder)


def _images(ledger: Ledger, scored: ScoredBatches, taxonomy: Taxonomy, *, by_group: bool) -> pd.DataFrame:
    frame = images_frame(ledger)[["image_id", "uri", "group", "mode", "width", "height", "batch"]]
    frame = frame.rename(columns={"batch": "delivery"})
    frame = frame.merge(image_answers(ledger)[["image_id", "label", "bad_image", *_SAID]], on="image_id", how="left")
    rows = scored.frame.reindex(columns=["image_id", "batch", "reason", "decision", "predicted"])
    frame = frame.merge(rows.assign(flagged=scored.flagged), on="image_id", how="left")
    frame["scored"] = frame["decision"].notna()
    frame["flagged"] = frame["flagged"].eq(True)
    grouped = frame["group"].notna() & by_group
    said = frame[grouped & frame["scored"]].groupby("group")["predicted"].nunique()
    torn = grouped & frame["scored"] & ~frame["flagged"] & frame["group"].map(said).gt(1)
    frame["flagged"] = frame["flagged"] | torn  # there is no verdict for the group
    frame["reason"] = frame["reason"].where(~torn, ReviewReason.DISAGREEMENT.value)
    frame["subject_kind"] = np.where(grouped, SubjectKind.GROUP.value, SubjectKind.IMAGE.value)
    frame["subject_id"] = frame["group"].where(grouped, frame["image_id"])
    pairs = near_duplicates_frame(ledger)
    bound = pairs[pairs["binding"]]
    groups = {i: (g if isinstance(g, str) else None) for i, g in zip(frame["image_id"], frame["group"], strict=True)}
    component_of = components(groups, zip(bound["image_a"], bound["image_b"], strict=True))
    frame["component"] = frame["image_id"].map(component_of)
    frame["set_aside"] = frame["component"].isin(components_set_aside(component_of, groups))
    frame["lot"] = frame["group"].where(frame["group"].notna(), frame["image_id"]).map(lot)
    tasks = tasks_frame(ledger, _OPEN)
    waiting = set(zip(tasks["subject_kind"], tasks["subject_id"], strict=True))
    subjects = zip(frame["subject_kind"], frame["subject_id"], strict=True)
    frame["waiting"] = [subject in waiting for subject in subjects]
    splits = split_assignments(ledger)
    tested = set(splits.loc[splits["split"] == Split.TEST.value, "image_id"])
    frame["in_test"] = frame["component"].isin(frame.loc[frame["image_id"].isin(tested), "component"])
    return _within_reach(frame, tested, taxonomy)


def _within_reach(frame: pd.DataFrame, tested: set[str], taxonomy: Taxonomy) -> pd.DataFrame:
    """Scored images; labelled ones (not of the test) and unlabelled ones, as many as can be looked at."""
    by_chance = frame.sort_values("lot", kind="stable")
    usable = by_chance["label"].isin(taxonomy.names) & ~by_chance["bad_image"]
    labelled = by_chance[usable & ~by_chance["image_id"].isin(tested)].head(MOST_LABELLED)
    unlabelled = by_chance[~usable & ~by_chance["bad_image"] & ~by_chance["scored"]]  # also of classes that are gone
    keep = frame["scored"] | frame.index.isin(labelled.index) | frame.index.isin(unlabelled.head(MOST_UNSCORED).index)
    return frame[keep & ~frame["image_id"].isin(tested)].reset_index(drop=True)


def _label_codes(images: pd.DataFrame, taxonomy: Taxonomy) -> NDArray[np.int64]:
    index = {name: number for number, name in enumerate(taxonomy.names)}
    return np.array([index.get(label, UNLABELLED) for label in images["label"]], dtype=np.int64)


def _probabilities(
    images: pd.DataFrame,
    scored: ScoredBatches,
    model: RoundModel | None,
    embeddings: Embeddings,
    taxonomy: Taxonomy,
) -> NDArray[np.float64]:
    """float64 [n, k]: what scores say, else what the model says; NaN where neither does."""
    values = np.full((len(images), len(taxonomy.names)), np.nan)
    if not taxonomy.names:
        return values
    known = np.zeros(len(images), dtype=bool)
    if len(scored.frame):
        columns = [f"{PROBABILITY}{name}" for name in scored.classes]
        said = scored.frame.set_index("image_id")[columns].reindex(images["image_id"]).to_numpy(dtype=np.float64)
        known = np.isfinite(said).all(axis=1)
        values[known] = said[known] @ scored.shares(taxonomy)
    if model is not None:
        shares = model.shares(taxonomy)
        for rows in blocks_of(np.flatnonzero(~known)):
            values[rows] = model.probabilities(embeddings[rows]) @ shares
    return values


def _undecided(ledger: Ledger) -> set[str]:
    """Images about which statements contradict each other, and nobody said anything since."""
    found = conflicts_frame(ledger)
    found = found[found["kind"].isin(_CONTRADICTIONS) & (found["subject_kind"] == SubjectKind.IMAGE.value)]
    if found.empty:
        return set()
    labels = current_labels(ledger)
    labels = labels[labels["subject_kind"] == SubjectKind.IMAGE.value]
    since = found["subject_id"].map(dict(zip(labels["subject_id"], labels["at"], strict=True)))
    return set(found.loc[~(since > found["at"]), "subject_id"])
