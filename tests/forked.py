"""Commands in processes that are forked from one that has imported already: the side that asks."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from threading import Lock

IMPORTING_SECONDS = 120

_LOCK = Lock()


def forked(words: list[str], folder: Path, timeout: float) -> tuple[int, str, str]:
    """Run a command line of ``tailsight`` to its end.

    Args:
        words: the first is the program's name.
        folder: to run it in.
        timeout: seconds after which it is killed.

    Returns:
        Exit code (the signal's number, negative, of a killed process), stdout, stderr.

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    with _LOCK:
        address = _forks()
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as connection:
        streams = {name: Path(place) / name for name in ("stdout", "stderr")}
        for path in streams.values():
            path.touch()
        request = {"words": words, "folder": str(folder), "environment": dict(os.environ)}
        connection.settimeout(IMPORTING_SECONDS)
        connection.connect(address)
        connection.sendall(json.dumps(request | {name: str(path) for name, path in streams.items()}).encode() + b"\n")
        with connection.makefile("rb") as answers:
            process = int(answers.readline())
            connection.settimeout(timeout)
            try:
                code = int(answers.readline())
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(
                    words, timeout, *(path.read_bytes() for path in streams.values())
                ) from None
        return code, *(path.read_text() for path in streams.values())


@cache
def _forks() -> str:
    """The address of this test process's own :mod:`tests.command_forks`, which ends with it."""
    listening, life = socket.socket(socket.AF_UNIX), socket.socketpair()
    place = tempfile.TemporaryDirectory()
    address = str(Path(place.name) / "forks")
    listening.bind(address)
    listening.listen()
    passed = [listening.fileno(), life[1].fileno()]
    program = [sys.executable, "-P", str(Path(__file__).with_name("command_forks.py")), *map(str, passed)]
    process = subprocess.Popen(program, pass_fds=passed, stdin=subprocess.DEVNULL)
    listening.close()
    life[1].close()

    def end() -> None:
        life[0].close()
        process.wait(60)
        place.cleanup()

    atexit.register(end)
    return address
