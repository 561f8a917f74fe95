"""A review round on a real workspace: what waits, what is audited, what teaches, and nothing twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from data_contracts.display import DisplayCopies
from data_contracts.errors import BadInput, NotFound
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.images import find_images, images_frame, set_groups
from data_contracts.review.tasks import rounds_frame, task, tasks_frame
from data_contracts.set_aside import is_set_aside
from data_contracts.vocabulary import Purpose, SubjectKind, TaskKind
from data_contracts.workspace import Workspace
from pipelines.steps.ledger import open_ledger
from pipelines.steps.queue import QueueReport, QueueRequest, build_queue
from pipelines.steps.score import ScoreRequest, score
from tests.pipelines.commands import done, make_images, tailsight

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


@pytest.fixture
def scored(scored_workspace: Path, tmp_path: Path) -> Workspace:
    """A copy of the workspace with scores that a test may change."""
    shutil.copyfile(scored_workspace.parent / "batch.parquet", tmp_path / "batch.parquet")
    return Workspace(Path(shutil.copytree(scored_workspace, tmp_path / "workspace")))


@pytest.fixture
def build(scored: Workspace) -> Callable[..., QueueReport]:
    """Build a round from the scores."""

    def run(**changes: object) -> QueueReport:
        request = {"scores": (scored.folder.parent / "batch.parquet",), "budget": 20, **changes}
        return build_queue(scored, QueueRequest.model_validate(request))

    return run


def _tasks(workspace: Workspace) -> pd.DataFrame:
    with open_ledger(workspace) as ledger:
        return tasks_frame(ledger)


def _profile(workspace: Workspace, *lines: str) -> None:
    text = workspace.profile_path.read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not any(line.strip().startswith(new.split(":")[0]) for new in lines)]
    at = next(number for number, line in enumerate(kept) if line.startswith("review:"))
    kept[at + 1 : at + 1] = [f"  {line}" for line in lines]
    workspace.profile_path.write_text("\n".join(kept) + "\n", encoding="utf-8")


def test_what_was_flagged_waits_and_the_rest_is_within_the_budget(
    scored: Workspace, build: Callable[..., QueueReport]
) -> None:
    report = build()
    assert (report.hold, report.model_version, report.unreadable) == (FLAGGED, "1", 1)
    assert report.images_added == 60
    assert 0 < report.learn <= 20
    assert report.tasks == report.hold + report.learn == sum(report.by_reason.values())
    tasks = _tasks(scored)
    holds = tasks[tasks["kind"] == TaskKind.HOLD.value]
    assert holds["due_at"].notna().all()
    assert tasks[tasks["kind"] == TaskKind.LEARN.value]["due_at"].isna().all()
    assert set(holds["batch"]) == {"batch"}
    assert tasks["subject_id"].is_unique
    assert (tasks["model_version"] == "1").all()


def test_a_budget_of_nothing_still_drops_no_part_that_waits(build: Callable[..., QueueReport]) -> None:
    report = build(budget=0)
    assert (report.hold, report.learn) == (FLAGGED, 0)
    assert report.dropped_by_budget > 0


def test_readers_without_time_get_only_what_waits(scored: Workspace, build: Callable[..., QueueReport]) -> None:
    _profile(scored, "reader_hours_per_week: 0")
    report = build()
    assert (report.hold, report.learn, report.capacity) == (FLAGGED, 0, 0)


def test_the_same_round_again_adds_nothing_and_a_lost_picture_comes_back(
    scored: Workspace, build: Callable[..., QueueReport]
) -> None:
    first = build()
    copies = DisplayCopies(scored)
    victim = _tasks(scored)["subject_id"].iloc[0]
    shutil.rmtree(copies.folder(victim))
    second = build()
    assert second.repeated
    assert (second.round, second.tasks, second.images_added) == (first.round, first.tasks, 0)
    assert second.display_copies == 1
    assert copies.has(victim)
    with open_ledger(scored) as ledger:
        assert len(rounds_frame(ledger)) == 1
        assert len(tasks_frame(ledger)) == first.tasks


def test_scored_images_are_known_without_a_label_whatever_their_folder_is_called(
    scored: Workspace, build: Callable[..., QueueReport], new_images: Path
) -> None:
    build()
    with open_ledger(scored) as ledger:
        [image_id] = find_images(ledger, str(new_images / "dots" / "dots-003.png"))
        labels = image_labels(ledger).set_index("image_id")["label"]
        frame = images_frame(ledger)
    assert labels[image_id] is None
    assert labels.isna().sum() == 60
    assert len(frame) == len(labels)


def test_every_task_carries_what_the_app_needs(scored: Workspace, build: Callable[..., QueueReport]) -> None:
    build()
    copies = DisplayCopies(scored)
    with open_ledger(scored) as ledger:
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
    scored: Workspace, build: Callable[..., QueueReport]
) -> None:
    report = build(budget=40)
    tasks = _tasks(scored)
    audits = tasks[tasks["purpose"] == Purpose.AUDIT.value]
    assert 1 <= report.audits == len(audits) <= 4
    assert audits["blind"].all()
    assert (audits["reason"] == "random_audit").all()
    assert audits["subject_id"].map(is_set_aside).all()
    with open_ledger(scored) as ledger:
        labelled = image_labels(ledger).dropna(subset=["label"])["image_id"]
    learned = tasks[(tasks["kind"] == TaskKind.LEARN.value) & (tasks["purpose"] == Purpose.REVIEW.value)]
    assert not learned.loc[~learned["subject_id"].isin(labelled), "subject_id"].map(is_set_aside).any()


def test_without_hold_flagged_images_compete_for_the_budget(build: Callable[..., QueueReport]) -> None:
    report = build(hold=False, budget=8)
    assert (report.hold, report.learn) == (0, 8)


@pytest.mark.parametrize("strategy", ["margin", "random", "novelty"])
def test_a_strategy_can_be_named(scored: Workspace, build: Callable[..., QueueReport], strategy: str) -> None:
    report = build(strategy=strategy, budget=6, hold=False)
    assert report.strategy == strategy
    assert report.learn == 6
    assert set(_tasks(scored)["strategy"]) == {strategy}


def test_a_group_is_one_task_with_all_its_images(scored: Workspace, build: Callable[..., QueueReport]) -> None:
    build(budget=0, hold=False)  # makes the images known
    _profile(scored, "by_group: true")
    with open_ledger(scored) as ledger:
        batch = images_frame(ledger)
        batch = batch[batch["batch"] == "batch"]["image_id"].tolist()
        set_groups(ledger, {image: f"part-{number // 3}" for number, image in enumerate(batch)})
    report = build(budget=5)
    tasks = _tasks(scored)
    grouped = tasks[tasks["subject_kind"] == SubjectKind.GROUP.value]
    assert len(grouped) == report.hold + report.learn - (tasks["subject_kind"] == SubjectKind.IMAGE.value).sum()
    assert grouped["subject_id"].is_unique
    copies = DisplayCopies(scored)
    with open_ledger(scored) as ledger:
        for task_id in grouped["task_id"]:
            one = task(ledger, task_id)
            assert len(one.image_ids) == 3
            assert all(copies.has(image) for image in one.image_ids)
    frame = pd.read_parquet(scored.folder.parent / "batch.parquet")
    flagged = set(frame.loc[(frame["decision"] == "review") & frame["error"].isna(), "image_id"])
    parts = {f"part-{number // 3}" for number, image in enumerate(batch) if image in flagged}
    waiting = set(grouped.loc[grouped["kind"] == TaskKind.HOLD.value, "subject_id"])
    assert parts <= waiting


def test_a_file_that_is_gone_is_counted_and_stops_nothing(scored: Workspace, tmp_path: Path, new_images: Path) -> None:
    moved = Path(shutil.copytree(new_images / "dots", tmp_path / "inbox"))
    score(scored, ScoreRequest(images=str(moved), out=tmp_path / "dots.parquet"))
    (moved / "dots-000.png").unlink()
    report = build_queue(scored, QueueRequest(scores=(tmp_path / "dots.parquet",), budget=0))
    assert report.files_gone == 1
    assert report.hold == 19


def test_a_mistake_is_explained(scored: Workspace, build: Callable[..., QueueReport], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Did you mean 'margin'"):
        build(strategy="margn")
    with pytest.raises(NotFound, match="There is no score file"):
        build(scores=(tmp_path / "none.parquet",))
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(BadInput, match="is not a score file"):
        build(scores=(tmp_path / "text.parquet",))


def test_a_workspace_without_a_model_begins_with_typical_and_diverse_images(tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    done(folder, "init", "--profile", "generic")
    images = make_images(tmp_path / "images", per_class=12)
    plain = tmp_path / "unsorted"
    plain.mkdir()
    for path in images.rglob("*.png"):
        shutil.copyfile(path, plain / path.name)
    done(folder, "ingest", str(plain))
    report = done(folder, "queue", "--budget", "10")
    assert report["by_reason"] == {"cold_start": report["learn"] - report["audits"], "random_audit": report["audits"]}
    assert (report["model_version"], report["hold"], report["learn"]) == (None, 0, 10)
    tasks = _tasks(Workspace(folder))
    kinds = set(tasks["subject_id"].map(lambda image: _kind(folder, image)))
    assert kinds == {"dots", "plain", "stripes"}
    again = done(folder, "queue", "--budget", "10")
    assert again["repeated"]


def _kind(folder: Path, image_id: str) -> str:
    with open_ledger(Workspace(folder)) as ledger:
        uri = images_frame(ledger).set_index("image_id").loc[image_id, "uri"]
    return Path(str(uri)).name.partition("-")[0]


def test_the_verb_takes_every_scored_batch_by_itself(scored: Workspace) -> None:
    report = done(scored.folder, "queue", "--budget", "5")
    assert report["hold"] == 60
    assert report["batches"][0].startswith("batch-")
    answer = tailsight(scored.folder, "queue", "--budget", "5")
    assert answer.code == 0, answer.stderr
    assert "nothing was added" in answer.stdout
    assert "Next: tailsight review" in answer.stdout
