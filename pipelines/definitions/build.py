"""All of Dagster's definitions for one workspace."""

from __future__ import annotations

import dagster as dg

from data_contracts.progress import SILENT, Progress
from data_contracts.workspace import Workspace
from pipelines.definitions import assets_data, assets_model, assets_review, assets_scoring, checks
from pipelines.definitions.jobs import ASSET_JOBS, OP_JOBS
from pipelines.definitions.resources import Site
from pipelines.definitions.schedules import monthly_retraining
from pipelines.definitions.sensors import SENSORS


def build_definitions(workspace: Workspace, progress: Progress = SILENT) -> dg.Definitions:
    """Assets, checks, jobs, the schedule and the sensors, bound to ``workspace``.

    Raises:
        NotFound: the folder is not a workspace.
        ProfileError: its profile is not valid.
    """
    profile = workspace.require().profile
    return dg.Definitions(
        assets=[
            assets_data.images,
            assets_data.dataset,
            assets_model.candidate,
            assets_model.evaluation,
            assets_model.champion,
            assets_model.html_report,
            assets_scoring.batch_scores,
            assets_review.review_round,
        ],
        asset_checks=[
            checks.ledger_chain_verifies,
            checks.nothing_leaks_between_splits,
            checks.classes_have_enough_images,
            checks.confidence_is_calibrated,
            checks.champion_went_through_the_gate,
        ],
        jobs=[*ASSET_JOBS, *OP_JOBS],
        schedules=[monthly_retraining(profile)],
        sensors=SENSORS,
        resources={"site": Site(workspace, progress)},
        # A run is one process: killed, no step of it goes on alone beside the run that is started in its place.
        executor=dg.in_process_executor,
    )
