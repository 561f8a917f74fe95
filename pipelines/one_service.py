"""``tailsight up --only``: one service of ``up``, as this very process. For containers and service managers.

Whoever starts it watches it, restarts it and keeps its log; so nothing stays between the two.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import NoReturn

from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.services import Ports, environment_of, services_of


class Part(StrEnum):
    """What can run by itself."""

    DAGSTER = "dagster"
    DAEMON = "daemon"
    MLFLOW = "mlflow"
    APP = "app"


_NAMES = {
    Part.DAGSTER: "Dagster",
    Part.DAEMON: "Dagster's daemon",
    Part.MLFLOW: "MLflow",
    Part.APP: "Review app",
}


def prepare(workspace: Workspace) -> None:
    """Bring every database of the workspace to the present schema; done again, it changes nothing.

    Once, before the services start: each would otherwise find the others at the same work.

    Raises:
        TailsightError: a database cannot be reached, or is not ours.
    """
    from domain_models.tracking import Registry
    from pipelines.definitions.instance import open_instance
    from pipelines.steps.ledger import open_ledger

    open_ledger(workspace).close()
    Registry.open(workspace.mlflow, read_settings().registry_url).close()
    with open_instance(workspace, put_right=False):
        pass


def become(workspace: Workspace, part: Part, ports: Ports, host: str) -> NoReturn:
    """Turn this process into one service; its log goes where ours goes, and a signal to us is one to it.

    Args:
        workspace: whose.
        part: which service.
        ports: where the pages are served.
        host: the address to listen at; ``0.0.0.0`` inside a container, whose engine decides who gets in.
    """
    from pipelines.definitions.instance import open_instance, reconcile_launched_runs

    if part is Part.DAEMON:  # there is one daemon, and it begins: no run of an earlier one can be under way
        with open_instance(workspace) as instance:
            reconcile_launched_runs(instance)
    service = next(each for each in services_of(workspace, ports, host) if each.name == _NAMES[part])
    os.execve(service.command[0], service.command, environment_of(workspace))  # noqa: S606  # without a shell
