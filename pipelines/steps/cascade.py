"""``cascade``: two registered models as one version, of which the small one answers what it is sure of.

The large model's package stays as it is, the small one's lies inside it; threshold, triage rule and conformal sets are
set on the validation images of the large model's dataset version, on what the cascade says of them.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.progress import SILENT, Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from domain_models.cascade import Cascade
from domain_models.compute import Compute, Threads
from domain_models.model_card import ModelCard, read_card
from domain_models.runtimes import Computable, open_computable, packaged, resolve_runtime
from domain_models.throughput import measured
from pipelines.steps.candidate import CandidateReport, name_candidate, register_candidate, registered_version
from pipelines.steps.cascade_members import find_members
from pipelines.steps.cascade_package import cascade_card, cascade_key, matched, write_package
from pipelines.steps.registry import open_registry

_TIMED = 64


class CascadeRequest(BaseModel):
    """Which small model answers first, before which large one (``None``: the champion, else the candidate).

    ``max_loss`` is in points: hundredths of macro-F1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str
    model: str | None = None
    max_loss: float = Field(default=1.0, ge=0, le=100)


class CascadeReport(BaseModel):
    """The cascade, what validation showed, and images per second of computing alone on this machine."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    reused: bool
    cascade: Cascade
    runtime: str
    images_per_second: float
    images_per_second_large: float
    candidate: CandidateReport
    seconds: float


def cascade(workspace: Workspace, request: CascadeRequest, progress: Progress = SILENT) -> CascadeReport:
    """Make a cascade of two versions and register it as the candidate; the same models and loss: once.

    Killed at any moment, the same call goes on.

    Raises:
        NotFound: there is no such model, or the dataset version that the large one learned from.
        BadInput: the two cannot be one cascade; the sentence says how to train a small model that can.
        Refused: no threshold keeps the loss; nothing is registered.
        Busy: the same cascade is being made in another process.
    """
    began = time.monotonic()
    large, first = find_members(workspace, request.model, request.first)
    pair = matched(workspace, large, first, progress)
    key = cascade_key(workspace, large, first, request.max_loss)
    runtime = resolve_runtime("auto", large.package)
    with workspace.lock(f"cascade-{key}"):
        known = registered_version(workspace, key)
        version = known
        if version is None:
            card = cascade_card(workspace, pair, request.max_loss / 100, runtime, progress)
            package = write_package(workspace.runs / key / "package", large, first, card)
            version = register_candidate(workspace, package, key, progress)
        candidate = name_candidate(workspace, version, key, reused=known is not None, seconds=time.monotonic() - began)
    with open_registry(workspace) as registry:
        package = registry.package(version)
    card = read_card(package)
    assert card.cascade is not None
    with progress.step("Measuring how fast both are"):
        pixels = pair.val.images[np.linspace(0, len(pair.val) - 1, min(_TIMED, len(pair.val))).astype(np.int64)]
        rates = [
            _rate(packaged(runtime, folder), own, pixels)
            for folder, own in ((package, card), (large.package, large.card))
        ]
    return CascadeReport(
        model_version=version,
        reused=known is not None,
        cascade=card.cascade,
        runtime=runtime.value,
        images_per_second=rates[0],
        images_per_second_large=rates[1],
        candidate=candidate,
        seconds=time.monotonic() - began,
    )


def _rate(item: Computable, card: ModelCard, pixels: NDArray[np.uint8]) -> float:
    """Images per second of computing alone, at the best batch size."""

    def opened(threads: Threads) -> Compute:
        return open_computable(item, card, threads)

    return measured(opened, pixels, read_settings().processes, batches=(8, 32)).images_per_second or 0.0
