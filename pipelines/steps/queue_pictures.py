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
    ledger: Ledger,
    blobs: Blobs,
    pool: RoundPool,
    model: RoundModel | None,
    prepared: Sequence[Prepared],
    round_id: str,
    progress: Progress,
) -> set[str]:
    """Overlays for the class that is predicted for each task, on all images of its subject; a known round's again."""
    if model is None:
        return set()
    wanted: dict[tuple[str, str], str] = {}
    for one in prepared:
        if one.first is not None:
            subject = pool.images.iloc[one.chosen.row]
            wanted[subject["subject_kind"], subject["subject_id"]] = pool.taxonomy.names[one.first]
    tasks = tasks_frame(ledger)
    tasks = tasks[(tasks["round"] == round_id) & tasks["predicted"].notna()]
    for kind, name, predicted in zip(tasks["subject_kind"], tasks["subject_id"], tasks["predicted"], strict=True):
        wanted.setdefault((kind, name), predicted)
    shares = model.shares(pool.taxonomy)
    own = {name: int(shares[:, i].argmax()) for i, name in enumerate(pool.taxonomy.names) if shares[:, i].any()}
    columns = (pool.images[name] for name in ("subject_kind", "subject_id", "image_id", "uri"))
    explained: dict[str, tuple[str, int]] = {}
    items: list[tuple[str, str]] = []
    for kind, subject_id, image_id, uri in zip(*columns, strict=True):
        class_name = wanted.get((kind, subject_id))
        if class_name in own:
            explained[image_id] = (class_name, own[class_name])
            items.append((image_id, uri))
    return make_overlays(
        workspace, blobs, model.embedder, items, explained, model_version=model.version, progress=progress
    )
