"""What runs on the machines of a Ray cluster: an actor that holds the model and scores one part after another."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from data_contracts.errors import BadInput, Refused
from domain_models.compute import Threads
from domain_models.processor import instructions_in_words, processor_name
from pipelines.steps.score_files import BatchFile, computed_batches
from pipelines.steps.score_recipe import ModelRecipe

PART, FILES, ROWS, PLACE = "part", "files", "rows", "place"
"""Columns of what goes to the actors and comes back: one row per part, files and rows pickled."""


class PartScorer:
    """Scores whole parts; made once per actor, so that the model is loaded once.

    Args:
        recipe: of the model.
        batch_size: images computed at once.
        threads: that decode and compute.
        samples: files that must be in reach, or nothing of the batch is.
    """

    def __init__(self, recipe: ModelRecipe, batch_size: int, threads: int, samples: Sequence[BatchFile]) -> None:
        require_in_reach(recipe, samples)
        self._model = recipe.open(Threads(threads, threads))
        self._batch_size = batch_size
        self._threads = threads
        self._place = f"{socket.gethostname()}:{os.getpid()}"

    def __call__(self, order: dict[str, Any]) -> dict[str, Any]:
        """From columns ``part`` and ``files`` to ``part``, ``rows`` and ``place``, where it was computed."""
        rows = [pickle.dumps(self._score(pickle.loads(files))) for files in order[FILES]]  # noqa: S301 - our own
        return {PART: order[PART], ROWS: rows, PLACE: np.array([self._place] * len(rows))}

    def _score(self, files: Sequence[BatchFile]) -> list[dict[str, Any]]:
        model = self._model
        batches = (files[start : start + self._batch_size] for start in range(0, len(files), self._batch_size))
        spec, compute = model.card.preprocessing, model.compute
        with closing(computed_batches(batches, spec, compute, threads=self._threads)) as computed:
            return model.rows(list(computed))


def require_in_reach(recipe: ModelRecipe, samples: Sequence[BatchFile]) -> None:
    """See that this machine can read the model and files of the batch, and computes as the others do.

    Raises:
        BadInput: it cannot; the sentence names the machine and the path.
        Refused: an artefact would compute other numbers here than where it was chosen.
    """
    if not recipe.computes_alike():
        raise Refused(
            f"The machine {socket.gethostname()} of the Ray cluster computes {recipe.computable.name} with other"
            f" arithmetic ({instructions_in_words(processor_name())}) than the one that was held to the parity gate.",
            remedy="Score with --precision fp32, or on machines with the same kind of processor.",
        )
    missing = [] if recipe.is_in_reach() else [f"the model in {recipe.package}"]
    missing += [f"the file {sample.path}" for sample in samples[:1] if not any(s.path.is_file() for s in samples)]
    if missing:
        raise BadInput(
            f"The machine {socket.gethostname()} of the Ray cluster cannot see {' and '.join(missing)}.",
            cause="Its folders are not shared under the same path.",
            remedy="Mount the workspace and the images at the same path on every machine, or keep the images on "
            "S3-compatible storage and name them as s3://bucket/prefix.",
        )
