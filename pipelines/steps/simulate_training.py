"""Replays with real trainings: the images of a workspace, prepared once, for a learner that trains on them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data_contracts.ledger.images import images_frame
from data_contracts.progress import SILENT, Progress
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from domain_models.device import compute_device
from domain_models.presets import DataFacts, Preset, choose, data_facts
from domain_models.retraining_learner import ReplayImages, RetrainingLearner
from domain_models.training_config import with_overrides
from domain_models.training_data import LabelledImages
from pipelines.steps.ledger import open_ledger
from pipelines.steps.prepared_images import prepared_images
from pipelines.steps.simulate_scenes import Scene

PRESET = Preset.STANDARD
"""Of full trainings: quicker presets leave the backbone as it is, so that nothing adapts."""


class TrainingReplays:
    """Gives each replay a learner of its own.

    Args:
        workspace: where the images are.
        manifest: of the dataset version.
        image_ids: those that are replayed, in the order of the scenes' rows.
        overrides: single settings of full trainings that differ from the preset.
        progress: told of images and rounds.

    Raises:
        BadInput: there is no such setting.
    """

    def __init__(
        self,
        workspace: Workspace,
        manifest: pd.DataFrame,
        image_ids: tuple[str, ...],
        overrides: tuple[str, ...] = (),
        progress: Progress = SILENT,
    ) -> None:
        with open_ledger(workspace) as ledger:
            images = images_frame(ledger)
        self._facts: DataFacts = data_facts(
            manifest, images, workspace.profile, device=compute_device(), processes=read_settings().processes
        )
        rows = manifest.set_index("image_id", drop=False).loc[list(image_ids)]
        spec = with_overrides(choose(PRESET, self._facts)[0], overrides).preprocessing
        self._images = LabelledImages.of_manifest(rows, prepared_images(workspace, rows, spec, progress))
        self._overrides, self._progress = overrides, progress

    def learner(self, scene: Scene, folder: Path, seed: int) -> RetrainingLearner:
        """For the replay of one scene; its checkpoints are in ``folder``."""
        train, val, test = (self._images.subset(rows) for rows in scene.rows)
        images = ReplayImages(train, val, test, self._facts)
        return RetrainingLearner(images, scene.judges, PRESET, folder, seed, self._overrides, self._progress)
