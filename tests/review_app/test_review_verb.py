"""``tailsight review`` starts the app, says where it is, and takes it along when it is stopped."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from data_contracts.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


def _start(workspace: Workspace, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipelines.command_line.entry", "--workspace", str(workspace.folder)]
    return subprocess.Popen(
        [*command, "review", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_app_runs_until_the_command_is_stopped_and_no_child_survives(site: Workspace, sign: signal.Signals) -> None:
    command = _start(site, "--port", "0", "--json")
    assert command.stdout is not None
    told = json.loads(command.stdout.readline())
    with urllib.request.urlopen(f"{told['address']}/_stcore/health", timeout=10) as answer:
        assert answer.status == 200
    command.send_signal(sign)
    command.communicate(timeout=60)
    assert command.returncode == 0
    assert not psutil.pid_exists(told["process"])


def test_a_port_that_is_taken_is_named(site: Workspace) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        command = _start(site, "--port", str(other.getsockname()[1]))
        _, said = command.communicate(timeout=120)
    assert command.returncode == 2
    assert "cannot listen" in said


def test_a_sign_in_that_is_not_whole_is_named_and_nothing_starts(site: Workspace) -> None:
    secrets = site.folder / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text('[auth]\nclient_id = "a"\n', encoding="utf-8")
    secrets.chmod(0o600)
    command = _start(site, "--port", "0")
    _, said = command.communicate(timeout=120)
    assert command.returncode == 2
    assert "lacks 'redirect_uri'" in said.replace("\n", " ")


def test_a_folder_that_is_no_workspace_is_refused(tmp_path: Path) -> None:
    command = _start(Workspace(tmp_path))
    _, said = command.communicate(timeout=120)
    assert command.returncode == 2
    assert "not a Tailsight workspace" in said
