"""What a service has started ends with the command that started the service, whichever of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines import attached_child
from tests.pipelines.up_process import gone, until

SERVICE = "sleep 600 & echo $! > {told}; wait"
"""A shell that a signal ends, and a child of it that then goes on alone."""


def _start(told: Path, script: str = SERVICE) -> tuple[subprocess.Popen[bytes], psutil.Process, psutil.Process]:
    """A parent that sleeps, its attached child, and what the service itself started."""
    command = [sys.executable, "-m", "pipelines.attached_child", "{parent}", "/bin/sh", "-c", script.format(told=told)]
    starts = (
        "import os, subprocess, sys, time\n"
        f"command = [part.replace('{{parent}}', str(os.getpid())) for part in {command!r}]\n"
        "child = subprocess.Popen(command, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "sys.exit(child.wait())"
    )
    parent = subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as said:
        attached = psutil.Process(int(said.readline()))
    until(lambda: told.exists() and told.read_text().strip(), 20, "the service runs")
    return parent, attached, psutil.Process(int(told.read_text()))


@pytest.mark.parametrize("victim", ["parent", "service", "attached"])
def test_nothing_goes_on_after_a_kill(tmp_path: Path, victim: str) -> None:
    parent, attached, grandchild = _start(tmp_path / "told")
    if victim == "parent":
        parent.kill()
    elif victim == "service":
        attached.children()[0].kill()
    else:  # as `up` does when it stops
        os.killpg(attached.pid, signal.SIGTERM)
    parent.wait(20)
    until(lambda: gone([grandchild, attached]), 20, "all have ended")


@pytest.mark.slow
def test_what_does_not_listen_is_made_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, _, grandchild = _start(tmp_path / "told", "trap '' TERM; " + SERVICE)
    began = time.monotonic()
    parent.kill()
    parent.wait(20)
    until(lambda: gone([grandchild]), attached_child.GRACE_SECONDS + 10, "the deaf one has ended")
    assert time.monotonic() - began >= attached_child.GRACE_SECONDS - 1


def test_the_service_ends_with_its_own_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.attached_child", str(os.getpid()), "/bin/sh", "-c", "exit 7"]
    assert subprocess.run(command, check=False).returncode == 7
