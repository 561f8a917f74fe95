"""The preset ``auto`` in a workspace: where its study lies, and the images as each configuration wants them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from data_contracts.progress import Progress
from data_contracts.records import DatasetVersion
from data_contracts.workspace import Workspace
from domain_models.preprocessing import Preprocessing
from domain_models.preset_search import SearchOutcome, search
from domain_models.training_config import TrainingConfig
from domain_models.training_data import TrainingData
from pipelines.steps.learning_data import learning_data

_VARIED_IN = {"preprocessing": "size"}
"""The setting of the search that a section of the configuration belongs to, where its name is another."""


def searched(
    workspace: Workspace,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    start: TrainingConfig,
    key: str,
    minutes: float,
    overrides: Sequence[str],
    progress: Progress,
) -> SearchOutcome:
    """Search for settings, or go on with a search that was killed or had less time.

    Args:
        workspace: whose runs folder keeps the study.
        dataset: what is learned.
        manifest: of it.
        start: the standard preset's configuration for these images.
        key: of a training with ``start``; names the study.
        minutes: for all trials together.
        overrides: ``key=value`` settings given by hand; they are in ``start`` already, and are not varied.
        progress: told of each trial.
    """
    prepared: dict[Preprocessing, TrainingData] = {}

    def data_for(config: TrainingConfig) -> TrainingData:
        spec = config.preprocessing
        if spec not in prepared:
            prepared.clear()  # one set of prepared images at a time
            prepared[spec] = learning_data(workspace, dataset, manifest, config, progress)
        return prepared[spec]

    sections = {override.partition("=")[0].strip().partition(".")[0] for override in overrides}
    fixed = frozenset(_VARIED_IN.get(section, section) for section in sections)
    fixed |= {"backbone"} if "weights" in sections else set()  # a file of weights fits one backbone
    folder = workspace.runs / f"search-{key}"
    return search(start, data_for, folder, seconds=60 * minutes, fixed=fixed, progress=progress)
