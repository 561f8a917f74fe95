"""Images and labels in: idempotent, nothing good lost, nothing decided that only a person can decide."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_contracts.blobs import Blobs
from data_contracts.errors import BadInput, Busy, LabelFileError, NotFound
from data_contracts.imaging import decode
from data_contracts.ledger.conflicts import conflicts_frame
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.images import find_images, images_frame
from data_contracts.ledger.quarantine import quarantine_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.vocabulary import ConflictKind
from data_contracts.workspace import Workspace
from pipelines.steps import ingest_reading
from tests.pipelines.picture_files import class_folders, events_in, labels_of, picture, save, take_in, write_csv


def test_class_folders_label_and_the_same_again_adds_nothing(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = class_folders(tmp_path / "images", {"ok": 5, "scratch": 3})
    save(images / "loose.png", 99)
    first = take_in(workspace, images)
    assert (first.added, first.already_known, first.duplicates, first.unlabelled) == (9, 0, 0, 1)
    assert labels_of(workspace)["scratch/001.png"] == "scratch"
    with Ledger.open(workspace) as ledger:
        assert current_taxonomy(ledger).names == ("ok", "scratch")
    events = events_in(workspace)

    def refuse(path: Path) -> tuple[bytes, int, int]:
        raise AssertionError(f"{path} is unchanged and was read again")

    monkeypatch.setattr(ingest_reading, "read_regular_file", refuse)
    second = take_in(workspace, images)
    assert (second.added, second.already_known, second.unlabelled) == (0, 9, 1)
    assert events_in(workspace) == events


def test_more_images_than_one_process_reads_come_in_through_several(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 80, "scratch": 60})
    (images / "ok" / "torn.png").write_bytes((images / "ok" / "000.png").read_bytes()[:200])
    report = take_in(workspace, images)
    assert report.added == 140
    assert [item.path for item in report.quarantined] == ["ok/torn.png"]


def test_a_changed_file_is_read_again_and_a_mended_one_leaves_quarantine(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 3, "scratch": 3})
    torn = images / "ok" / "003.png"
    torn.write_bytes((images / "ok" / "000.png").read_bytes()[:100])
    assert len(take_in(workspace, images).quarantined) == 1
    save(torn, 50)
    save(images / "ok" / "001.png", 51)
    report = take_in(workspace, images)
    assert (report.added, report.quarantined) == (2, [])
    with Ledger.open(workspace) as ledger:
        assert quarantine_frame(ledger).empty
        assert len(find_images(ledger, "ok/001.png")) == 1


def test_csv_paths_are_relative_to_the_csv_or_to_the_images(workspace: Workspace, tmp_path: Path) -> None:
    images = tmp_path / "data" / "images"
    for number in range(4):
        save(images / f"{number}.png", number)
    rows = [
        ["image", "label"],
        ["images/0.png", "a"],
        ["1.png", "b"],
        [str(images / "2.png"), "a"],
        [r"images\3.png", "b"],
    ]
    report = take_in(workspace, images, write_csv(tmp_path / "data" / "labels.csv", rows))
    assert (report.added, report.unlabelled, report.quarantined, report.label_errors) == (4, 0, [], [])


def test_names_without_extension_and_class_folders_do_not_label_beside_a_csv(
    workspace: Workspace, tmp_path: Path
) -> None:
    images = class_folders(tmp_path / "images", {"left": 2, "right": 2})
    rows = [["image", "label"], ["left/000", "x"], ["left/001", "y"], ["right/000", "x"], ["right/000", "x"]]
    rows += [["right/001", "y"]]
    take_in(workspace, images, write_csv(tmp_path / "labels.csv", rows))
    assert labels_of(workspace) == {
        "left/000.png": "x",
        "left/001.png": "y",
        "right/000.png": "x",
        "right/001.png": "y",
    }


def test_a_glob_and_a_single_file_take_in_only_what_they_name(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 3, "scratch": 3})
    assert take_in(workspace, images / "*" / "00[0-1].png").added == 4
    assert take_in(workspace, images / "**" / "*.png").added == 2
    assert take_in(workspace, save(tmp_path / "one.png", 77)).added == 1


def test_train_and_test_folders_above_the_classes_are_a_given_split(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images" / "train", {"ok": 3, "scratch": 3}).parent
    class_folders(images / "test", {"ok": 2, "scratch": 2}, first_seed=40)
    report = take_in(workspace, images)
    assert "given split" in report.warnings[0]
    with Ledger.open(workspace) as ledger:
        assert images_frame(ledger)["given_split"].value_counts().to_dict() == {"train": 6, "test": 4}
        assert current_taxonomy(ledger).names == ("ok", "scratch")


def test_exact_duplicates_fold_and_disagreeing_ones_are_left_to_a_person(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 4, "scratch": 4})
    shutil.copy(images / "ok" / "000.png", images / "ok" / "copy.png")
    shutil.copy(images / "ok" / "001.png", images / "scratch" / "copy.png")
    for _ in range(2):
        report = take_in(workspace, images)
        assert (report.duplicates, report.conflicts, report.unlabelled) == (2, 1, 0)
    assert labels_of(workspace)["scratch/copy.png"] is None
    with Ledger.open(workspace) as ledger:
        (conflict,) = conflicts_frame(ledger).itertuples()
        assert conflict.kind == ConflictKind.DUPLICATE_LABELS
        assert conflict.labels == ("ok", "scratch")


def test_custody_keeps_images_readable_when_the_originals_are_gone(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 3, "scratch": 3})
    take_in(workspace, images)
    assert take_in(workspace, images, copy_files=True).already_known == 6
    save(images / "ok" / "new.png", 70)
    assert take_in(workspace, images, copy_files=True).added == 1
    shutil.rmtree(images)
    with Ledger.open(workspace) as ledger:
        blobs = Blobs(registered_roots(ledger))
        frame = images_frame(ledger)
    for image, uri in zip(frame["image_id"], frame["uri"], strict=True):
        decode(blobs.read(uri, image))
    copies = [path for path in workspace.custody.rglob("*") if path.is_file()]
    assert sorted(path.stem for path in copies) == sorted(frame["image_id"])


def test_a_damaged_copy_in_custody_is_replaced(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 2, "scratch": 2})
    take_in(workspace, images, copy_files=True)
    copy = next(path for path in workspace.custody.rglob("*.png"))
    copy.write_bytes(b"rotten")
    order = ingest_reading.ReadOrder(str(images), "ok/000.png", 100.0, str(workspace.custody))
    for path in sorted(images.rglob("*.png")):
        relative = path.relative_to(images).as_posix()
        order = ingest_reading.ReadOrder(str(images), relative, 100.0, str(workspace.custody))
        assert ingest_reading.read_file(order).kind is None
    assert ingest_reading.image_id_of(copy.read_bytes()) == copy.stem


def test_each_page_of_a_tiff_is_an_image_with_the_files_label(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 2, "scratch": 2})
    pages = [picture(seed) for seed in (80, 81, 82)]
    pages[0].save(images / "ok" / "stack.tif", save_all=True, append_images=pages[1:])
    for added in (7, 0):
        assert take_in(workspace, images).added == added
    with Ledger.open(workspace) as ledger:
        frame = images_frame(ledger).merge(image_labels(ledger), on="image_id")
        blobs = Blobs(registered_roots(ledger))
    stack = frame[frame["uri"].str.contains("stack.tif", regex=False)].sort_values("uri")
    assert stack["label"].tolist() == ["ok"] * 3
    for page, uri, image in zip(pages, stack["uri"], stack["image_id"], strict=True):
        array = decode(blobs.read(uri, image), frame=int(uri.rpartition("#")[2])).array
        np.testing.assert_array_equal(array, np.asarray(page))


def test_a_group_that_was_forgotten_is_mentioned(workspace: Workspace, tmp_path: Path) -> None:
    images = tmp_path / "images"
    rows = [["image", "label", "lesion_id"]]
    for lesion in range(12):
        for view in range(2):
            save(images / f"lesion{lesion:02}_{view}.png", lesion * 2 + view)
            rows.append([f"lesion{lesion:02}_{view}.png", "ab"[lesion % 2], f"L{lesion}"])
    csv_file = write_csv(tmp_path / "labels.csv", rows)
    report = take_in(workspace, images, csv_file)
    assert any("'lesion_id' looks like a group" in warning for warning in report.warnings)
    without = write_csv(tmp_path / "less.csv", [row[:2] for row in rows])
    assert any("several views" in warning for warning in take_in(workspace, images, without).warnings)
    given = take_in(workspace, images, csv_file, group_column="lesion_id")
    assert not any("group" in warning for warning in given.warnings)


def test_near_duplicates_are_found_and_bound_but_tiny_ones_only_reported(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 6, "scratch": 6})
    picture(2).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(images / "scratch" / "mirrored.jpg", quality=90)
    save(images / "ok" / "small.png", 500, height=24, width=40)
    Image.open(images / "ok" / "small.png").save(images / "ok" / "small.webp", quality=95)
    report = take_in(workspace, images)
    assert (report.near_duplicates, report.conflicts, report.duplicates) == (2, 1, 0)
    assert any("smaller than 64 px" in warning for warning in report.warnings)
    again = take_in(workspace, images)
    assert (again.near_duplicates, again.conflicts) == (2, 1)


def test_a_workspace_inside_the_image_folder_does_not_ingest_itself(tmp_path: Path, workspace: Workspace) -> None:
    images = class_folders(workspace.folder, {"ok": 3, "scratch": 3})
    assert take_in(workspace, images, copy_files=True).added == 6
    assert take_in(workspace, images, copy_files=True).duplicates == 0


def test_what_cannot_work_says_what_to_do(tmp_path: Path, workspace: Workspace) -> None:
    images = class_folders(tmp_path / "images", {"ok": 2})
    with pytest.raises(NotFound, match="Check the path"):
        take_in(workspace, tmp_path / "nowhere")
    with pytest.raises(NotFound, match="where"):
        take_in(workspace, tmp_path / "nowhere" / "*.png")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="neither a folder nor a file"):
        take_in(workspace, tmp_path / "pipe")
    labels = write_csv(tmp_path / "labels.csv", [["image", "lable"], ["ok/000.png", "x"]])
    with pytest.raises(LabelFileError, match="Did you mean 'lable'"):
        take_in(workspace, images, labels)
    with pytest.raises(NotFound, match="not a Tailsight workspace"):
        take_in(Workspace(tmp_path / "empty"), images)
    with workspace.lock("ingest"), pytest.raises(Busy, match="at work"):
        take_in(workspace, images)


def test_an_empty_folder_is_no_failure(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "empty").mkdir()
    report = take_in(workspace, tmp_path / "empty")
    assert report.added == 0
    assert any("No image was taken in" in warning for warning in report.warnings)
