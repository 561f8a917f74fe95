"""Forks the processes that tests ask for: from this one, which has imported what commands import.

The suite runs hundreds of commands, and most of a short one's time is its imports. A forked process is as real as one
that is started anew: words, folder, environment, streams, exit code and signals are its own, and it ends as any does.
What a start itself does is tested with processes that are started anew.

    python command_forks.py LISTENING LIFE     two sockets by their numbers: requests come by the one; this process ends
                                               when the other side of the second has ended
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import threading
from typing import NoReturn

IMPORTED_ON_DEMAND = (
    *("torch", "torch.distributed", "albumentations", "cv2", "matplotlib.axes", "onnx"),
    *("scipy.optimize", "sklearn.model_selection", "sklearn.neighbors"),
)
"""What functions import when they need it."""
LEFT_OUT = ("pipelines.definitions.definitions", "ray", "litert")
"""What is for a workspace, and what is about an optional extra."""


def main() -> None:
    """Import, then fork for every request; the forked process returns from here."""
    with socket.socket(fileno=int(sys.argv[1])) as listening, socket.socket(fileno=int(sys.argv[2])) as life:
        prepare()
        request = asked_for(listening, life)
    if request is not None:
        become(**request)
        end(run())


def run() -> int:
    """The command; its exit code."""
    from pipelines.command_line.entry import main as command

    try:
        command()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def end(code: int) -> NoReturn:
    """As the interpreter ends, but for taking all modules apart, most of which the command did not want."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def prepare() -> None:
    """Import whatever a command may want. No thread may live here: a fork would have its locks and not the thread.

    Those that Arrow and OpenBLAS begin are no threads of Python; these libraries see to forks themselves.
    """
    import domain_models
    import pipelines
    from domain_models.openvino_toolkit import load_openvino
    from domain_models.timm_models import timm
    from domain_models.tracking.quiet_mlflow import load_mlflow

    for package in (domain_models, pipelines):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(word in found.name for word in LEFT_OUT):
                importlib.import_module(found.name)
    for name in IMPORTED_ON_DEMAND:
        importlib.import_module(name)
    for load in (timm, load_mlflow, load_openvino):
        load()
    assert threading.active_count() == 1, threading.enumerate()


def asked_for(listening: socket.socket, life: socket.socket) -> dict[str, object] | None:
    """In this process, answers to every request: a process's number, its exit code when it ends. At last None.

    In a forked process, the request that it is there for.
    """
    with selectors.DefaultSelector() as waiting:
        waiting.register(listening, selectors.EVENT_READ)
        waiting.register(life, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is life:
                    return None
                if key.fileobj is listening:
                    asking = listening.accept()[0]
                    request = json.loads(asking.makefile("rb").readline())
                    process = os.fork()
                    if not process:
                        asking.close()
                        return dict(request)
                    asking.sendall(f"{process}\n".encode())
                    waiting.register(os.pidfd_open(process), selectors.EVENT_READ, (process, asking))
                else:
                    process, asking = key.data
                    waiting.unregister(key.fileobj)
                    os.close(key.fd)
                    answer(asking, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def answer(asking: socket.socket, code: int) -> None:
    """Tell whoever asked, who may be gone."""
    with contextlib.suppress(OSError):
        asking.sendall(f"{code}\n".encode())
    asking.close()


def become(words: list[str], folder: str, environment: dict[str, str], stdout: str, stderr: str) -> None:
    """Take over what a process that is started anew is given."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream, path in ((0, os.devnull), (1, stdout), (2, stderr)):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, stream)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = words


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with whoever asks
    main()
