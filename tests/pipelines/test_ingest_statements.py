"""What files say of images, again and again: corrections, groups, splits, other ids, and labels that are in doubt."""

from __future__ import annotations

import shutil
from pathlib import Path

from data_contracts.blobs import Blobs
from data_contracts.ledger.conflicts import conflicts_frame
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.images import find_images, images_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.records import NewLabelEvent
from data_contracts.vocabulary import Action, ConflictKind, Source
from data_contracts.workspace import Workspace
from tests.pipelines.picture_files import class_folders, events_in, labels_of, take_in, write_csv


def test_a_corrected_csv_corrects_and_the_old_one_again_corrects_back(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"x": 6})
    rows = [["image", "label"], *[[f"x/{n:03}.png", "ab"[n % 2]] for n in range(6)]]
    old = write_csv(tmp_path / "old.csv", rows)
    new = write_csv(tmp_path / "new.csv", [rows[0], ["x/000.png", "b"], *rows[2:]])
    for csv_file, expected in ((old, "a"), (new, "b"), (old, "a"), (old, "a")):
        report = take_in(workspace, images, csv_file)
        assert (report.conflicts, report.label_errors) == (0, [])
        assert labels_of(workspace)["x/000.png"] == expected
    assert events_in(workspace) == 8


def test_an_image_moved_to_another_class_folder_takes_its_class(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 4, "scratch": 4})
    take_in(workspace, images)
    (images / "ok" / "000.png").rename(images / "scratch" / "moved.png")
    report = take_in(workspace, images)
    assert (report.added, report.conflicts) == (0, 0)
    assert labels_of(workspace)["scratch/moved.png"] == "scratch"
    with Ledger.open(workspace) as ledger:
        (image,) = find_images(ledger, "scratch/moved.png")
        frame = images_frame(ledger).set_index("image_id")
        Blobs(registered_roots(ledger)).read(frame.loc[image, "uri"], image)
    shutil.copy(images / "ok" / "001.png", tmp_path / "elsewhere.png")
    other = tmp_path / "other"
    (other / "scratch").mkdir(parents=True)
    shutil.copy(images / "ok" / "001.png", other / "scratch" / "again.png")
    assert take_in(workspace, other).conflicts == 1
    assert labels_of(workspace)["ok/001.png"] == "ok"


def test_an_old_csv_never_overrides_a_person(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 4, "scratch": 4})
    take_in(workspace, images)
    with Ledger.open(workspace) as ledger:
        (image,) = find_images(ledger, "ok/000.png")
        answer = NewLabelEvent(
            who="ann", subject_id=image, action=Action.CORRECT, label="scratch", source=Source.READER
        )
        append_events(ledger, [answer])
    for _ in range(2):
        assert take_in(workspace, images).conflicts == 1
        assert labels_of(workspace)["ok/000.png"] == "scratch"


def test_groups_splits_and_other_ids_come_from_the_csv(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"x": 4})
    rows = [["image", "label", "patient", "fold", "serial"]]
    rows += [[f"x/{n:03}.png", "ab"[n % 2], f"p{n // 2}", ["train", "test"][n // 2], f"S-{n}"] for n in range(4)]
    csv_file = write_csv(tmp_path / "labels.csv", rows)
    take_in(workspace, images, csv_file, group_column="patient", split_column="fold", id_columns=("serial",))
    with Ledger.open(workspace) as ledger:
        frame = images_frame(ledger)
        assert sorted(frame["group"]) == ["p0", "p0", "p1", "p1"]
        assert sorted(frame["given_split"]) == ["test", "test", "train", "train"]
        assert find_images(ledger, "S-2") == find_images(ledger, "x/002.png")


def test_groups_and_splits_given_later_are_kept_and_contradictions_are_conflicts(
    workspace: Workspace, tmp_path: Path
) -> None:
    images = class_folders(tmp_path / "images", {"a": 3, "b": 3})
    take_in(workspace, images)
    rows = [
        ["image", "label", "lot", "split"],
        *[[f"{c}/{n:03}.png", c, f"L{n}", "train"] for c in "ab" for n in range(3)],
    ]
    options = {"group_column": "lot", "split_column": "split"}
    assert take_in(workspace, images, write_csv(tmp_path / "1.csv", rows), **options).conflicts == 0
    rows[1] = ["a/000.png", "a", "L9", "test"]
    report = take_in(workspace, images, write_csv(tmp_path / "2.csv", rows), **options)
    assert report.conflicts == 2
    with Ledger.open(workspace) as ledger:
        kinds = set(conflicts_frame(ledger)["kind"])
        assert kinds == {ConflictKind.GROUP_MISMATCH, ConflictKind.SPLIT_MISMATCH}
        frame = images_frame(ledger)
        assert frame.loc[frame["uri"].str.endswith("a/000.png"), "group"].item() == "L0"


def test_label_errors_name_row_value_and_nearest_and_can_be_accepted(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"x": 12})
    rows = [["image", "label"], *[[f"x/{n:03}.png", "scratch"] for n in range(10)], ["x/010.png", "scrach"]]
    rows += [["x/011.png", "o\x07k"]]
    csv_file = write_csv(tmp_path / "labels.csv", rows)
    report = take_in(workspace, images, csv_file)
    slip, control = report.label_errors
    assert (slip.row, slip.value, slip.nearest) == (12, "scrach", "scratch")
    assert "control" in control.reason
    assert report.unlabelled == 2
    report = take_in(workspace, images, csv_file, allow_new_classes=True)
    assert [error.row for error in report.label_errors] == [13]
    assert labels_of(workspace)["x/010.png"] == "scrach"


def test_a_class_folder_with_a_single_image_is_doubted_as_a_folder(workspace: Workspace, tmp_path: Path) -> None:
    report = take_in(workspace, class_folders(tmp_path / "images", {"ok": 6, "okay then": 1}))
    (error,) = report.label_errors
    assert (error.row, error.value) == (None, "okay then")
    assert "1 image in this folder" in error.reason


def test_the_profiles_taxonomy_is_the_first(tmp_path: Path, workspace: Workspace) -> None:
    text = workspace.profile_path.read_text().replace(
        "pass_class: null", "pass_class: null\ntaxonomy: [{name: scratch}, {name: ok, aliases: [good]}]"
    )
    workspace.profile_path.write_text(text)
    report = take_in(workspace, class_folders(tmp_path / "images", {"good": 2, "scratch": 2, "other": 2}))
    with Ledger.open(workspace) as ledger:
        assert current_taxonomy(ledger).names == ("scratch", "ok")
    assert labels_of(workspace)["good/000.png"] == "ok"
    assert [error.value for error in report.label_errors] == ["other"]
