"""Look-alikes among real files: copies bind, a fixed camera's scene does not, an interrupted search is done again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.near_duplicates import near_duplicates_frame
from data_contracts.workspace import Workspace
from pipelines.steps.near_duplicates import find_near_duplicates, large_component_warnings
from tests.pipelines.picture_files import class_folders, picture, take_in


def test_one_scene_seen_by_a_fixed_camera_is_not_one_lump(workspace: Workspace, tmp_path: Path) -> None:
    scene = np.asarray(picture(0, 96, 96)).astype(float)
    folder = tmp_path / "images" / "part"
    folder.mkdir(parents=True)
    for number in range(60):
        part = np.asarray(picture(100 + number, 96, 96).convert("L")).astype(float)[..., None] - 128
        Image.fromarray(np.clip(scene + 0.12 * part, 0, 255).astype(np.uint8)).save(folder / f"{number:02}.png")
    Image.open(folder / "07.png").save(folder / "copy.jpg", quality=90)
    report = take_in(workspace, tmp_path / "images")
    assert any("same scene" in warning for warning in report.warnings)
    with Ledger.open(workspace) as ledger:
        pairs = near_duplicates_frame(ledger)
    assert pairs["binding"].sum() == 1
    assert report.near_duplicates == 1


def test_a_burst_of_frames_binds_and_a_large_component_is_a_warning(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 20, "bad": 20})
    for quality in range(70, 90):
        picture(3).save(images / "ok" / f"burst{quality}.jpg", quality=quality)
    report = take_in(workspace, images)
    assert any("21 of 60 images are bound together" in warning for warning in report.warnings)
    assert not large_component_warnings([("a", "b")], 40)


def test_a_search_that_was_interrupted_is_done_again(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 5, "bad": 5})
    picture(2).save(images / "ok" / "copy.jpg", quality=92)
    take_in(workspace, images)
    state = next(workspace.cache.glob("near_duplicates*"))
    state.unlink()
    with Ledger.open(workspace) as ledger:
        before = near_duplicates_frame(ledger)
        assert len(find_near_duplicates(workspace, ledger, max_megapixels=100).pairs) == 1
        assert not find_near_duplicates(workspace, ledger, max_megapixels=100).pairs
        assert near_duplicates_frame(ledger).equals(before)


def test_new_images_are_compared_with_known_ones(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 5, "bad": 5})
    assert take_in(workspace, images).near_duplicates == 0
    late = tmp_path / "late" / "ok"
    late.mkdir(parents=True)
    picture(4).rotate(180).save(late / "again.webp", quality=90)
    assert take_in(workspace, late.parent).near_duplicates == 1


def test_an_image_whose_file_is_gone_is_passed_over(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 5, "bad": 5})
    take_in(workspace, images)
    (images / "ok" / "000.png").unlink()
    picture(0).save(images / "ok" / "other.jpg", quality=90)
    assert take_in(workspace, images).near_duplicates == 0
