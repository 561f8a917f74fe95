"""What a worker process does: holds models, and computes batches of images with the one that each was admitted under.

LitServe starts the process, carries images to it and answers back. Ours is which model computes what: every image
comes with the key of a model, so a batch that was gathered while the champion moved is computed in two parts, and no
answer is of another model than it says.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from queue import Empty
from typing import Any

import litserve
import numpy as np
from litserve.loops.simple_loops import BatchedLoop
from numpy.typing import NDArray

from domain_models.compute import Compute
from pipelines.serving.served_model import ServedModel
from pipelines.steps.decisions import Decided, Decider
from pipelines.steps.model_classes import ClassesToday

WANTED, HELD, FAILED = "wanted", "held", "failed"
"""Keys of the notice board that server and workers share; the latter two with a worker's number behind a colon."""

IDLE_SECONDS = 1.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class OpenModel:
    """A model that can answer. ``compute`` maps uint8 [n, H, W, C] to float32 [n, k] logits."""

    compute: Compute
    decider: Decider
    today: ClassesToday


@dataclass(frozen=True)
class Computed:
    """What was computed of one image.

    Attributes:
        decided: under the class names of today.
        own: float64 [k], calibrated probabilities of the model's own classes.
        batch: how many images were computed together.
    """

    decided: Decided
    own: NDArray[np.float64]
    batch: int


@dataclass(frozen=True)
class NotComputed:
    """Why an image was not computed, in words."""

    what: str


def open_model(model: ServedModel) -> OpenModel:
    """Load a model: the only place where the server opens one."""
    opened = model.recipe.open()
    size = opened.card.preprocessing
    opened.compute(np.zeros((1, size.height, size.width, size.channels), dtype=np.uint8))  # what is slow only once
    return OpenModel(opened.compute, opened.decider, model.today)


class GatheringLoop(BatchedLoop):  # type: ignore[misc]  # LitServe has no types
    """LitServe's batched loop that sleeps while nobody asks and waits from the first image of a batch on.

    LitServe's own gathering begins to wait before there is anything to wait for, and so asks the queue a thousand times
    a second for ever.
    """

    def get_batch_requests(
        self,
        lit_api: Any,
        request_queue: Any,
        transport: Any,  # noqa: ARG002  # nobody is told that a worker has begun
    ) -> tuple[list[tuple[int, str, Any]], list[tuple[int, str]]]:
        """Up to ``max_batch_size`` requests, and those that have waited for longer than anybody waits for them."""
        try:
            first = request_queue.get(timeout=IDLE_SECONDS)
        except Empty:
            return [], []
        until = time.monotonic() + lit_api.batch_timeout
        taken = [first]
        while len(taken) < lit_api.max_batch_size:
            try:
                left = until - time.monotonic()
                taken.append(request_queue.get(timeout=left) if left > 0 else request_queue.get_nowait())
            except Empty:
                break
        oldest = time.monotonic() - (lit_api.request_timeout or float("inf"))
        live = [(queue, uid, content) for queue, uid, at, content in taken if at >= oldest]
        return live, [(queue, uid) for queue, uid, at, _ in taken if at < oldest]


