"""Dataset versions: the same state gives the same version, nothing leaks, and what follows is said in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from data_contracts.errors import BadInput, IntegrityError, NotFound
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.images import find_images, images_frame
from data_contracts.ledger.splits import split_assignments
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import NewLabelEvent
from data_contracts.vocabulary import Action, Source, Split
from data_contracts.workspace import Workspace
from pipelines.steps.curate import CurateReport, CurateRequest, curate
from pipelines.steps.dataset import MANIFEST_FILE, load_dataset, manifest_hash
from tests.pipelines.picture_files import class_folders, picture, save, take_in, write_csv


def split_of(manifest: pd.DataFrame) -> dict[str, str]:
    """Split by path."""
    return {uri.partition("/")[2]: split for uri, split in zip(manifest["uri"], manifest["split"], strict=True)}


def answer(workspace: Workspace, path: str, label: str | None, action: Action = Action.LABEL) -> None:
    with Ledger.open(workspace) as ledger:
        (image,) = find_images(ledger, path)
        append_events(
            ledger, [NewLabelEvent(who="ann", subject_id=image, action=action, label=label, source=Source.READER)]
        )


def test_the_same_state_gives_the_same_version_and_it_verifies(workspace: Workspace, tmp_path: Path) -> None:
    take_in(workspace, class_folders(tmp_path / "images", {"ok": 30, "scratch": 10}))
    first = curate(workspace)
    assert first.splits == {
        "train": {"ok": 21, "scratch": 7},
        "val": {"ok": 6, "scratch": 2},
        "test": {"ok": 3, "scratch": 1},
    }
    assert (first.leaks_found, first.imbalance_factor, first.test_edition) == (0, 3.0, 1)
    assert curate(workspace) == first
    assert curate(workspace, CurateRequest(seed=99)) == first  # splits are given once
    record, manifest = load_dataset(workspace)
    assert record.dataset_version == first.dataset_version == f"d-{manifest_hash(manifest, record.taxonomy)[:12]}"
    assert set(manifest["class_index"]) == {0, 1}
    with Ledger.open(workspace) as ledger:
        assert verify_chain(ledger).ok
        assert len(split_assignments(ledger)) == 40


def test_the_report_is_what_scripts_rely_on(workspace: Workspace, tmp_path: Path) -> None:
    take_in(workspace, class_folders(tmp_path / "images", {"ok": 12, "scratch": 12}))
    report = curate(workspace, CurateRequest(minimum_count=10)).model_dump(mode="json")
    assert {"dataset_version", "splits", "leaks_found", "imbalance_factor", "classes_under_minimum"} <= set(report)
    assert report["classes_under_minimum"] == []
    assert list(report["splits"]) == ["train", "val", "test"]


def test_a_class_that_came_in_another_format_is_told(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 30, "scratch": 5})
    for number in range(25):
        picture(100 + number).save(images / "scratch" / f"late-{number}.bmp")
    take_in(workspace, images)
    report = curate(workspace)
    (found,) = report.shortcuts
    assert (found.attribute, found.chance) == ("file format", 0.5)
    assert found.balanced_accuracy == pytest.approx((1 + 25 / 30) / 2, abs=0.01)
    assert "all of the 25 images whose file format is BMP are 'scratch'" in report.sentences[-1]


def test_a_class_that_was_lit_otherwise_is_told(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 30, "scratch": 30})
    for path in (images / "scratch").iterdir():
        Image.open(path).point(lambda value: value // 3).save(path)
    take_in(workspace, images)
    report = curate(workspace)
    (found,) = report.shortcuts
    assert found.attribute == "brightness"
    assert found.balanced_accuracy > 0.9
    assert report.sentences[-1].endswith("see that every class comes under every light.")
    with Ledger.open(workspace) as ledger:
        assert images_frame(ledger)["brightness"].between(0, 1).all()


def test_files_that_differ_by_nothing_but_their_content_give_nothing_away(workspace: Workspace, tmp_path: Path) -> None:
    take_in(workspace, class_folders(tmp_path / "images", {"ok": 30, "scratch": 30}))
    assert curate(workspace).shortcuts == []


def test_groups_duplicates_and_mirrored_copies_stay_together(workspace: Workspace, tmp_path: Path) -> None:
    images = tmp_path / "images"
    rows = [["image", "label", "patient"]]
    for patient in range(20):
        for view in range(3):
            save(images / f"{patient}-{view}.png", 3 * patient + view)
            rows.append([f"{patient}-{view}.png", "ab"[patient % 2], f"p{patient}"])
    picture(0).rotate(180).save(images / "turned.png")
    rows.append(["turned.png", "a", "p7"])
    take_in(workspace, images, write_csv(tmp_path / "labels.csv", rows), group_column="patient")
    report = curate(workspace)
    assert report.leaks_found == 0
    _, manifest = load_dataset(workspace)
    assert manifest.groupby("component")["split"].nunique().max() == 1
    splits = split_of(manifest)
    together = {splits[name] for name in splits if name.startswith(("0-", "7-", "turned"))}
    assert len(together) == 1, "patients 0 and 7 share a picture"


def test_a_known_group_keeps_its_split_when_more_arrives_and_the_test_edition_grows(
    workspace: Workspace, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    rows: list[list[str]] = [["image", "label", "lot"]]

    def deliver(first: int, last: int, view: int) -> None:
        for lot in range(first, last):
            save(images / f"{lot}-{view}.png", 100 * view + lot)
            rows.append([f"{lot}-{view}.png", "ab"[lot % 2], f"lot{lot}"])
        take_in(workspace, images, write_csv(tmp_path / "labels.csv", rows), group_column="lot")

    deliver(0, 30, 0)
    first = curate(workspace)
    before = split_of(load_dataset(workspace)[1])
    deliver(0, 50, 1)
    second = curate(workspace)
    after = split_of(load_dataset(workspace)[1])
    assert {path: after[path] for path in before} == before
    for lot in range(30):
        assert after[f"{lot}-0.png"] == after[f"{lot}-1.png"]
    assert (first.test_edition, second.test_edition) == (1, 2)
    record, _ = load_dataset(workspace)
    assert record.parent == first.dataset_version
    assert load_dataset(workspace, first.dataset_version)[0].dataset_version == first.dataset_version


def test_leaks_of_a_given_split_are_counted_and_taken_out_of_training(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"x": 20})
    shutil.copy(images / "x" / "000.png", images / "x" / "copy.png")
    picture(1).save(images / "x" / "alike.jpg", quality=92)
    given = ["train"] * 14 + ["val"] * 4 + ["test"] * 2
    rows = [["image", "label", "fold"], *[[f"x/{n:03}.png", "ab"[n % 2], fold] for n, fold in enumerate(given)]]
    rows += [["x/copy.png", "a", "test"], ["x/alike.jpg", "b", "test"]]
    take_in(workspace, images, write_csv(tmp_path / "labels.csv", rows), split_column="fold")
    report = curate(workspace)
    assert report.leaks_found == 2
    assert any("The given split leaks: 2 cases" in sentence for sentence in report.sentences)
    splits = split_of(load_dataset(workspace)[1])
    assert splits["x/001.png"] == "pool"
    assert splits["x/alike.jpg"] == "test"
    assert splits["x/014.png"] == "val"


def test_disagreeing_duplicates_wait_until_a_person_decides(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 10, "scratch": 10})
    take_in(workspace, images)
    shutil.copy(images / "ok" / "000.png", images / "scratch" / "same.png")
    take_in(workspace, images)
    report = curate(workspace)
    assert (report.conflicts, report.pool) == (1, 1)
    assert any("until a person decides" in sentence for sentence in report.sentences)
    answer(workspace, "ok/000.png", "scratch")
    take_in(workspace, images)
    report = curate(workspace)
    assert (report.conflicts, report.pool) == (0, 0)


def test_unlabelled_and_bad_images_wait_in_the_pool(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 10, "scratch": 10})
    save(images / "loose.png", 99)
    take_in(workspace, images)
    answer(workspace, "ok/001.png", None, Action.BAD_IMAGE)
    report = curate(workspace)
    splits = split_of(load_dataset(workspace)[1])
    assert splits["loose.png"] == splits["ok/001.png"] == Split.POOL
    assert report.pool == 2
    assert any("1 without a label; 1 marked as bad" in sentence for sentence in report.sentences)


def test_small_and_unbalanced_classes_are_said_in_words(workspace: Workspace, tmp_path: Path) -> None:
    take_in(workspace, class_folders(tmp_path / "images", {"ok": 40, "rare": 2}))
    report = curate(workspace)
    text = " ".join(report.sentences)
    assert "Class 'rare' has 2 images" in text
    assert "20 times the images" in text
    assert "advised 500 images: 'rare' (2), 'ok' (40)" in text
    assert report.classes_under_minimum == ["ok", "rare"]


def test_one_class_or_one_component_is_said_not_crashed_on(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"x": 12})
    rows = [["image", "label", "lot"], *[[f"x/{n:03}.png", "a", "L"] for n in range(12)]]
    take_in(workspace, images, write_csv(tmp_path / "labels.csv", rows), group_column="lot")
    text = " ".join(curate(workspace).sentences)
    assert "at least two" in text
    assert "Nothing is left for val and test" in text


def test_without_any_label_curate_says_what_to_do(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="tailsight curate"):
        load_dataset(workspace)
    with pytest.raises(BadInput, match="nothing to learn from"):
        curate(workspace)
    save(tmp_path / "images" / "loose.png", 1)
    take_in(workspace, tmp_path / "images")
    with pytest.raises(BadInput, match="nothing to learn from"):
        curate(workspace)
    take_in(workspace, class_folders(tmp_path / "more", {"ok": 5, "bad": 5}, first_seed=10))
    with pytest.raises(BadInput, match="sum to 1"):
        curate(workspace, CurateRequest(fractions=(0.5, 0.1, 0.1)))


def test_a_manifest_that_was_edited_is_refused_and_one_that_was_lost_is_made_again(
    workspace: Workspace, tmp_path: Path
) -> None:
    take_in(workspace, class_folders(tmp_path / "images", {"ok": 20, "scratch": 20}))
    version = curate(workspace).dataset_version
    path = workspace.dataset(version) / MANIFEST_FILE
    manifest = pd.read_parquet(path)
    train = manifest.index[manifest["split"] == "train"][0]
    manifest.loc[train, ["label", "class_index"]] = (
        ["ok", 0] if manifest.loc[train, "label"] != "ok" else ["scratch", 1]
    )
    manifest.to_parquet(path, index=False)
    with pytest.raises(IntegrityError, match="not the one that was recorded"):
        load_dataset(workspace)
    path.unlink()
    with pytest.raises(NotFound, match="Run `tailsight curate` again"):
        load_dataset(workspace)
    assert curate(workspace).dataset_version == version
    assert load_dataset(workspace)[0].dataset_version == version


def test_a_corrected_label_makes_a_new_version_with_the_same_splits(workspace: Workspace, tmp_path: Path) -> None:
    take_in(workspace, class_folders(tmp_path / "images", {"ok": 20, "scratch": 20}))
    first: CurateReport = curate(workspace)
    before = split_of(load_dataset(workspace)[1])
    answer(workspace, "ok/003.png", "scratch", Action.CORRECT)
    second = curate(workspace)
    assert second.dataset_version != first.dataset_version
    assert split_of(load_dataset(workspace)[1]) == before
    assert second.test_edition == 1
