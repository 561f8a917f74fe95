"""Dagster's definitions load, are complete, and tick."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from data_contracts.errors import NotFound
from data_contracts.workspace import Workspace
from pipelines.definitions import config as configurations
from pipelines.definitions.build import build_definitions
from pipelines.definitions.instance import open_instance
from pipelines.definitions.names import JOB_NODES, AssetName, Job


def test_definitions_load_as_the_dagster_command_loads_them(workspace: Workspace) -> None:
    code = "import pipelines.definitions.definitions as module; module.defs.get_repository_def()"
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:pipelines", "-c", code],
        env={"TAILSIGHT_WORKSPACE": str(workspace.folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_every_job_resolves_and_holds_its_nodes(workspace: Workspace) -> None:
    definitions = build_definitions(workspace)
    for job in Job:
        nodes = set(definitions.resolve_job_def(job.value).graph.node_dict)
        assert set(JOB_NODES[job]) <= nodes


def test_a_run_is_one_process_so_that_no_step_outlives_it(workspace: Workspace) -> None:
    definitions = build_definitions(workspace)
    assert {definitions.resolve_job_def(job.value).executor_def.name for job in Job} == {"in_process"}


def test_every_asset_is_defined_once_and_knows_what_it_comes_from(workspace: Workspace) -> None:
    graph = build_definitions(workspace).resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert keys == {name.value for name in AssetName}
    parents = {name: {k.to_user_string() for k in graph.get(dg.AssetKey(name)).parent_keys} for name in AssetName}
    assert parents[AssetName.IMAGES] == set()
    assert parents[AssetName.BATCH_SCORES] == {AssetName.CHAMPION.value}


def test_scores_are_partitioned_by_batch(workspace: Workspace) -> None:
    graph = build_definitions(workspace).resolve_asset_graph()
    partitions = graph.get(dg.AssetKey(AssetName.BATCH_SCORES)).partitions_def
    assert isinstance(partitions, dg.DynamicPartitionsDefinition)
    assert partitions.name == "batch"


def test_the_monthly_schedule_runs_from_the_start_and_requests_a_full_retraining(workspace: Workspace) -> None:
    text = workspace.profile_path.read_text(encoding="utf-8")
    assert "time_zone: UTC" in text
    workspace.profile_path.write_text(text.replace("time_zone: UTC", "time_zone: Europe/Berlin"), encoding="utf-8")
    repository = build_definitions(workspace).get_repository_def()
    schedule = repository.get_schedule_def("monthly_full_retraining")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.execution_timezone == "Europe/Berlin"
    berlin = ZoneInfo("Europe/Berlin")
    with open_instance(workspace) as instance:
        context = dg.build_schedule_context(
            instance=instance,
            repository_def=repository,
            scheduled_execution_time=datetime(2026, 12, 1, 2, 0, tzinfo=berlin),
        )
        tick = schedule.evaluate_tick(context)
    assert [request.job_name or schedule.job_name for request in tick.run_requests or []] == ["full_retraining"]


def test_definitions_of_a_folder_that_is_no_workspace_say_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not a Tailsight workspace"):
        build_definitions(Workspace(tmp_path))


def test_a_run_configuration_is_a_request_without_translation() -> None:
    from pipelines.steps.compress import CompressRequest
    from pipelines.steps.curate import CurateRequest
    from pipelines.steps.evaluate import EvaluateRequest
    from pipelines.steps.ingest import IngestRequest
    from pipelines.steps.pretrain import PretrainRequest
    from pipelines.steps.promote import PromoteRequest
    from pipelines.steps.report import ReportRequest
    from pipelines.steps.score import ScoreRequest
    from pipelines.steps.train import TrainRequest

    pairs = [
        (configurations.IngestConfig, IngestRequest),
        (configurations.CurateConfig, CurateRequest),
        (configurations.PretrainConfig, PretrainRequest),
        (configurations.TrainConfig, TrainRequest),
        (configurations.EvaluateConfig, EvaluateRequest),
        (configurations.PromoteConfig, PromoteRequest),
        (configurations.ScoreConfig, ScoreRequest),
        (configurations.CompressConfig, CompressRequest),
        (configurations.ReportConfig, ReportRequest),
    ]
    for configuration, request in pairs:
        assert set(configuration.model_fields) == set(request.model_fields), configuration.__name__
