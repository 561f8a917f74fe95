"""``compress``: real students and pruned networks, measured, chosen under a target, registered once."""

from __future__ import annotations

import io
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from data_contracts.errors import BadInput, NotFound
from data_contracts.vocabulary import Alias
from data_contracts.workspace import Workspace
from domain_models.model_package import load_package, read_card
from domain_models.preprocessing import Preprocessing
from pipelines.command_line.summaries_compress import summarise_compress
from pipelines.steps import compress_candidates
from pipelines.steps.compress import CompressReport, CompressRequest, NothingSmallEnough, compress
from pipelines.steps.compress_candidates import sizes
from pipelines.steps.promote import PromoteRequest, promote
from pipelines.steps.registry import open_registry
from pipelines.steps.score_model import scoring_model
from tests.pipelines.commands import tailsight
from tests.pipelines.conftest import with_champion

SETTINGS = (
    *("backbone=test_resnet", "weights=none", "epochs=6", "probe=false", "cross_fit_folds=0", "batch_size=8"),
    *("preprocessing.height=64", "preprocessing.width=64", "learning_rate=0.002", "dropout=0"),
)
ASKED = {"students": ("test_resnet=none",), "epochs": 1, "overrides": ("batch_size=16",), "max_loss": 100.0}


@pytest.fixture(scope="session")
def champion_workspace(tmp_path_factory: pytest.TempPathFactory, curated_workspace: Path) -> Path:
    """A small champion on 64 px; read only."""
    return with_champion(tmp_path_factory, "compressed", curated_workspace, SETTINGS)


@pytest.fixture
def line(champion_workspace: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(champion_workspace, tmp_path / "line")))


def asked(**more: object) -> CompressRequest:
    return CompressRequest.model_validate(ASKED | more)


def versions(workspace: Workspace) -> list[str]:
    with open_registry(workspace) as registry:
        return [info.version for info in registry.versions()]


def test_it(line: Workspace) -> None:
    t = time.time()
    report = compress(line, asked(target_mb=0.3))
    print(time.time() - t)
    summarise_compress(report.model_dump(mode="json"), Console(width=140))
