"""The worker processes as the server sees them: images go to them in batches, a dead one is replaced, a model swapped.

LitServe gives the processes, the queue, the batching loop and the way back. What its ``LitServer.run`` would do around
them is done here, because it waits for ever for the answer of a worker that died, lets its queue grow without bound,
listens on three hosts only, and knows no second model.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import litserve
import numpy as np
from litserve.server import response_queue_to_buffer
from litserve.utils import LitAPIStatus, ResponseBufferItem, WorkerSetupStatus
from numpy.typing import NDArray

from data_contracts.errors import Busy, TailsightError
from pipelines.serving.computing import FAILED, HELD, WANTED, Computed, ModelWorker, NotComputed
from pipelines.serving.options import ServeOptions
from pipelines.serving.served_model import ServedModel

START_SECONDS = 120.0
MOST_ATTEMPTS = 3
"""An image that has met so many dying workers is not tried again: it may be what they die of."""

_LOOK_SECONDS = 0.2
_CONSUMER = 0
_LOG = logging.getLogger("tailsight.serving")


@dataclass(frozen=True)
class Standing:
    """How the workers are. ``sound`` is false once no worker can ever answer again."""

    workers: int
    ready: int
    restarts: int
    sound: bool


@dataclass
class _Asked:
    """An image on its way, kept until it is answered: it is sent again if its worker dies."""

    content: tuple[str, NDArray[np.uint8]]
    attempts: int = 1


class Workers:
    """Worker processes behind one queue. All methods belong to the event loop's thread.

    Args:
        options: how many, and how they batch.
        first: the model that they begin with.
        swapped: told of each model that takes over.
    """

    def __init__(self, options: ServeOptions, first: ServedModel, swapped: Callable[[ServedModel], None]) -> None:
        self.serving = first
        self.standing = Standing(options.workers, 0, 0, sound=True)
        self._options = options
        self._swapped = swapped
        self._next: ServedModel | None = None
        self._refused: set[str] = set()
        self._asked: dict[str, _Asked] = {}
        self._restarts = 0
        self._not_before: dict[int, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._processes: list[Any] = []
        self._manager: Any = None

    async def start(self) -> None:
        """Start the processes and wait until each holds the model.

        Raises:
            TailsightError: they do not within two minutes, or cannot.
        """
        seconds = self._options.limits.seconds
        self._api = ModelWorker(
            server=os.getpid(),
            max_batch=self._options.max_batch,
            wait_seconds=self._options.batch_wait_ms / 1000,
            keep_seconds=seconds + 1,
        )
        self._lit = litserve.LitServer(
            self._api,
            accelerator="cpu",  # says how many workers there are; the runtime chooses where it computes
            workers_per_device=self._options.workers,
            timeout=seconds,
        )
        # A service manager signals all of us at once; what carries the last answers must not go first.
        former = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the manager inherits it
        try:
            self._manager = self._lit._init_manager(1)
        finally:
            signal.signal(signal.SIGTERM, former)
        self._board = self._manager.dict({WANTED: self.serving, self.serving.key: self.serving})
        self._api.attach(self._board, self._manager._process.pid)
        self._queue = self._lit._get_request_queue(self._api.api_path)
        self._processes = self._lit.launch_inference_worker(self._api)
        self._tasks = [self._listen()]
        deadline = time.monotonic() + START_SECONDS
        while self._look().ready < self._options.workers:
            dead = [process for process in self._processes if not process.is_alive()]
            if dead or time.monotonic() > deadline:
                raise TailsightError(
                    f"The workers could not load model version {self.serving.version} on {self.serving.runtime}.",
                    cause="A worker ended." if dead else f"They took longer than {START_SECONDS:.0f} seconds.",
                    remedy="What a worker said stands above; `tailsight doctor` looks at machine and workspace.",
                )
            await asyncio.sleep(0.05)
        self._tasks.append(asyncio.create_task(self._supervise()))

    async def compute(self, model: ServedModel, images: Sequence[NDArray[np.uint8]]) -> list[Computed]:
        """Have images computed, uint8 [H, W, C] each, as ``model`` wants them; answers in the same order.

        Raises:
            Busy: the workers died over it, or cannot be reached.
            TailsightError: the model could not compute it.
        """
        uids = [uuid.uuid4().hex for _ in images]
        waiting = {uid: ResponseBufferItem(event=asyncio.Event()) for uid in uids}
        self._lit.response_buffer.update(waiting)
        try:
            for uid, pixels in zip(uids, images, strict=True):
                self._asked[uid] = _Asked((model.key, pixels))
                self._send(uid)
            for item in waiting.values():
                await item.event.wait()
        finally:
            for uid in uids:
                self._asked.pop(uid, None)
                self._lit.response_buffer.pop(uid, None)
        return [self._answer(item.response) for item in waiting.values()]

    def want(self, model: ServedModel) -> None:
        """Have every worker make ``model`` ready; once all are, it takes over at one stroke.

        Images that were admitted before are computed by the model that they were admitted under.
        """
        if model.key == (self._next or self.serving).key or model.key in self._refused:
            return
        self._next = None if model.key == self.serving.key else model  # back before it was done: nothing moves
        self._board[model.key] = model
        self._board[WANTED] = model

    async def stop(self) -> None:
        """End the processes, those of a start that failed too; whoever still waits for an answer gets none."""
        for task in self._tasks:
            task.cancel()
        for process in self._processes:
            process.kill()  # it heeds no other signal, and has nothing to finish
            process.join()
        if self._tasks:
            self._lit._transport.close()
        if self._manager is not None:
            self._manager.shutdown()

    def _send(self, uid: str) -> None:
        try:
            self._queue.put((_CONSUMER, uid, time.monotonic(), self._asked[uid].content))
        except (OSError, EOFError):
            raise Busy("The server lost its workers.", remedy="It ends; start it again.") from None

    @staticmethod
    def _answer(response: tuple[Any, str]) -> Computed:
        content, status = response
        if status == LitAPIStatus.OK and isinstance(content, Computed):
            return content
        if isinstance(content, NotComputed):
            raise Busy(content.what, remedy="Send it again.")
        raise TailsightError("The model could not compute this image.", remedy="The server's log says why.")

    def _listen(self) -> asyncio.Task[None]:
        lit = self._lit
        listening = response_queue_to_buffer(lit._transport, lit.response_buffer, _CONSUMER, lit.litapi_connector)
        return asyncio.create_task(listening)

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._manager._process.is_alive():
                self.standing = Standing(self._options.workers, 0, self._restarts, sound=False)
                return
            if self._tasks[0].done():  # an error ended it; nobody would hear an answer
                self._tasks[0] = self._listen()
            try:
                self._replace_the_dead()
                self._look()
                self._take_over()
            except (OSError, EOFError):
                continue  # the manager died between the looks

    def _look(self) -> Standing:
        board = dict(self._board)
        ready = sum(self._holds(board, number, self.serving.key) for number in range(len(self._processes)))
        self.standing = Standing(self._options.workers, ready, self._restarts, sound=True)
        return self.standing

    def _holds(self, board: dict[str, Any], number: int, key: str) -> bool:
        """Whether a worker is alive, has finished its set-up and holds a model."""
        process = self._processes[number]
        held, keys = board.get(f"{HELD}:{number}", (None, ()))
        status = self._lit.workers_setup_status.get(f"compute_{number}")
        return bool(process.is_alive() and held == process.pid and key in keys and status == WorkerSetupStatus.READY)

    def _replace_the_dead(self) -> None:
        now = time.monotonic()
        for number, process in enumerate(self._processes):
            if process.is_alive() or now < self._not_before.get(number, 0.0):
                continue
            process.join()
            self._restarts += 1
            self._not_before[number] = now + 2.0  # one that dies at once is not started all the time
            _LOG.warning("Worker %d ended (exit code %s); another takes its place.", number, process.exitcode)
            self._processes[number] = self._lit.launch_single_inference_worker(self._api, number)
            self._send_again()

    def _send_again(self) -> None:
        """All that is unanswered: nobody knows what the dead worker had taken, and a second answer is not heard."""
        for uid, asked in list(self._asked.items()):
            item = self._lit.response_buffer.get(uid)
            if item is None or item.event.is_set():
                continue
            asked.attempts += 1
            if asked.attempts > MOST_ATTEMPTS:
                item.response = (NotComputed("Workers died while they computed this image."), LitAPIStatus.ERROR)
                item.event.set()
            else:
                self._send(uid)

    def _take_over(self) -> None:
        if self._next is None:
            return
        board = dict(self._board)
        workers = range(len(self._processes))
        failures = [board.get(f"{FAILED}:{number}", ("", ""))[1] for number in workers
                    if board.get(f"{FAILED}:{number}", ("", ""))[0] == self._next.key]  # fmt: skip
        if failures:
            _LOG.warning(
                "Model version %s cannot be served (%s); %s stays.",
                self._next.version,
                failures[0],
                self.serving.version,
            )
            self._board[WANTED] = self.serving
            self._refused.add(self._next.key)
            self._next = None
        elif all(self._holds(board, number, self._next.key) for number in workers):
            former, self.serving, self._next = self.serving, self._next, None
            _LOG.warning("Model version %s has taken over from %s.", self.serving.version, former.version)
            self._swapped(self.serving)
