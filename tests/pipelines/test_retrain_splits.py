"""Answers may teach, but a test set grows only by images that nobody chose for what a model said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.images import images_frame
from data_contracts.records import NewLabelEvent
from data_contracts.review.records import NewTask
from data_contracts.review.tasks import add_round
from data_contracts.vocabulary import Action, Purpose, ReviewReason, Source, SubjectKind, TaskKind
from data_contracts.workspace import Workspace
from pipelines.steps.curate import curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.ingest import IngestRequest, ingest
from tests.pipelines.commands import make_images, texture


def arrivals(folder: Path, count: int) -> Path:
    """Production images without labels."""
    folder.mkdir()
    chance = np.random.default_rng(31)
    for number in range(count):
        Image.fromarray(texture("stripes", chance)).save(folder / f"part-{number:03d}.png")
    return folder


def task(image_id: str, *, audit: bool) -> NewTask:
    return NewTask.model_validate(
        {
            "subject_kind": SubjectKind.IMAGE,
            "subject_id": image_id,
            "kind": TaskKind.LEARN,
            "reason": ReviewReason.RANDOM_AUDIT if audit else ReviewReason.LOW_CONFIDENCE,
            "purpose": Purpose.AUDIT if audit else Purpose.REVIEW,
            "priority": 0.5,
        }
    )


def test_chosen_images_only_train_and_audited_ones_only_test(workspace: Workspace, tmp_path: Path) -> None:
    ingest(workspace, IngestRequest(images=make_images(tmp_path / "labelled", per_class=20), who="tester"))
    curate(workspace)
    _, before = load_dataset(workspace)
    ingest(workspace, IngestRequest(images=arrivals(tmp_path / "arrivals", 60), who="tester"))
    with Ledger.open(workspace) as ledger:
        ids = sorted(set(images_frame(ledger)["image_id"]) - set(before["image_id"]))
        chosen, audited = ids[:30], ids[30:]
        tasks = [task(i, audit=False) for i in chosen] + [task(i, audit=True) for i in audited]
        add_round(ledger, tasks, round_id="r1", model_version=None, strategy="margin", budget=60, seed=0)
        append_events(
            ledger,
            [
                NewLabelEvent(who="ann", subject_id=i, action=Action.LABEL, label="stripes", source=Source.READER)
                for i in ids
            ],
        )
    report = curate(workspace)
    record, after = load_dataset(workspace)
    split = after.set_index("image_id")["split"]
    assert set(split[chosen]) == {"train"}
    assert set(split[audited]) == {"test"}
    assert (report.test_edition, record.test_edition) == (2, 2)
    assert any("30 images have joined the test set: 30 drawn by a random audit" in said for said in report.sentences)
    assert (split[before["image_id"]].to_numpy() == before["split"].to_numpy()).all()


def test_where_everything_was_chosen_there_still_is_a_test_set(workspace: Workspace, tmp_path: Path) -> None:
    ingest(workspace, IngestRequest(images=arrivals(tmp_path / "arrivals", 60), who="tester"))
    with Ledger.open(workspace) as ledger:
        ids = sorted(images_frame(ledger)["image_id"])
        tasks = [task(i, audit=False) for i in ids]
        add_round(ledger, tasks, round_id="r1", model_version=None, strategy="margin", budget=60, seed=0)
    labels = tmp_path / "labels.csv"
    rows = [f"{path},{'ab'[n % 2]}" for n, path in enumerate(sorted((tmp_path / "arrivals").glob("*.png")))]
    labels.write_text("\n".join(["image,label", *rows]) + "\n", encoding="utf-8")
    ingest(workspace, IngestRequest(images=tmp_path / "arrivals", labels=labels, who="tester"))
    report = curate(workspace)
    assert all(sum(report.splits[split].values()) > 0 for split in ("train", "val", "test"))
