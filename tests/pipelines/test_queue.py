"""A review round on a real workspace: what waits, what is audited, what teaches, and nothing twice."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from data_contracts.display import DisplayCopies
from data_contracts.errors import BadInput, NotFound
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.images import find_images, images_frame, set_groups
from data_contracts.ledger.taxonomies import current_taxonomy, save_taxonomy
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer
from data_contracts.review.serving import serve
from data_contracts.review.tasks import rounds_frame, task, tasks_frame
from data_contracts.set_aside import is_set_aside
from data_contracts.vocabulary import Action, Purpose, SubjectKind, TaskKind
from data_contracts.workspace import Workspace
from pipelines.command_line.summaries_queue import summarise_queue
from pipelines.steps.curate import curate
from pipelines.steps.ingest import IngestRequest, ingest
from pipelines.steps.initialise import initialise
from pipelines.steps.ledger import open_ledger
from pipelines.steps.queue import QueueReport, QueueRequest, build_queue
from pipelines.steps.score import ScoreRequest, score
from tests.pipelines.commands import CLASSES, done, make_images

FLAGGED = 12


@pytest.fixture(scope="session")
def scored_workspace(tmp_path_factory: pytest.TempPathFactory, promoted_workspace: Path, new_images: Path) -> Path:
    """A production batch scored; ``scores.parquet`` beside the workspace sends only 12 of its 60 images to review."""
    folder = tmp_path_factory.mktemp("scored") / "workspace"
    shutil.copytree(promoted_workspace, folder)
    out = folder.parent / "batch.parquet"
    score(Workspace(folder), ScoreRequest(images=str(new_images), out=out))
    frame = pd.read_parquet(out)
    unsure = frame["confidence"].rank(method="first") <= FLAGGED
    frame.loc[~unsure & frame["error"].isna(), ["decision", "reason"]] = ["auto", None]
    frame.to_parquet(out, index=False)
    return folder


@pytest.fixture(scope="session")
def round_built(tmp_path_factory: pytest.TempPathFactory, scored_workspace: Path) -> tuple[Workspace, QueueReport]:
    """One round of 40 learn tasks, and its report; read only."""
    workspace = Workspace(Path(shutil.copytree(scored_workspace, tmp_path_factory.mktemp("built") / "workspace")))
    shutil.copyfile(scored_workspace.parent / "batch.parquet", workspace.folder.parent / "batch.parquet")
    return workspace, _build(workspace, budget=40)


@pytest.fixture
def built(round_built: tuple[Workspace, QueueReport], tmp_path: Path) -> tuple[Workspace, QueueReport]:
    """A copy of the workspace with a round that a test may change."""
    workspace, report = round_built
    shutil.copyfile(workspace.folder.parent / "batch.parquet", tmp_path / "batch.parquet")
    return Workspace(Path(shutil.copytree(workspace.folder, tmp_path / "workspace"))), report


@pytest.fixture
def scored(scored_workspace: Path, tmp_path: Path) -> Workspace:
    """A copy of the workspace with scores that a test may change."""
    shutil.copyfile(scored_workspace.parent / "batch.parquet", tmp_path / "batch.parquet")
    return Workspace(Path(shutil.copytree(scored_workspace, tmp_path / "workspace")))


def _build(workspace: Workspace, **changes: object) -> QueueReport:
    request = {"scores": (workspace.folder.parent / "batch.parquet",), **changes}
    return build_queue(workspace, QueueRequest.model_validate(request))


def _tasks(workspace: Workspace) -> pd.DataFrame:
    with open_ledger(workspace) as ledger:
        return tasks_frame(ledger)


def _profile(workspace: Workspace, *lines: str) -> None:
    text = workspace.profile_path.read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not any(line.strip().startswith(new.split(":")[0]) for new in lines)]
    at = next(number for number, line in enumerate(kept) if line.startswith("review:"))
    kept[at + 1 : at + 1] = [f"  {line}" for line in lines]
    workspace.profile_path.write_text("\n".join(kept) + "\n", encoding="utf-8")


def test_what_was_flagged_waits_and_the_rest_is_within_the_budget(round_built: tuple[Workspace, QueueReport]) -> None:
    workspace, report = round_built
    assert (report.hold, report.model_version, report.unreadable) == (FLAGGED, "1", 1)
    assert report.images_added == 60
    assert 0 < report.learn <= 40
    assert report.tasks == report.hold + report.learn == sum(report.by_reason.values())
    tasks = _tasks(workspace)
    holds = tasks[tasks["kind"] == TaskKind.HOLD.value]
    assert holds["due_at"].notna().all()
    assert tasks[tasks["kind"] == TaskKind.LEARN.value]["due_at"].isna().all()
    assert set(holds["batch"]) == {"batch"}
    assert tasks["subject_id"].is_unique
    assert (tasks["model_version"] == "1").all()


def test_scored_images_are_known_without_a_label_whatever_their_folder_is_called(
    round_built: tuple[Workspace, QueueReport], new_images: Path
) -> None:
    with open_ledger(round_built[0]) as ledger:
        [image_id] = find_images(ledger, str(new_images / "dots" / "dots-003.png"))
        labels = image_labels(ledger).set_index("image_id")["label"]
    assert labels[image_id] is None
    assert labels.isna().sum() == 60


def test_every_task_carries_what_the_app_needs(round_built: tuple[Workspace, QueueReport]) -> None:
    workspace, _ = round_built
    copies = DisplayCopies(workspace)
    with open_ledger(workspace) as ledger:
        labels = image_labels(ledger).set_index("image_id")["label"]
        records = [task(ledger, task_id) for task_id in tasks_frame(ledger)["task_id"]]
    for one in records:
        evidence = one.evidence
        assert len(evidence.top) == 3
        assert sum(share for _, share in evidence.top) == pytest.approx(1, abs=1e-4)
        assert one.predicted == one.class_a == evidence.top[0][0]
        assert one.confidence == pytest.approx(evidence.top[0][1], abs=1e-5)
        assert len(evidence.neighbours_a) == len(evidence.neighbours_b) == 4
        assert {labels[image] for image in evidence.neighbours_a} == {one.class_a}
        assert {labels[image] for image in evidence.neighbours_b} == {one.class_b}
        assert one.subject_id not in evidence.neighbours_a
        assert evidence.novelty is not None
        assert evidence.overlay
        assert copies.overlay(one.subject_id)
        assert copies.about(one.subject_id).overlay_class == one.predicted
        for image in (*one.image_ids, *evidence.neighbours_a, *evidence.neighbours_b):
            assert copies.has(image)


def test_the_audit_is_drawn_from_what_is_set_aside_and_nothing_else_touches_it(
    round_built: tuple[Workspace, QueueReport],
) -> None:
    workspace, report = round_built
    tasks = _tasks(workspace)
    audits = tasks[tasks["purpose"] == Purpose.AUDIT.value]
    assert 1 <= report.audits == len(audits) <= 4
    assert audits["blind"].all()
    assert (audits["reason"] == "random_audit").all()
    assert audits["subject_id"].map(is_set_aside).all()
    with open_ledger(workspace) as ledger:
        labelled = image_labels(ledger).dropna(subset=["label"])["image_id"]
    learned = tasks[(tasks["kind"] == TaskKind.LEARN.value) & (tasks["purpose"] == Purpose.REVIEW.value)]
    assert not learned.loc[~learned["subject_id"].isin(labelled), "subject_id"].map(is_set_aside).any()


def test_the_same_round_again_adds_nothing_and_a_lost_picture_comes_back(
    built: tuple[Workspace, QueueReport],
) -> None:
    workspace, first = built
    copies = DisplayCopies(workspace)
    victim = _tasks(workspace)["subject_id"].iloc[0]
    shutil.rmtree(copies.folder(victim))
    second = _build(workspace, budget=40)
    assert second.repeated
    assert (second.round, second.tasks, second.images_added) == (first.round, first.tasks, 0)
    assert second.display_copies == 1
    assert copies.has(victim)
    assert copies.overlay(victim)
    with open_ledger(workspace) as ledger:
        assert len(rounds_frame(ledger)) == 1
        assert len(tasks_frame(ledger)) == first.tasks


def test_no_budget_and_no_time_still_drop_no_part_that_waits(scored: Workspace) -> None:
    report = _build(scored, budget=0)
    assert (report.hold, report.learn) == (FLAGGED, 0)
    assert report.dropped_by_budget > 0
    _profile(scored, "reader_hours_per_week: 0")
    later = _build(scored, budget=20)
    assert (later.hold, later.already_open, later.learn, later.capacity) == (0, FLAGGED, 0, 0)


def test_a_strategy_can_be_named_and_nothing_need_wait(scored: Workspace) -> None:
    report = _build(scored, strategy="margin", budget=8, hold=False)
    assert (report.hold, report.learn, report.strategy) == (0, 8, "margin")
    assert set(_tasks(scored)["strategy"]) == {"margin"}


def test_a_learn_task_becomes_a_hold_once_its_image_is_flagged(scored: Workspace) -> None:
    _build(scored, strategy="low_confidence", budget=6, hold=False)
    asked = set(_tasks(scored).query("purpose == 'review'")["subject_id"])
    _build(scored, budget=0)
    tasks = _tasks(scored).set_index("subject_id")
    assert (tasks["kind"] == TaskKind.HOLD.value).sum() == FLAGGED
    assert (tasks.loc[sorted(asked), "kind"] == TaskKind.HOLD.value).sum() >= 4


def test_a_group_is_one_task_with_all_its_images(built: tuple[Workspace, QueueReport]) -> None:
    workspace, _ = built
    _profile(workspace, "by_group: true")
    with open_ledger(workspace) as ledger:
        frame = images_frame(ledger)
        batch = frame[frame["batch"] == "batch"]["image_id"].tolist()
        set_groups(ledger, {image: f"part-{number // 3}" for number, image in enumerate(batch)})
    report = _build(workspace, budget=5, seed=1)
    tasks = _tasks(workspace)
    grouped = tasks[tasks["subject_kind"] == SubjectKind.GROUP.value]
    assert len(grouped)
    assert grouped["subject_id"].is_unique
    copies = DisplayCopies(workspace)
    with open_ledger(workspace) as ledger:
        for task_id in grouped["task_id"]:
            one = task(ledger, task_id)
            assert len(one.image_ids) == 3
            assert all(copies.has(image) and copies.overlay(image) for image in one.image_ids)
    scores = pd.read_parquet(workspace.folder.parent / "batch.parquet")
    flagged = set(scores.loc[(scores["decision"] == "review") & scores["error"].isna(), "image_id"])
    parts = {f"part-{number // 3}" for number, image in enumerate(batch) if image in flagged}
    waiting = grouped[grouped["kind"] == TaskKind.HOLD.value]
    assert parts <= set(waiting["subject_id"])
    assert report.hold == len(waiting)
    assert set(waiting.loc[~waiting["subject_id"].isin(parts), "reason"]) <= {"disagreement", "random_audit"}


def test_a_file_that_is_gone_is_counted_and_stops_nothing(scored: Workspace, tmp_path: Path, new_images: Path) -> None:
    moved = Path(shutil.copytree(new_images / "dots", tmp_path / "inbox"))
    score(scored, ScoreRequest(images=str(moved), out=tmp_path / "dots.parquet"))
    (moved / "dots-000.png").unlink()
    report = build_queue(scored, QueueRequest(scores=(tmp_path / "dots.parquet",), budget=0))
    assert report.files_gone == 1
    assert report.hold == 19


def test_a_mistake_is_explained(scored_workspace: Path, tmp_path: Path) -> None:
    workspace = Workspace(scored_workspace)

    def refused(kind: type[BadInput], what: str, **changes: object) -> None:
        with pytest.raises(kind, match=what):
            build_queue(workspace, QueueRequest.model_validate(changes))

    (tmp_path / "text.parquet").write_text("no")
    refused(BadInput, "Did you mean 'margin'", strategy="margn")
    refused(NotFound, "There is no score file", scores=(tmp_path / "none.parquet",))
    refused(BadInput, "is not a score file", scores=(tmp_path / "text.parquet",))


def test_a_workspace_without_a_model_begins_with_typical_and_diverse_images(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    initialise(workspace, "generic")
    with pytest.raises(BadInput, match="There is no image to ask about"):
        build_queue(workspace, QueueRequest())
    plain = tmp_path / "unsorted"
    plain.mkdir()
    for path in make_images(tmp_path / "images", per_class=12).rglob("*.png"):
        shutil.copyfile(path, plain / path.name)
    ingest(workspace, IngestRequest(images=plain))
    report = build_queue(workspace, QueueRequest(budget=10))
    assert (report.model_version, report.hold, report.learn) == (None, 0, 10)
    assert set(report.by_reason) <= {"cold_start", "random_audit"}
    assert report.by_reason["cold_start"] == 10 - report.audits
    with open_ledger(workspace) as ledger:
        uris = images_frame(ledger).set_index("image_id")["uri"]
    kinds = {image: Path(uris[image]).name.partition("-")[0] for image in _tasks(workspace)["subject_id"]}
    assert set(kinds.values()) == set(CLASSES)
    _answer_everything(workspace, kinds)
    splits = curate(workspace).splits  # the first data set has all three parts, although people were asked on purpose
    assert {name: bool(counts) and sum(counts.values()) > 0 for name, counts in splits.items()} == dict.fromkeys(
        ("train", "val", "test"), True
    )


def _answer_everything(workspace: Workspace, labels: dict[str, str]) -> None:
    with open_ledger(workspace) as ledger:
        if not current_taxonomy(ledger).names:
            taxonomy = current_taxonomy(ledger).extended(sorted(set(labels.values())))
            save_taxonomy(ledger, taxonomy, "test", "first classes")
        for one in serve(ledger, "mei", count=100):
            answer = Answer(
                task_id=one.task_id, request_id=one.task_id, action=Action.LABEL, label=labels[one.subject_id]
            )
            decide(ledger, "mei", answer)


def test_the_verb_takes_every_scored_batch_by_itself(scored: Workspace) -> None:
    report = done(scored.folder, "queue", "--budget", "5")
    assert report["hold"] == 60
    assert report["batches"][0].startswith("batch-")
    console = Console(file=io.StringIO(), width=120)
    summarise_queue(report, console)
    assert "that wait" in console.file.getvalue()  # type: ignore[attr-defined]
