"""Running the server: the address is taken first, then the model is loaded, then requests are let in until a signal."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import uvicorn

from data_contracts.errors import BadInput, TailsightError
from data_contracts.progress import Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.serving.http_app import make_app
from pipelines.serving.keys import Keys, read_keys
from pipelines.serving.options import ServeOptions
from pipelines.serving.served_model import ServedModel, find_model
from pipelines.serving.service import Service

_LOOK_SECONDS = 0.2
_MOST_CONNECTIONS = 2048


@dataclass(frozen=True)
class Serving:
    """What the server tells once it answers."""

    address: str
    port: int
    model_version: str
    runtime: str
    workers: int
    asks_for_keys: bool


def serve(workspace: Workspace, options: ServeOptions, tell: Callable[[Serving], None], progress: Progress) -> None:
    """Serve until SIGTERM or Ctrl-C; what is under way then is finished first.

    Args:
        workspace: whose model answers.
        options: where and how.
        tell: called once requests are answered.
        progress: told of the start.

    Raises:
        BadInput: the address is taken, others may read the key file, or it would be open to everybody.
        NotFound: there is no such model.
        TailsightError: the workers could not start, or their manager ended.
    """
    keys = read_keys(read_settings().serve_keys, options.keys_file)
    options.check_exposure(has_keys=bool(keys))
    listener = _listener(options)
    with listener:
        with progress.step("Finding the model"):
            model = find_model(workspace, options.model, options.runtime, progress)
        for sentence in model.remarks:
            progress.say(sentence)
        asyncio.run(_serve(workspace, options, model, keys, listener, tell, progress))


async def _serve(
    workspace: Workspace,
    options: ServeOptions,
    model: ServedModel,
    keys: Keys,
    listener: socket.socket,
    tell: Callable[[Serving], None],
    progress: Progress,
) -> None:
    service = Service(workspace, options, model)
    try:
        with progress.step(f"Starting {options.workers} worker{'s' if options.workers > 1 else ''}"):
            await service.start()
        gc.collect()
        gc.freeze()  # what is there now stays; to look through it again would stop every answer for a third of a second
        server = _http_server(service, keys, options)
        # uvicorn raises the signals that it caught once more when all is done: by then they must mean nothing.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not running.done() and not server.started:
            await asyncio.wait([running], timeout=_LOOK_SECONDS / 10)
        tell(_serving(options, model, keys, listener))
        while not running.done():
            if not service.workers.standing.sound:
                server.should_exit = True
            await asyncio.wait([running], timeout=_LOOK_SECONDS)
        await running
    finally:
        with suppress(OSError, EOFError):  # the manager may be what has ended
            await service.stop()
    if not service.workers.standing.sound:
        raise TailsightError(
            "The process that carries images to the workers ended, so the server did.",
            cause="Somebody or the system's memory guard killed it.",
            remedy="Start the server again; whatever starts services here may do so by itself.",
        )


def _http_server(service: Service, keys: Keys, options: ServeOptions) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            make_app(service, keys),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=int(options.limits.seconds) + 1,
        )
    )


def _serving(options: ServeOptions, model: ServedModel, keys: Keys, listener: socket.socket) -> Serving:
    port = listener.getsockname()[1]
    return Serving(
        address=f"http://{_shown(options.host)}:{port}",
        port=port,
        model_version=model.version,
        runtime=model.runtime,
        workers=options.workers,
        asks_for_keys=bool(keys),
    )


def _listener(options: ServeOptions) -> socket.socket:
    """The socket that requests come to; taken before the model is loaded, because that takes seconds."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
    except OSError as error:
        listener.close()
        raise BadInput(
            f"The server cannot listen on {options.host}:{options.port} ({error.strerror or error}).",
            cause="Another program listens there already, or the address is not this machine's.",
            remedy="Give another --port; 0 takes a free one.",
        ) from None
    return listener


def _shown(host: str) -> str:
    return "localhost" if host in ("0.0.0.0", "127.0.0.1") else f"[{host}]" if ":" in host else host  # noqa: S104
