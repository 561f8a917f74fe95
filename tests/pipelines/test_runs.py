"""What processes that end badly leave in the Dagster instance, and how the next command puts it right."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dagster import DagsterRunStatus

from data_contracts.workspace import Workspace
from pipelines.definitions.instance import open_instance
from tests.pipelines.commands import TAILSIGHT, TINY, done, tailsight


def _latest(folder: Path) -> DagsterRunStatus | None:
    with open_instance(Workspace(folder), put_right=False) as instance:
        runs = instance.get_runs(limit=1)
        return runs[0].status if runs else None


def _start_training(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [TAILSIGHT, "--workspace", str(folder), "train", *TINY, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    before = _latest(folder)
    while time.monotonic() < deadline:
        if _latest(folder) is DagsterRunStatus.STARTED:
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"training did not start; the latest run is {before}")


def test_first_commands_at_the_same_time_do_not_find_each_others_tables_half_made(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    program = (
        "import sys, time; from pathlib import Path; from data_contracts.workspace import Workspace;"
        "from pipelines.definitions.instance import open_instance; import dagster._core.storage.sqlite_storage;"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()));"
        "open_instance(Workspace(Path(sys.argv[1]))).__enter__()"
    )
    at_once = str(time.time() + 15)
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(workspace), at_once], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said


def test_a_killed_command_leaves_a_run_that_the_next_command_marks_as_failed(curated: Path) -> None:
    process = _start_training(curated)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert _latest(curated) is DagsterRunStatus.STARTED
    report = done(curated, "doctor")
    runs = next(finding for finding in report["findings"] if finding["name"] == "runs")
    assert runs["health"] == "warn"
    assert "1 left under way by a killed process, now marked as failed" in runs["detail"]
    assert _latest(curated) is DagsterRunStatus.FAILURE
    assert report["ok"] is True


def test_ctrl_c_ends_the_run_says_so_in_one_line_and_exits_with_130(curated: Path) -> None:
    process = _start_training(curated)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "tailsight: Stopped." in stderr
    assert "Traceback" not in stderr
    assert stdout.count("\n") == 1
    assert _latest(curated) in (DagsterRunStatus.CANCELED, DagsterRunStatus.FAILURE)


def test_a_run_of_a_living_process_is_left_alone(curated: Path) -> None:
    process = _start_training(curated)
    try:
        with open_instance(Workspace(curated)) as instance:
            assert instance.get_runs(limit=1)[0].status is DagsterRunStatus.STARTED
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_bars_are_drawn_on_stderr_while_dagster_runs_and_stdout_stays_clean(tmp_path: Path, image_folder: Path) -> None:
    folder = tmp_path / "workspace"
    done(folder, "init", "--profile", "generic")
    main, side = pty.openpty()
    process = subprocess.Popen(
        [TAILSIGHT, "--workspace", str(folder), "ingest", str(image_folder), "--json"],
        stdout=subprocess.PIPE,
        stderr=side,
        text=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(side)
    drawn = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    stdout, _ = process.communicate(timeout=60)
    os.close(main)
    assert process.returncode == 0
    assert "━".encode() in drawn
    assert stdout.startswith("{")
    assert stdout.count("\n") == 1


@pytest.mark.parametrize("words", [("curate",), ("train",)])
def test_an_error_of_the_user_inside_a_job_ends_with_exit_code_2_and_a_failed_run(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = tmp_path / "workspace"
    done(folder, "init", "--profile", "generic")
    answer = tailsight(folder, *words, "--json")
    assert answer.code == 2, answer.stderr
    assert answer.json["error"]["remedy"]
    assert "Traceback" not in answer.stderr
    assert _latest(folder) is DagsterRunStatus.FAILURE
