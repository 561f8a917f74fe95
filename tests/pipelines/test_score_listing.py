"""The files of a batch: all of them, in order, at a few bytes each."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from data_contracts.errors import BadInput
from pipelines.steps.score_listing import batch_files, batch_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    chance = np.random.default_rng(0)
    for number in chance.permutation(9_000):  # more than are held as Python objects at once
        path = images / f"shift {number % 3}" / f"part-{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (images / "notes.txt").write_text("not an image")
    os.mkfifo(images / "pipe.png")
    (images / "größe.png").write_bytes(b"12345")
    return images


def test_every_image_file_is_there_once_sorted_by_path_and_any_part_can_be_asked_for(folder: Path) -> None:
    files = batch_files(str(folder))
    expected = sorted(str(path) for path in folder.rglob("*.png"))
    assert [str(file.path) for file in files] == expected
    assert len(files) == 9_002
    assert [str(file.path) for file in files[8_190:8_200]] == expected[8_190:8_200]
    assert [str(file.path) for file in files[::3_000]] == expected[::3_000]
    assert files[len(files) :] == []
    assert str(files[-1].path) == expected[-1]
    with pytest.raises(IndexError):
        files[len(files)]
    (pipe,) = [file for file in files if file.set_aside]
    assert (pipe.path.name, pipe.set_aside) == ("pipe.png", "It is a pipe, not a file.")
    (named,) = [file for file in files if file.path.name == "größe.png"]
    status = named.path.stat()  # type: ignore[union-attr]
    assert (named.size_bytes, named.modified_ns) == (5, status.st_mtime_ns)


def test_a_listing_takes_some_tens_of_bytes_for_each_file(folder: Path) -> None:
    batch_files(str(folder))  # what is loaded and kept at the first call is not counted
    tracemalloc.start()
    try:
        files = batch_files(str(folder))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 30 * len(files), "files do not stay as Python objects, of which one alone takes hundreds of bytes"
    assert peak < 8_192 * 600, "at most one chunk of files is held as Python objects"
    assert files.bytes_held < 100 * len(files)


def test_the_name_of_a_batch_changes_with_its_files_and_with_nothing_else(folder: Path) -> None:
    before = batch_name(str(folder), batch_files(str(folder)))
    assert before.startswith("images-")
    assert batch_name(str(folder), batch_files(str(folder))) == before
    (folder / "größe.png").write_bytes(b"123456")
    assert batch_name(str(folder), batch_files(str(folder))) != before


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BadInput, match="no images") as said:
        batch_files(str(tmp_path))
    assert said.value.cause == "It holds other files: 1 .txt."
