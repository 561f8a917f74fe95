"""``up``: everything that runs all day, as one command."""

from __future__ import annotations

import signal
import time
from typing import Annotated, Any

import typer

from data_contracts.errors import BadInput, TailsightError
from data_contracts.progress import Progress
from data_contracts.workspace import Workspace
from pipelines.command_line.context import JsonFlag, progress_on_stderr, workspace_in_use
from pipelines.command_line.output import emit
from pipelines.command_line.summaries_workspace import summarise_prepared, summarise_up
from pipelines.one_service import Part, become, prepare
from pipelines.services import HOST, Ports, Service, running, services_of


def up(
    app_port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Of the review app.")] = 8501,
    dagster_port: Annotated[int, typer.Option(min=1, max=65535, help="Of Dagster's page.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Of MLflow's page.")] = 5000,
    only: Annotated[
        Part | None, typer.Option(help="One service, as this process: for containers and service managers.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="With --only: where it listens; 0.0.0.0 lets other machines in, without sign-in.")
    ] = HOST,
    prepare_only: Annotated[
        bool, typer.Option("--prepare", help="Bring the databases to the present schema, and end.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """Serve Dagster (with its daemon), MLflow and the review app until Ctrl-C; sensors and schedules are on."""
    from pipelines.definitions.instance import open_instance, reconcile_launched_runs
    from pipelines.steps.deliveries import receivers_of

    workspace = workspace_in_use().require()
    ports = Ports(dagster=dagster_port, mlflow=mlflow_port, app=app_port)
    if prepare_only:
        prepare(workspace)
        emit({"workspace": str(workspace.folder), "prepared": True}, summarise_prepared, as_json=json_output)
        return
    if only is not None:
        become(workspace, only, ports, host)
    if host != HOST:
        raise BadInput("--host is for one service.", remedy="Name it with --only, or leave --host out.")
    progress = progress_on_stderr()
    with workspace.lock("up"):
        ports.require_free()
        receivers_of(workspace)  # an address that cannot work is told now, not in a log
        with open_instance(workspace) as instance:
            orphans = reconcile_launched_runs(instance)
        services = services_of(workspace, ports)
        # A service manager stops us with SIGTERM; what we started must end then too.
        signal.signal(signal.SIGTERM, _as_interrupt)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
        try:
            _serve(workspace, services, orphans, progress, as_json=json_output)
        except KeyboardInterrupt:
            progress.say("Stopped: everything that was started here has ended.")


def _serve(
    workspace: Workspace, services: list[Service], orphans: list[str], progress: Progress, *, as_json: bool
) -> None:
    with running(workspace, services, progress) as ended:
        report: dict[str, Any] = {
            "workspace": str(workspace.folder),
            "addresses": {service.name: service.address for service in services if service.address},
            "runs_put_right": orphans,
            "receivers": [sink.name for sink in workspace.profile.sinks],
        }
        emit(report, summarise_up, as_json=as_json)
        while (name := ended()) is None:
            time.sleep(0.5)
        raise TailsightError(
            f"{name} ended by itself, so everything was stopped.",
            remedy=f"See its log in {workspace.folder / 'logs'}, then run `tailsight up` again.",
        )


def _as_interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
