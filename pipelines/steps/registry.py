"""The model registry as the steps use it: opened with its aliases in agreement with the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from data_contracts.errors import NotFound
from data_contracts.ledger.promotions import promotions
from data_contracts.records import PromotionEvent
from data_contracts.settings import read_settings
from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace
from pipelines.steps.ledger import open_ledger

if TYPE_CHECKING:
    from domain_models.tracking import Registry

ROLLBACK = "rollback"
"""Value of ``action`` in the gate report of a promotion event that restores the previous champion."""


def champions(events: Sequence[PromotionEvent]) -> list[str]:
    """The stack of champions, the present one last: a promotion pushes, a rollback pops."""
    stack: list[str] = []
    for event in events:
        if event.to_alias is not Alias.CHAMPION:
            continue
        if event.gate_report.get("action") == ROLLBACK:
            if stack:
                stack.pop()
        else:
            stack.append(event.model_version)
    return stack


@contextmanager
def open_registry(workspace: Workspace) -> Iterator[Registry]:
    """The workspace's registry. The ledger is the truth about promotions: an alias that a kill left behind is moved."""
    from domain_models.tracking import Registry

    with open_ledger(workspace) as ledger:
        stack = champions(promotions(ledger))
    with Registry.open(workspace.mlflow, read_settings().registry_url) as registry:
        champion = stack[-1] if stack else None
        if registry.alias(Alias.CHAMPION) != champion:
            if champion is None:
                registry.remove_alias(Alias.CHAMPION)
            else:
                registry.set_alias(Alias.CHAMPION, champion)
        yield registry


def resolve_model(registry: Registry, name: str | None) -> str:
    """The version that a person means; ``None`` means the champion, else the candidate.

    Raises:
        NotFound: it names nothing.
    """
    if name is not None:
        return registry.resolve(name)
    for alias in (Alias.CHAMPION, Alias.CANDIDATE):
        version = registry.alias(alias)
        if version is not None:
            return version
    raise NotFound("There is no model yet.", remedy="Run `tailsight train` first.")
