"""A folder of trouble: every bad file and row with its own reason, nothing good lost, nothing hangs."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_contracts.errors import UnreadableImage
from data_contracts.vocabulary import QuarantineKind
from data_contracts.workspace import Workspace
from pipelines.steps.ingest import IngestReport
from pipelines.steps.ingest_discovery import discover
from pipelines.steps.ingest_reading import read_regular_file
from tests.pipelines.picture_files import class_folders, picture, save, take_in, write_csv


def reasons(report: IngestReport) -> dict[str, str]:
    return {item.path: item.reason for item in report.quarantined}


def huge_png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


def test_every_bad_file_is_set_aside_with_its_own_reason(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 4, "bad": 4})
    folder = images / "ok"
    whole = (folder / "000.png").read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    content = {
        "zero.png": (b"", "zero bytes"),
        "torn.png": (whole[:300], "truncated"),
        "flipped.png": (bytes(broken), "checksum"),
        "text.png": (b"no picture " * 30, "plain text"),
        "page.jpg": (b"<!DOCTYPE html><html>404</html>", "HTML"),
        "paper.png": (b"%PDF-1.7\n" + bytes(99), "PDF"),
        "noise.jpg": (np.random.default_rng(0).bytes(4000), "unknown kind"),
        "bomb.png": (huge_png(), "megapixels"),
        "renamed.jpg": (whole, "named .jpg"),
        "scan.dcm": (bytes(128) + b"DICM" + bytes(99), "DICOM"),
        "film.gif": (b"GIF89a" + bytes(99), "GIF"),
        "stack.tif": (b"II*\0\xff\xff\xff\x7f", "header"),
    }
    for name, (data, _) in content.items():
        (folder / name).write_bytes(data)
    report = take_in(workspace, images)
    assert report.added == 8
    found = reasons(report)
    assert set(found) == {f"ok/{name}" for name in content}
    for name, (_, words) in content.items():
        assert words in found[f"ok/{name}"], name
    assert len(set(found.values())) == len(found)


def test_links_pipes_sockets_and_folders_named_like_images(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 4, "bad": 4})
    secret = save(tmp_path / "secret" / "secret.png", 900)
    (images / "outside.png").symlink_to(secret)
    (images / "nothing.png").symlink_to("not-there")
    (images / "loop.png").symlink_to("loop.png")
    (images / "linked").symlink_to(secret.parent)
    (images / "circle").symlink_to(images)
    (images / "bad" / "inside.png").symlink_to(images / "bad" / "000.png")
    (images / "folder.png").mkdir()
    save(images / "folder.png" / "within.png", 901)
    os.mkfifo(images / "pipe.png")
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    try:
        os.chdir(images)
        listener.bind("socket.png")
        os.chdir(here)
        report = take_in(workspace, images)
    finally:
        os.chdir(here)
        listener.close()
    assert (report.added, report.duplicates) == (9, 1)
    words = {
        "outside.png": "out of the folder",
        "nothing.png": "leads to nothing",
        "loop.png": "back to itself",
        "linked": "out of the folder",
        "circle": "link to a folder",
        "folder.png": "named like an image",
        "pipe.png": "a pipe",
        "socket.png": "a socket",
    }
    found = reasons(report)
    assert set(found) == set(words)
    for path, part in words.items():
        assert part in found[path]


def test_hidden_and_system_files_are_left_alone_and_others_are_counted(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 3, "bad": 3})
    for name in (".DS_Store", "Thumbs.db", "._000.png", "desktop.ini"):
        (images / "ok" / name).write_bytes(b"system")
    save(images / "__MACOSX" / "ghost.png", 5)
    save(images / ".cache" / "thumb.png", 6)
    (images / "notes.txt").write_text("hello")
    report = take_in(workspace, images)
    assert (report.added, report.quarantined) == (6, [])
    assert any(".txt 1" in warning for warning in report.warnings)


def test_rows_in_trouble_are_all_reported(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"x": 12})
    save(tmp_path / "outside.png", 800)
    (images / "way").symlink_to(tmp_path)
    rows = [["image", "label"], *[[f"x/{n:03}.png", "ab"[n % 2]] for n in range(11)]]
    rows += [["x/01l.png", "a"], ["../outside.png", "a"], ["/etc/hostname", "a"], ["way/outside.png", "a"], ["", "b"]]
    rows += [["x/011.png", ""], ["x/000.png", "=cmd|' /C calc'!A0"], ["x\x1b[2J.png", "a"], ["x", "a"]]
    report = take_in(workspace, images, write_csv(tmp_path / "labels.csv", rows))
    assert (report.added, report.unlabelled) == (12, 1)
    found = reasons(report)
    assert "Did you mean 'x/01" in found["x/01l.png"]
    assert "Row 13 of labels.csv" in found["x/01l.png"]
    assert "outside the folder" in found["../outside.png"]
    assert "outside the folder" in found["/etc/hostname"]
    assert "link to a folder" in found["way/outside.png"]
    assert "no such file" in found["x\\x1b[2J.png"]
    assert "a folder, not a file" in found["x"]
    assert {(error.row, error.value) for error in report.label_errors} == {
        (17, "b"),
        (18, ""),
        (19, "=cmd|' /C calc'!A0"),
    }


def test_a_file_name_that_is_no_text_is_set_aside(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 3, "bad": 3})
    name = os.fsencode(images / "ok") + b"/caf\xe9.png"
    with open(name, "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write((images / "ok" / "000.png").read_bytes())
    report = take_in(workspace, images)
    assert report.added == 6
    assert "not valid UTF-8" in report.quarantined[0].reason


PIXELS = {
    ".png": ("L", "P", "RGBA", "1", "I;16"),
    ".tif": ("L", "P", "RGBA", "CMYK", "1", "I;16"),
    ".jpg": ("L", "CMYK"),
    ".bmp": ("L", "P", "1"),
    ".webp": ("RGBA",),
}


@pytest.mark.parametrize(("extension", "mode"), [(e, m) for e, modes in PIXELS.items() for m in modes])
def test_every_kind_of_pixels_that_a_format_can_hold_is_taken_in(
    workspace: Workspace, tmp_path: Path, mode: str, extension: str
) -> None:
    source = picture(1)
    deep = Image.fromarray(np.asarray(source.convert("L")).astype(np.uint16) * 257)
    path = tmp_path / f"one{extension.upper()}"
    (deep if mode == "I;16" else source.convert(mode)).save(path)
    report = take_in(workspace, path)
    assert (report.added, report.quarantined) == (1, [])


def test_a_pipe_that_takes_a_files_place_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage) as caught:
        read_regular_file(tmp_path / "pipe.png")
    assert caught.value.kind is QuarantineKind.NOT_A_FILE


def test_globs_stay_within_a_folder_unless_told_otherwise(tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"a": 2, "b[1]": 2})
    save(images / "a" / "deep" / "x.png", 9)
    assert set(discover(images / "*" / "*.png").files) == {"a/000.png", "a/001.png", "b[1]/000.png", "b[1]/001.png"}
    assert set(discover(images / "a" / "**" / "*.png").files) == {"000.png", "001.png", "deep/x.png"}
    assert set(discover(images / "a" / "00[!0].png").files) == {"001.png"}
    assert set(discover(images / "b[1]").files) == {"000.png", "001.png"}
    assert set(discover(images / "a" / "00?.png").files) == {"000.png", "001.png"}


def test_rows_may_name_files_by_the_link_that_leads_to_their_folder(workspace: Workspace, tmp_path: Path) -> None:
    images = class_folders(tmp_path / "store" / "images", {"x": 3})
    link = tmp_path / "line-4"
    link.symlink_to(tmp_path / "store")
    (images / "way.png").symlink_to("/etc/hostname")
    rows = [["image", "label"], *[[str(link / "images" / "x" / f"{number:03}.png"), "good"] for number in range(3)]]
    rows.append([str(link / "images" / "way.png"), "good"])
    table = write_csv(tmp_path / "labels.csv", rows)
    report = take_in(workspace, link / "images", labels=table)
    assert (report.added, report.unlabelled) == (3, 0)
    assert "out of the folder" in reasons(report)["way.png"]


def test_where_no_reading_process_can_live_no_file_is_blamed(tmp_path: Path) -> None:
    images = class_folders(tmp_path / "images", {"ok": 80})
    script = tmp_path / "script.py"  # its workers would run it again, and die of that
    script.write_text(
        "from pathlib import Path\n"
        "from pipelines.steps.ingest_reading import ReadOrder, read_files\n"
        f"orders = [ReadOrder({str(images)!r}, f'ok/{{n:03}}.png', 100.0) for n in range(80)]\n"
        "for file in read_files(orders, 2):\n"
        "    print(file.path)\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert run.stdout == ""
    assert "TailsightError: Processes that read images die as soon as they are started." in run.stderr
    assert "TAILSIGHT_PROCESSES=1" in run.stderr