class ModelWorker(litserve.LitAPI):  # type: ignore[misc]  # LitServe has no types
    """Computes (key, pixels) pairs, uint8 [H, W, C] each; beside it a thread makes the next model ready.

    Args:
        server: process id of the server; without it, the worker ends.
        max_batch: images computed at once.
        wait_seconds: how long a batch waits for more images.
        keep_seconds: how long a model that is not wanted any more is kept for images on their way.
    """

    def __init__(self, *, server: int, max_batch: int, wait_seconds: float, keep_seconds: float) -> None:
        super().__init__(
            max_batch_size=max_batch, batch_timeout=wait_seconds, api_path="/compute", loop=GatheringLoop()
        )
        self.server = server
        self.keep_seconds = keep_seconds

    def attach(self, board: MutableMapping[str, Any], manager: int) -> None:
        """Give the worker what it needs before it is started.

        Args:
            board: what server and workers tell one another: the wanted model, which models a worker holds.
            manager: process id of the process that holds board and queues; it ends with the server as well.
        """
        self.board = board
        self.manager = manager

    def setup(self, device: str) -> None:  # noqa: ARG002  # the runtime chooses where it computes
        """Load the wanted model, and follow what is wanted from then on."""
        for number in (signal.SIGINT, signal.SIGTERM):  # the server's business: it stops us once all is done
            signal.signal(number, signal.SIG_IGN)
        self.number = int(os.environ["LITSERVE_WORKER_ID"])
        self.models: dict[str, OpenModel] = {}
        self.unwanted_since: dict[str, float] = {}
        self.loading = threading.Lock()
        self._hold(self.board[WANTED])
        gc.collect()
        gc.freeze()  # as in the server
        threading.Thread(target=self._follow, name="follow", daemon=True).start()

    def batch(self, inputs: Sequence[tuple[str, NDArray[np.uint8]]]) -> list[tuple[str, NDArray[np.uint8]]]:
        """As they came: images of two models are of two shapes perhaps."""
        return list(inputs)

    def predict(self, inputs: Sequence[tuple[str, NDArray[np.uint8]]]) -> list[Computed | NotComputed]:
        """Compute each image with the model that it was admitted under."""
        answers: list[Computed | NotComputed | None] = [None] * len(inputs)
        for key in dict.fromkeys(key for key, _ in inputs):
            rows = [row for row, (wanted, _) in enumerate(inputs) if wanted == key]
            for row, answer in zip(rows, self._computed(key, [inputs[row][1] for row in rows]), strict=True):
                answers[row] = answer
        return [answer for answer in answers if answer is not None]

    def _computed(self, key: str, images: Sequence[NDArray[np.uint8]]) -> list[Computed | NotComputed]:
        model = self.models.get(key) or self._fetched(key)
        if model is None:
            return [NotComputed("The model that this image was admitted under is gone.")] * len(images)
        own = model.decider.calibration.probabilities(model.compute(np.stack(images)))
        decided = model.decider.decide_of(own, model.today)
        return [Computed(one, own[row], len(images)) for row, one in enumerate(decided)]

    def _fetched(self, key: str) -> OpenModel | None:
        """A model that this worker does not hold: it is younger than the image, or the swap was quicker than it."""
        model = self.board.get(key)
        if model is None:
            return None
        self._hold(model)
        return self.models.get(key)

    def _hold(self, model: ServedModel) -> None:
        with self.loading:
            if model.key not in self.models:
                self.models[model.key] = open_model(model)
            self.board[f"{HELD}:{self.number}"] = (os.getpid(), tuple(self.models))

    def _follow(self) -> None:
        refused = ""
        while True:
            time.sleep(LOOK_SECONDS)
            if os.getppid() != self.server:
                self._end_with_the_server()
            try:
                wanted: ServedModel = self.board[WANTED]
                if wanted.key not in self.models and wanted.key != refused:
                    try:
                        self._hold(wanted)
                    except Exception as error:  # whatever it is, the server goes on with the model that it has
                        refused = wanted.key
                        self.board[f"{FAILED}:{self.number}"] = (wanted.key, f"{type(error).__name__}: {error}")
                self._let_go(wanted.key)
            except (OSError, EOFError):
                self._end_with_the_server()

    def _let_go(self, wanted: str) -> None:
        now = time.monotonic()
        for key in list(self.models):
            if key == wanted:
                self.unwanted_since.pop(key, None)
            elif now - self.unwanted_since.setdefault(key, now) > self.keep_seconds:
                del self.models[key], self.unwanted_since[key]

    def _end_with_the_server(self) -> None:
        try:
            os.kill(self.manager, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os._exit(1)
