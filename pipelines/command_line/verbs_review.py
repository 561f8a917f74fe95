"""Verbs about people: ``review`` starts the app as a process and stops it with this one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from data_contracts.errors import BadInput, TailsightError
from data_contracts.workspace import Workspace
from pipelines.command_line.context import JsonFlag, workspace_in_use
from pipelines.command_line.output import STDERR

START_SECONDS = 60.0
STOP_SECONDS = 10.0
LOG_FILE = "review_app.log"


def review(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where it listens; 0 takes a free one.")] = 8501,
    address: Annotated[
        str, typer.Option("--address", help="0.0.0.0 lets other machines in; set up sign-in first.")
    ] = "127.0.0.1",
    json_output: JsonFlag = False,
) -> None:
    """Start the review app; Ctrl-C stops it, and loses nothing that was shown as saved."""
    workspace = workspace_in_use().require()
    chosen = _usable_port(address, port)
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
    app = start_app(workspace, chosen, address)
    try:
        wait_until_ready(app, workspace, chosen)
        _announce(chosen, app.pid, as_json=json_output)
        app.wait()
        raise _ended(workspace, app.returncode)
    except KeyboardInterrupt:
        STDERR.print("Stopping the review app ...")
    finally:
        stop_app(app)


def start_app(workspace: Workspace, port: int, address: str = "127.0.0.1") -> subprocess.Popen[bytes]:
    """Start the app's server as a process of its own; what it prints goes to the workspace's logs."""
    log = log_path(workspace)
    log.parent.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "TAILSIGHT_WORKSPACE": str(workspace.folder), "PYTHONPATH": paths}
    command = [sys.executable, "-m", "review_app.launch", "--port", str(port), "--address", address]
    with log.open("ab") as output:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def wait_until_ready(app: subprocess.Popen[bytes], workspace: Workspace, port: int) -> None:
    """Wait until the server answers.

    Raises:
        TailsightError: it ended, or does not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if app.poll() is not None:
            raise _ended(workspace, app.returncode)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TailsightError(
        f"The review app did not answer within {START_SECONDS:.0f} seconds.", remedy=f"See {log_path(workspace)}."
    )


def stop_app(app: subprocess.Popen[bytes]) -> None:
    """Stop the server; it is made to stop where it does not by itself."""
    if app.poll() is not None:
        return
    app.terminate()
    try:
        app.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        app.kill()
        app.wait()


def log_path(workspace: Workspace) -> Path:
    """Where the server's log is."""
    return workspace.folder / "logs" / LOG_FILE


def _announce(port: int, process: int, *, as_json: bool) -> None:
    address = f"http://localhost:{port}"
    if as_json:
        print(json.dumps({"address": address, "port": port, "process": process}))
    else:
        print(f"The review app is at {address} (Ctrl-C stops it).")
    sys.stdout.flush()


def _usable_port(address: str, port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        BadInput: it is taken, or the address is not this machine's.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise BadInput(
                f"The review app cannot listen on {address}:{port} ({error.strerror}).",
                cause="Another program, or another review app, listens there already.",
                remedy="Give another --port; 0 takes a free one.",
            ) from None
        chosen: int = probe.getsockname()[1]
        return chosen


def _ended(workspace: Workspace, code: int | None) -> TailsightError:
    if code == BadInput.exit_code:  # it was given something that cannot work, such as half a secrets file, and said so
        said = log_path(workspace).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return BadInput(said[-1] if said else "The review app was given something that cannot work.")
    return TailsightError(f"The review app ended by itself (exit code {code}).", remedy=f"See {log_path(workspace)}.")


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
