"""Several processes, killed processes, forked processes."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_contracts.errors import Busy
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.verify import verify_chain
from data_contracts.profile import shipped_profile_text
from data_contracts.records import NewLabelEvent
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace

Answer = Callable[..., NewLabelEvent]

PROJECT = Path(__file__).resolve().parents[2]

APPEND = """
import sys
from pathlib import Path
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.records import NewLabelEvent
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace

folder, name, batches, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with Ledger.open(Workspace(Path(folder)), read_settings()) as ledger:
    print("open", flush=True)
    for batch in range(batches):
        append_events(
            ledger,
            [
                NewLabelEvent(
                    who=name, subject_id=f"i{n}", action="label", label=f"{batch}", source="reader",
                    request_id=f"{name}-{batch}-{n}",
                )
                for n in range(size)
            ],
        )
        print(batch, flush=True)
"""


def start(workspace: Workspace, name: str, batches: int, size: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPEND, str(workspace.folder), name, str(batches), str(size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT)


def test_two_processes_that_append_at_once_yield_one_valid_chain(site: Workspace) -> None:
    processes = [start(site, name, 30, 5) for name in ("ann", "bob")]
    for process in processes:
        _, complaints = process.communicate(timeout=120)
        assert (process.returncode, complaints) == (0, "")
    with Ledger.open(site, read_settings()) as ledger:
        found = verify_chain(ledger)
        frame = events_frame(ledger)
    assert (found.ok, found.events) == (True, 300)
    assert frame["sequence"].tolist() == list(range(1, 301))
    for who in ("ann", "bob"):
        own = frame[frame["who"] == who]
        assert own["request_id"].tolist() == [f"{who}-{batch}-{n}" for batch in range(30) for n in range(5)]


def test_a_process_killed_while_it_appends_leaves_a_valid_chain_of_whole_batches(site: Workspace) -> None:
    size, clock = 40, random.Random(5)
    for attempt in range(5):
        process = start(site, f"p{attempt}", 10_000, size)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(clock.uniform(0.02, 0.25))
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
        with Ledger.open(site, read_settings()) as ledger:
            assert verify_chain(ledger).problems == ()
            kept = int((events_frame(ledger)["who"] == f"p{attempt}").sum())
        acknowledged = len(said.split()) * size
        assert kept % size == 0
        assert acknowledged <= kept <= acknowledged + size, "what was acknowledged is there, and at most one batch more"


def test_two_processes_may_open_a_new_workspace_at_once(tmp_path: Path) -> None:
    (tmp_path / "tailsight.yaml").write_text(shipped_profile_text("generic"), encoding="utf-8")
    workspace = Workspace(tmp_path)
    processes = [start(workspace, name, 1, 1) for name in ("ann", "bob", "cid")]
    for process in processes:
        _, complaints = process.communicate(timeout=120)
        assert (process.returncode, complaints) == (0, "")
    with Ledger.open(workspace) as ledger:
        assert verify_chain(ledger).events == 3


def test_a_process_killed_while_it_makes_the_ledger_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    clock = random.Random(3)
    for attempt in range(4):
        folder = tmp_path / f"{attempt}"
        folder.mkdir()
        (folder / "tailsight.yaml").write_text(shipped_profile_text("generic"), encoding="utf-8")
        process = start(Workspace(folder), "ann", 1, 1)
        while not (folder / "ledger.sqlite").exists():
            time.sleep(0.002)
        time.sleep(clock.uniform(0, 0.15))
        process.kill()
        process.communicate(timeout=60)
        with Ledger.open(Workspace(folder)) as ledger:
            assert verify_chain(ledger).ok


def _append_in_child(ledger: Ledger, event: NewLabelEvent) -> None:
    append_events(ledger, [event])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_an_open_ledger_may_be_used_on_both_sides_of_a_fork(ledger: Ledger, answer: Answer) -> None:
    append_events(ledger, [answer("a", "parent")])
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_append_in_child, args=(ledger, answer("a", f"child {n}"))) for n in range(3)]
    for child in children:
        child.start()
    append_events(ledger, [answer("a", "parent again")])
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert verify_chain(ledger).events == 5
    assert verify_chain(ledger).ok


def test_a_reader_sees_one_moment_while_others_write(site: Workspace, answer: Answer) -> None:
    with Ledger.open(site, read_settings()) as reader, Ledger.open(site, read_settings()) as writer:
        append_events(writer, [answer("a", "x")])
        with reader.reading() as connection:
            before = connection.exec_driver_sql("SELECT count(*) FROM label_event").scalar()
            append_events(writer, [answer("a", "y")])
            assert connection.exec_driver_sql("SELECT count(*) FROM label_event").scalar() == before
        assert len(events_frame(reader)) == 2


@pytest.mark.sqlite
def test_a_copied_workspace_is_a_ledger_of_its_own(ledger: Ledger, answer: Answer, tmp_path: Path) -> None:
    append_events(ledger, [answer("a", "x")])
    ledger.close()
    copy = Workspace(Path(shutil.copytree(ledger.workspace.folder, tmp_path / "copy")))
    with Ledger.open(copy) as other:
        append_events(other, [answer("a", "y")])
        assert verify_chain(other).events == 2
    assert verify_chain(ledger).events == 1


def test_a_database_that_is_held_is_said_to_be_held(
    site: Workspace, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_contracts.ledger.transactions.BUSY_SECONDS", 0.2)
    with (
        Ledger.open(site, read_settings()) as holder,
        Ledger.open(site, read_settings()) as other,
        holder.writing(),
        pytest.raises(Busy, match="is held by another process"),
    ):
        append_events(other, [answer("a", "x")])
