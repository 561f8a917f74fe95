"""What models there are."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace
from pipelines.steps.registry import open_registry


class ModelEntry(BaseModel):
    """One registered version; metrics are those of the validation images at registration."""

    model_config = ConfigDict(frozen=True)

    version: str
    aliases: list[str]
    created_at: datetime
    preset: str | None
    dataset_version: str | None
    macro_f1: float | None
    accuracy: float | None
    ece: float | None
    run_key: str
    cascade: str | None = None


class ModelsReport(BaseModel):
    """All versions, the newest first."""

    model_config = ConfigDict(frozen=True)

    champion: str | None
    candidate: str | None
    versions: list[ModelEntry]


def list_models(workspace: Workspace) -> ModelsReport:
    """List versions, aliases and their main figures."""
    if not workspace.mlflow.exists():
        return ModelsReport(champion=None, candidate=None, versions=[])
    with open_registry(workspace) as registry:
        infos = registry.versions()
    holder = {alias: info.version for info in infos for alias in info.aliases}
    return ModelsReport(
        champion=holder.get(Alias.CHAMPION),
        candidate=holder.get(Alias.CANDIDATE),
        versions=[
            ModelEntry(
                version=info.version,
                aliases=list(info.aliases),
                created_at=info.created_at,
                preset=info.tags.get("preset"),
                dataset_version=info.tags.get("dataset_version"),
                macro_f1=info.metrics.get("val.macro_f1"),
                accuracy=info.metrics.get("val.accuracy"),
                ece=info.metrics.get("val.ece"),
                run_key=info.run_key,
                cascade=info.tags.get("cascade"),
            )
            for info in infos
        ],
    )
