"""Display copies: right sizes, right depth, never anything from outside their folder."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_contracts.display import LARGE_SIDE, DisplayCopies
from data_contracts.errors import BadInput, NotFound
from data_contracts.workspace import Workspace

ID = "ab" * 32


@pytest.fixture
def copies(workspace: Workspace) -> DisplayCopies:
    return DisplayCopies(workspace)


def test_there_are_two_sizes_and_what_they_are_of(copies: DisplayCopies) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1500, 3000, 3), dtype=np.uint8)
    assert not copies.has(ID)
    about = copies.write_copies(ID, picture, display_of="root/a.png")
    assert copies.has(ID)
    assert (about.width, about.height, about.bit_depth, about.display_of) == (3000, 1500, 8, "root/a.png")
    assert copies.about(ID) == about
    large, kind = copies.large(ID)
    small, _ = copies.small(ID)
    assert kind == "image/webp"
    assert Image.open(io.BytesIO(large)).size == (LARGE_SIDE, 1024)
    assert Image.open(io.BytesIO(small)).size == (256, 128)
    assert copies.overlay(ID) is None


def test_a_small_image_is_never_enlarged_and_keeps_every_pixel(copies: DisplayCopies) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 24, 1), dtype=np.uint8)
    copies.write_copies(ID, np.zeros((1500, 3000, 1), dtype=np.uint8), display_of="r/a.png")  # a lossy copy before it
    assert copies.write_copies(ID, picture, display_of="r/a.png").lossless
    shown = np.asarray(Image.open(io.BytesIO(copies.large(ID)[0])).convert("L"))
    assert np.array_equal(shown, picture[..., 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_stay_sixteen_bits(copies: DisplayCopies, channels: int) -> None:
    picture = np.random.default_rng(2).integers(0, 65536, (50, 60, channels), dtype=np.uint16)
    about = copies.write_copies(ID, picture, display_of="r/a.tif")
    large, kind = copies.large(ID)
    assert (kind, about.bit_depth) == ("image/png", 16)
    shown = cv2.imdecode(np.frombuffer(large, np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown.dtype == np.uint16
    expected = picture[..., 0] if channels == 1 else picture[..., ::-1]
    assert np.array_equal(shown, expected)
    assert Image.open(io.BytesIO(copies.small(ID)[0])).size == (60, 50)


def test_an_overlay_is_clear_where_there_is_no_evidence(copies: DisplayCopies) -> None:
    copies.write_copies(ID, np.zeros((100, 200, 3), dtype=np.uint8), display_of="r/a.png")
    heat = np.zeros((100, 200), dtype=np.float32)
    heat[40:60, 90:110] = 1.0
    copies.write_overlay(ID, heat, model_version="3", class_name="crack")
    overlay = copies.overlay(ID)
    assert overlay is not None
    rgba = np.asarray(Image.open(io.BytesIO(overlay)).convert("RGBA"))
    assert rgba.shape == (100, 200, 4)
    assert rgba[5, 5, 3] == 0
    assert rgba[50, 100, 3] > 120
    assert (copies.about(ID).overlay_of, copies.about(ID).overlay_class) == ("3", "crack")


def test_frames_of_one_file_have_copies_of_their_own(copies: DisplayCopies) -> None:
    copies.write_copies(f"{ID}#1", np.zeros((20, 20, 1), dtype=np.uint8), display_of="r/a.tif#1")
    assert copies.has(f"{ID}#1")
    assert not copies.has(ID)
    assert copies.folder(f"{ID}#1").name == f"{ID}_1"


@pytest.mark.parametrize("name", ["../../ledger.key", "/etc/passwd", "", "ab", "a/b", f"{ID}/../x", f"{ID}#x"])
def test_what_is_no_image_id_is_refused(copies: DisplayCopies, name: str) -> None:
    with pytest.raises(BadInput, match="is no image id"):
        copies.large(name)


def test_a_link_out_of_the_folder_is_not_followed(copies: DisplayCopies, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = copies.folder(ID)
    folder.mkdir(parents=True)
    (folder / "small.webp").symlink_to(secret)
    with pytest.raises(NotFound, match="has no display copy"):
        copies.small(ID)
