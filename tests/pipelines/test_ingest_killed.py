"""Killed at any moment, or a worker dying: the same command again completes, with nothing lost and nothing twice."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import events_frame
from data_contracts.ledger.fold import image_labels
from data_contracts.ledger.images import images_frame, occurrences_frame
from data_contracts.ledger.near_duplicates import near_duplicates_frame
from data_contracts.ledger.verify import verify_chain
from data_contracts.profile import shipped_profile_text
from data_contracts.workspace import Workspace
from pipelines.steps.ingest_reading import ReadOrder, read_files
from tests.pipelines.picture_files import class_folders, picture, take_in

PROGRAM = """
import sys
from pathlib import Path
from data_contracts.workspace import Workspace
from pipelines.steps.ingest import IngestRequest, ingest

if __name__ == "__main__":
    ingest(Workspace(Path(sys.argv[1])), IngestRequest(images=Path(sys.argv[2]), who="tester"))
"""


@pytest.fixture(scope="module")
def many_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = class_folders(tmp_path_factory.mktemp("many") / "images", {"ok": 350, "scratch": 250})
    for seed in range(5):
        picture(seed).save(images / "ok" / f"copy{seed}.jpg", quality=90)
    return images


def contents(workspace: Workspace) -> dict[str, pd.DataFrame]:
    """Everything an ingest leaves, without when it happened."""
    with Ledger.open(workspace) as ledger:
        assert verify_chain(ledger).ok
        events = events_frame(ledger)[["subject_id", "label", "action"]]
        return {
            "images": images_frame(ledger)[["image_id", "width", "height", "perceptual_hash"]],
            "places": occurrences_frame(ledger)[["image_id", "path"]],
            "labels": image_labels(ledger)[["image_id", "label"]],
            "events": events.sort_values(["subject_id", "label"]).reset_index(drop=True),
            "pairs": near_duplicates_frame(ledger),
        }


def test_kill_nine_at_several_moments_then_again_gives_what_an_undisturbed_run_gives(
    many_images: Path, tmp_path: Path, workspace: Workspace
) -> None:
    take_in(workspace, many_images)
    expected = contents(workspace)

    (tmp_path / "killed").mkdir()
    killed = Workspace(tmp_path / "killed")
    killed.profile_path.write_text(shipped_profile_text("generic"), encoding="utf-8")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(killed.folder), str(many_images)]
    began = 0
    for images_known in (1, 400, 605):
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        while process.poll() is None and known_images(killed) < images_known:
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        began += process.poll() is None
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive, "workers outlive the process that started them"
    assert began
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    found = contents(killed)
    for name, frame in expected.items():
        pd.testing.assert_frame_equal(found[name], frame, obj=name)


def known_images(workspace: Workspace) -> int:
    """Images that are committed, looked up without waiting for anybody."""
    import sqlite3

    if not workspace.ledger_path.is_file():
        return 0
    try:
        connection = sqlite3.connect(f"file:{workspace.ledger_path}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM image").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


def test_a_worker_that_dies_costs_no_file(many_images: Path) -> None:
    paths = sorted(path.relative_to(many_images).as_posix() for path in many_images.rglob("*.*"))
    results = []
    murdered = False
    others = set(psutil.Process().children(recursive=True))
    for result in read_files([ReadOrder(str(many_images), path, 100.0) for path in paths], 2):
        results.append(result)
        if not murdered:
            own = set(psutil.Process().children(recursive=True)) - others
            workers = [child for child in own if not child.children()]
            readers = [worker for worker in workers if "resource_tracker" not in " ".join(worker.cmdline())]
            for worker in readers:
                with contextlib.suppress(psutil.NoSuchProcess):  # the pool itself ends the others when one has died
                    worker.kill()
            murdered = bool(readers)
    assert murdered
    assert sorted(result.path for result in results) == paths
    assert all(result.kind is None for result in results)
