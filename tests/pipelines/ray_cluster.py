"""A real Ray cluster on this machine: each node is a tree of processes of its own, and can be killed like a machine."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

RAY = str(Path(sys.executable).with_name("ray"))
_PATIENCE = 90.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class DeadlyPath:
    """A file that kills whoever reads it, as a defect of a decoder would."""

    def read_bytes(self) -> bytes:
        os._exit(1)

    def is_file(self) -> bool:
        return True


class RayCluster:
    """A head without dashboard; ``add_node`` starts further nodes. Use it as a context manager."""

    def __init__(self, processors: int = 1) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: its sockets lie in there
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        """What a program must have in its environment to be let in."""
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._start("--head", f"--port={self._port}", "--include-dashboard=false", f"--num-cpus={processors}")

    def add_node(self, processors: int = 1) -> int:
        """Start another node; its number."""
        self._start(f"--address={self.address}", f"--num-cpus={processors}")
        return len(self._nodes) - 1

    def kill(self, node: int) -> None:
        """kill -9 of every process of a node, as if its machine had lost its power."""
        _kill_tree(self._nodes[node].pid)
        self._nodes[node].wait()

    def runs(self, node: int, what: str) -> bool:
        """Whether a process of a node has ``what`` in its title."""
        family = psutil.Process(self._nodes[node].pid).children(recursive=True)
        return any(what in _title(process) for process in family)

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *what: object) -> None:
        for node in reversed(range(len(self._nodes))):
            self.kill(node)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, *words: str) -> None:
        log = (self._folder / f"node-{len(self._nodes)}.log").open("wb")
        command = [RAY, "start", *words, "--block", "--disable-usage-stats", f"--object-store-memory={128 << 20}"]
        environment = {**os.environ, **self.environment, "RAY_TMPDIR": str(self._folder)}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        log.close()
        self._nodes.append(process)
        deadline = time.monotonic() + _PATIENCE
        said = Path(log.name)
        while b"Ray runtime started" not in said.read_bytes():
            assert process.poll() is None, said.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, said.read_text(encoding="utf-8")
            time.sleep(0.1)


def _kill_tree(pid: int) -> None:
    try:
        root = psutil.Process(pid)
        family = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
