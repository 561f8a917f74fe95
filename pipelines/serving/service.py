"""From uploaded bytes to predictions, by the functions that score batches; and the model that answers now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import TailsightError
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Decision
from data_contracts.workspace import Workspace
from domain_models.model_card import ModelCard, read_card
from pipelines.serving.admission import Admission
from pipelines.serving.computing import Computed
from pipelines.serving.contract import InputSize, ModelDescription, Prediction, Readiness
from pipelines.serving.figures import Figures
from pipelines.serving.options import ServeOptions
from pipelines.serving.problems import RequestProblem
from pipelines.serving.served_model import ServedModel, Watch, find_model
from pipelines.serving.triage_log import Kept, TriageLog
from pipelines.serving.uploads import Upload, check_size
from pipelines.serving.workers import Workers
from pipelines.steps.decisions import Decider
from pipelines.steps.score_files import prepare_bytes

Outcome = Prediction | TailsightError | RequestProblem
"""What became of one image: its prediction, or why there is none."""

_LOG = logging.getLogger("tailsight.serving")


@dataclass(frozen=True)
class Pinned:
    """The model that answers: replaced as one value, so that no request sees half of a swap."""

    model: ServedModel
    card: ModelCard
    since: datetime

    @classmethod
    def of(cls, model: ServedModel) -> Pinned:
        """Read its card."""
        return cls(model, read_card(model.package), datetime.now(UTC))


@dataclass(frozen=True)
class _Prepared:
    image_id: str
    pixels: NDArray[np.uint8]


class Service:
    """Answers for images with the pinned model. All methods belong to the event loop's thread.

    Args:
        workspace: whose models are served.
        options: limits, and how workers batch.
        first: the model to begin with.
    """

    def __init__(self, workspace: Workspace, options: ServeOptions, first: ServedModel) -> None:
        self.options = options
        self.figures = Figures()
        self.admission = Admission(options.limits)
        self.workers = Workers(options, first, self._take_over)
        self._workspace = workspace
        self._watch = Watch(workspace, options.model)
        self._log = TriageLog(workspace, options.log_bytes, self.figures) if options.log_predictions else None
        self._decoders = ThreadPoolExecutor(read_settings().processes, thread_name_prefix="decode")
        self._tasks: list[asyncio.Task[None]] = []
        self._said = ""
        self._pin(first)
        self._show()

    async def start(self) -> None:
        """Start the workers, and whatever goes on beside the requests.

        Raises:
            TailsightError: the workers cannot load the model.
        """
        await self.workers.start()
        self._tasks = [asyncio.create_task(self._follow_the_alias())]
        if self._log is not None:
            self._tasks.append(asyncio.create_task(self._log.run()))

    async def stop(self) -> None:
        """End what was started; what was to be kept is kept."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._log is not None:
            await self._log.flush()
        await self.workers.stop()
        await asyncio.to_thread(self._watch.close)
        self._decoders.shutdown(cancel_futures=True)

    async def outcomes(self, uploads: Sequence[Upload]) -> tuple[str, list[Outcome]]:
        """What the pinned model says of each image, in order, and its version. One bad image fails no other.

        Raises:
            RequestProblem: too many images wait already.
            Busy: the workers cannot be reached.
        """
        pinned = self.pinned
        with self.admission.waiting(len(uploads)):
            prepared = await asyncio.gather(*(self._prepared(upload, pinned) for upload in uploads))
            readable = [one.pixels for one in prepared if isinstance(one, _Prepared)]
            computed = iter(await self.workers.compute(pinned.model, readable))
        found: list[Outcome] = []
        for upload, one in zip(uploads, prepared, strict=True):
            if isinstance(one, _Prepared):
                found.append(self._told(upload, one, next(computed), pinned))
            else:
                self.figures.images.labels("unreadable").inc()
                found.append(one)
        return pinned.model.version, found

    def describe(self) -> ModelDescription:
        """The model that answers now; nothing of where it lies or how it was configured."""
        pinned, size = self.pinned, self.pinned.card.preprocessing
        rule = Decider.from_card(pinned.card).rule
        return ModelDescription(
            model_version=pinned.model.version,
            runtime=pinned.model.runtime,
            classes=list(pinned.model.today.shown),
            taxonomy_version=pinned.model.taxonomy_version,
            dataset_version=pinned.card.dataset_version,
            backbone=pinned.card.architecture.backbone,
            preset=pinned.card.preset,
            created_at=pinned.card.created_at,
            serving_since=pinned.since,
            input=InputSize(
                height=size.height, width=size.width, channels=size.channels, max_megapixels=size.max_megapixels
            ),
            error_limit=rule.limit,
            expected_error=rule.expected_error,
            expected_error_ci=rule.expected_error_ci,
            remarks=pinned.model.today.sentences(pinned.model.version),
        )

    def readiness(self) -> Readiness:
        """Whether an image would be answered now: at least one worker holds the model."""
        standing = self.workers.standing
        return Readiness(
            ready=standing.sound and standing.ready > 0,
            model_version=self.pinned.model.version,
            workers=standing.workers,
            workers_ready=standing.ready,
            restarts=standing.restarts,
        )

    async def _prepared(self, upload: Upload, pinned: Pinned) -> _Prepared | TailsightError | RequestProblem:
        try:
            check_size(upload, self.options.limits)
            loop = asyncio.get_running_loop()
            spec = pinned.card.preprocessing
            return _Prepared(*await loop.run_in_executor(self._decoders, prepare_bytes, upload.data, spec))
        except (TailsightError, RequestProblem) as error:
            return error

    def _told(self, upload: Upload, one: _Prepared, computed: Computed, pinned: Pinned) -> Prediction:
        decided, model = computed.decided, pinned.model
        self.figures.images.labels(decided.decision).inc()
        self.figures.batches.observe(computed.batch)
        if self._log is not None and (self.options.log_automatic or decided.decision == Decision.REVIEW.value):
            self._log.offer(Kept(model, pinned.card, one.image_id, upload.data, computed.own))
        return Prediction.of(one.image_id, decided, model.today.shown, model.version)

    def _pin(self, model: ServedModel) -> None:
        self.pinned = Pinned.of(model)
        self.figures.serving(model.version, model.runtime)

    def _take_over(self, model: ServedModel) -> None:
        self._pin(model)
        self.figures.swaps.inc()

    async def _follow_the_alias(self) -> None:
        """Notice that the alias or the class names have moved, and have the workers follow."""
        while True:
            await asyncio.sleep(self.options.watch_seconds)
            try:
                standing = await asyncio.to_thread(self._watch.standing)
                model = self.pinned.model
                if standing != (model.version, model.taxonomy_version):
                    name, runtime = self.options.model, self.options.runtime
                    model = await asyncio.to_thread(find_model, self._workspace, name, runtime)
                    for sentence in model.remarks:
                        _LOG.warning("%s", sentence)
                self.workers.want(model)
                self._said = ""
            except Exception as error:  # a ledger that does not answer now must not end the server
                self.figures.watch_failures.inc()
                self._say_once(f"{type(error).__name__}: {error}")

    def _say_once(self, what: str) -> None:
        if what != self._said:
            self._said = what
            _LOG.warning("The alias could not be looked at; version %s stays. %s", self.pinned.model.version, what)

    def _show(self) -> None:
        watch, workers = self.figures.watch, self.workers
        watch("tailsight_waiting_images", "Images under way.", lambda: self.admission.images_waiting)
        watch("tailsight_held_bytes", "Bytes of bodies under way.", lambda: self.admission.bytes_held)
        watch("tailsight_workers_ready", "Workers that hold the model.", lambda: workers.standing.ready)
        watch("tailsight_worker_restarts", "Workers that took the place of one that ended.",
              lambda: workers.standing.restarts)  # fmt: skip
