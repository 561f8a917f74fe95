"""Ray for as long as one piece of work takes: silent, without telemetry or dashboard, and stopped whatever happens."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from data_contracts.errors import BadInput, Unreachable
from data_contracts.settings import read_variable, variables_set

_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # it calls actors that may restart an error
}
_CONNECT_SECONDS = 5.0
_SETTINGS_FRAME = 4
_LONGEST_FOLDER = 40
_OBJECT_STORE_BYTES = 256 << 20
"""File names and rows pass through it, never pixels."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster as Ray knows it: its id, the address that people know it by, and its processors."""

    node_id: str
    address: str
    processors: int


def require_ray(address: str | None = None) -> None:
    """See that Ray is installed and, where an address is given, that something answers there.

    Raises:
        BadInput: Ray is not installed, or the address is not HOST:PORT.
        Unreachable: nothing answers.
    """
    if find_spec("ray") is None:
        raise BadInput(
            "--engine ray needs Ray, which is not installed.", remedy="Install it with: pip install 'tailsight[ray]'"
        )
    if address is None:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise BadInput(
            f"{address!r} is not the address of a Ray cluster.",
            remedy="Give HOST:PORT, as `ray start --head` prints it, on a machine that belongs to the cluster.",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS) as connection:
            why = None if read_variable("RAY_USE_TLS") or _speaks_grpc(connection) else "another program answers there"
    except (OSError, OverflowError) as error:
        why = str(error)
    if why is not None:
        raise Unreachable(
            f"The Ray cluster at {address} cannot be reached ({why}).",
            cause="Its head is not running, or the address or a firewall is wrong.",
            remedy="Start it with `ray start --head`, or leave --ray-address out to use this machine's processors.",
        )


def _speaks_grpc(connection: socket.socket) -> bool:
    """Whether a server greets as HTTP/2 (RFC 9113, 3.4) does: Ray itself would try another program for minutes."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, _SETTINGS_FRAME, 0, 0, 0, 0, 0)))
    greeting = connection.recv(9)
    return len(greeting) > 3 and greeting[3] == _SETTINGS_FRAME


@contextmanager
def ray_session(address: str | None, processors: int) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster or to one made here, and disconnected at the end.

    What Ray prints goes nowhere: stdout belongs to ``--json`` and stderr to our own progress. Its log files stay
    where the cluster keeps them; of a cluster made here, after a failure only. Signal handlers and the environment are
    left as they were.

    Args:
        address: HOST:PORT of a cluster that this machine belongs to; ``None`` makes one of this machine alone.
        processors: how many processors a cluster made here has.

    Raises:
        BadInput: see :func:`require_ray`; or the cluster runs another version of Ray or Python.
        Unreachable: the cluster does not answer, or this machine does not belong to it.
    """
    require_ray(address)
    before = signal.getsignal(signal.SIGTERM)
    variables = _VARIABLES if address else _VARIABLES | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _own_token()}
    with variables_set(variables), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        import ray
        import ray.data

        warnings.simplefilter("ignore")  # importing Ray has put its own filters before ours
        _silence()
        folder = None if address else _short_folder()
        try:
            with _without_stderr():  # its C++ parts write past Python
                _connect(ray, address, processors, folder)
            yield ray
        finally:
            ray.shutdown()
            if before is not None:
                with contextlib.suppress(ValueError):  # not the main thread: then Ray has not touched it either
                    signal.signal(signal.SIGTERM, before)
        if folder is not None:  # after a failure its logs are worth reading
            shutil.rmtree(folder, ignore_errors=True)


def _connect(ray: Any, address: str | None, processors: int, folder: str | None) -> None:
    own: dict[str, Any] = {
        "num_cpus": processors,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    own |= {"_temp_dir": folder} if folder else {}
    where = f" at {address}" if address else " of this machine"
    try:
        ray.init(address=address or "local", log_to_driver=False, configure_logging=False, **({} if address else own))
    except ray.exceptions.AuthenticationError as error:
        raise BadInput(
            f"The Ray cluster{where} does not let this machine in: {_first_line(error)}",
            remedy="Give this machine the cluster's token (RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token).",
        ) from None
    except ConnectionError as error:
        raise Unreachable(
            f"The Ray cluster{where} cannot be used: {_first_line(error)}",
            cause="Its head stopped, this machine does not belong to it, or the cluster's token is not known here.",
            remedy="Run the command on a machine of the cluster (`ray start --address=HOST:PORT`), with its token.",
        ) from None
    except RuntimeError as error:
        if "Version mismatch" not in str(error):
            raise
        raise BadInput(
            f"The Ray cluster{where} runs another version: {' '.join(str(error).split())}",
            remedy="Install the same versions of Python and Ray on all its machines.",
        ) from None


def _short_folder() -> str | None:
    """A folder for the files of a cluster made here, if the names of its sockets fit in there; else Ray's own."""
    folder = tempfile.mkdtemp(prefix="ray-")
    if len(folder) <= _LONGEST_FOLDER:
        return folder
    os.rmdir(folder)  # noqa: PTH106
    return None


def living_nodes(ray: Any) -> list[Node]:
    """The machines of the cluster that have processors and answer, in a steady order."""
    nodes = [
        Node(node["NodeID"], node["NodeManagerAddress"], int(node["Resources"].get("CPU", 0)))
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted((node for node in nodes if node.processors), key=lambda node: node.node_id)


@cache
def _own_token() -> str:
    """What lets our own processes into a cluster made here, and nobody else; Ray would leave one in the home folder."""
    return secrets.token_hex(32)


@contextmanager
def _without_stderr() -> Iterator[None]:
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _silence() -> None:
    for name in ("ray", "ray.data"):
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.CRITICAL + 1)
        logger.addHandler(logging.NullHandler())  # with none at all, Python itself would write to stderr
        logger.propagate = False


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
