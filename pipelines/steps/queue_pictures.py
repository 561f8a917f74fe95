"""The pictures of a round: which images its tasks show, and where the evidence for each prediction lies."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from data_contracts.blobs import Blobs
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import images_frame
from data_contracts.progress import Progress
from data_contracts.review.tasks import tasks_frame
from data_contracts.vocabulary import SubjectKind
from data_contracts.workspace import Workspace
from pipelines.steps.display_copies import make_overlays
from pipelines.steps.queue_model import RoundModel
from pipelines.steps.queue_pool import RoundPool
from pipelines.steps.queue_tasks import Prepared


def shown_images(ledger: Ledger, pool: RoundPool, prepared: Sequence[Prepared], round_id: str) -> list[tuple[str, str]]:
    """(image id, uri) of all that the tasks show: their subjects' images and the neighbours; a known round's again."""
    frame = images_frame(ledger)
    subjects = pool.images.iloc[[one.chosen.row for one in prepared]] if prepared else pool.images.head(0)
    tasks = tasks_frame(ledger)
    tasks = tasks[tasks["round"] == round_id]
    shown = {image for one in prepared for image in (*one.neighbours_a, *one.neighbours_b)}
    for evidence in tasks["evidence"]:
        shown |= {*evidence.get("neighbours_a", ()), *evidence.get("neighbours_b", ())}
    everything = pd.concat([subjects[["subject_kind", "subject_id"]], tasks[["subject_kind", "subject_id"]]])
    grouped = everything["subject_kind"] == SubjectKind.GROUP.value
    shown |= set(everything.loc[~grouped, "subject_id"])
    groups = set(everything.loc[grouped, "subject_id"])
    wanted = frame[frame["image_id"].isin(shown) | frame["group"].isin(groups)]
    return list(zip(wanted["image_id"], wanted["uri"], strict=True))


def overlays_of_tasks(
    workspace: Workspace,
    blobs: Blobs,
    pool: RoundPool,
    model: RoundModel | None,
    prepared: Sequence[Prepared],
    progress: Progress,
) -> set[str]:
    """Overlays for the class that is predicted for each task, on all images of its subject."""
    if model is None or not prepared:
        return set()
    own = {pool.taxonomy.resolve(name): index for index, name in enumerate(model.classes)}
    explained: dict[str, tuple[str, int]] = {}
    items: list[tuple[str, str]] = []
    members = pool.images.groupby(["subject_kind", "subject_id"]).indices
    for one in prepared:
        name = None if one.first is None else pool.taxonomy.names[one.first]
        if name is None or name not in own:
            continue
        subject = pool.images.iloc[one.chosen.row]
        for row in members[subject["subject_kind"], subject["subject_id"]]:
            image = pool.images.iloc[row]
            explained[image["image_id"]] = (name, own[name])
            items.append((image["image_id"], image["uri"]))
    return make_overlays(
        workspace, blobs, model.embedder, items, explained, model_version=model.version, progress=progress
    )
