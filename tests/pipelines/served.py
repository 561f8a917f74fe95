"""A real server in a process of its own, and asking it over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    port: int
    process: subprocess.Popen[str]
    log: Path
    said: Any

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, None, headers)

    def predict(self, image: Path | bytes, **headers: str) -> Reply:
        return self.ask("POST", "/v1/predict", image if isinstance(image, bytes) else image.read_bytes(), headers)

    def workers(self) -> list[psutil.Process]:
        """The processes that compute: those that were spawned to import everything anew."""
        children = psutil.Process(self.process.pid).children()
        return [one for one in children if any("spawn_main" in word for word in one.cmdline())]

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def serve_command(workspace: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "pipelines.command_line.entry", "--workspace", str(workspace), "serve", *words]


@contextmanager
def served(workspace: Path, log: Path, *words: str, **environment: str) -> Iterator[Served]:
    """`tailsight serve` on a free port until the block ends."""
    with log.open("w") as err:
        process = subprocess.Popen(
            serve_command(workspace, "--port", "0", "--json", *words),
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            said = json.loads(line)
            yield Served(said["port"], process, log, said)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            assert process.stdout is not None
            process.stdout.close()


def multipart(files: Mapping[str, bytes], field: str = "images") -> tuple[bytes, dict[str, str]]:
    """A form with files, and its header."""
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files.items()
    ]
    return b"".join([*parts, b"--limit--\r\n"]), {"Content-Type": "multipart/form-data; boundary=limit"}


def eventually(holds: Any, seconds: float = 30) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)
