"""What is kept beside a version's package (reports, exported graphs), known by its content hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.errors import IntegrityError, NotFound
from domain_models.tracking import artifacts as files
from domain_models.tracking.entries import ATTACHED, MODEL_NAME

if TYPE_CHECKING:
    from mlflow import MlflowClient


def attach(client: MlflowClient, version: str, package: Path, item: Path) -> None:
    """Copy a file or folder beside the package, and keep its hash with the version; one of that name is replaced.

    Raises:
        NotFound: there is no such file.
    """
    if not item.exists() or item.name == package.name:
        raise NotFound(f"There is nothing to attach at {item}.")
    digest = files.copy_whole(item, package.parent / item.name)
    client.set_model_version_tag(MODEL_NAME, version, f"{ATTACHED}{item.name}", digest)


def attached(version: str, tags: Mapping[str, str], package: Path, prefix: str) -> dict[str, Path]:
    """What was attached under names that begin so, each with its path.

    Raises:
        NotFound: files are gone.
        IntegrityError: files changed since they were attached.
    """
    found: dict[str, Path] = {}
    for tag, digest in sorted(tags.items()):
        name = tag.removeprefix(ATTACHED)
        if not tag.startswith(ATTACHED) or not name.startswith(prefix):
            continue
        path = package.parent / name
        if not path.exists():
            raise NotFound(f"{name} of model version {version} is gone ({path}).", remedy="Export it again.")
        if files.digest(path) != digest:
            raise IntegrityError(
                f"{name} of model version {version} changed since it was attached ({path}).",
                remedy="Restore a backup, or export it again.",
            )
        found[name] = path
    return found
