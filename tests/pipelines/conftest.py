"""A small real workspace, made once by the steps and copied for tests that change it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from data_contracts.workspace import Workspace
from pipelines.steps.curate import CurateRequest, curate
from pipelines.steps.ingest import IngestRequest, ingest
from pipelines.steps.initialise import initialise
from pipelines.steps.promote import PromoteRequest, promote
from pipelines.steps.train import TrainRequest, train
from tests.pipelines.commands import TINY_SETTINGS, make_images

LARGE_MODEL = ("preprocessing.height=64", "preprocessing.width=64", "probe_views=1", "cross_fit_folds=0")
SMALL_MODEL = ("preprocessing.height=32", "preprocessing.width=32", "probe_views=1", "cross_fit_folds=0")
REDUCED_MODEL = (*SMALL_MODEL, "preprocessing.reduced_from=[64,64]")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first worker who wants it makes and all read; ``make`` is told where."""
    place = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # of this run, and the same for all its workers
    folder = place / name
    with FileLock(place / f"{name}.lock"):
        if not (place / f"{name}.made").exists():
            folder.mkdir()
            make(folder)
            (place / f"{name}.made").touch()
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of textures in class folders; read only."""
    return made_once(tmp_path_factory, "textures", lambda folder: make_images(folder / "images")) / "images"


@pytest.fixture(scope="session")
def new_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A production batch without labels, one file of it damaged; read only."""

    def make(folder: Path) -> None:
        batch = make_images(folder / "batch", per_class=20, seed=99)
        (batch / "plain" / "torn.png").write_bytes((batch / "plain" / "plain-000.png").read_bytes()[:200])

    return made_once(tmp_path_factory, "production", make) / "batch"


@pytest.fixture(scope="session")
def curated_workspace(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> Path:
    """A curated data set, made by the steps themselves. Read only."""

    def make(folder: Path) -> None:
        workspace = Workspace(folder / "workspace")
        initialise(workspace, "generic")
        ingest(workspace, IngestRequest(images=image_folder, who="tester"))
        curate(workspace, CurateRequest())

    return made_once(tmp_path_factory, "curated", make) / "workspace"


def with_champion(factory: pytest.TempPathFactory, name: str, curated: Path, settings: tuple[str, ...]) -> Path:
    """A copy of a curated workspace with a small model trained by these settings and promoted; read only."""

    def make(folder: Path) -> None:
        workspace = Workspace(Path(shutil.copytree(curated, folder / "workspace")))
        train(workspace, TrainRequest(preset="quick", overrides=settings))
        promote(workspace, PromoteRequest(who="tester", why="first model"))

    return made_once(factory, name, make) / "workspace"


@pytest.fixture(scope="session")
def promoted_workspace(tmp_path_factory: pytest.TempPathFactory, curated_workspace: Path) -> Path:
    """A small model trained and promoted; read only."""

    return with_champion(tmp_path_factory, "promoted", curated_workspace, TINY_SETTINGS)


@pytest.fixture(scope="session")
def larger_workspace(tmp_path_factory: pytest.TempPathFactory, curated_workspace: Path) -> Path:
    """A champion on 64 px, which 8-bit arithmetic can still follow; read only."""
    size = ("preprocessing.height=64", "preprocessing.width=64", "probe_views=1", "cross_fit_folds=0")
    return with_champion(tmp_path_factory, "larger", curated_workspace, size)


@pytest.fixture(scope="session")
def challenged_workspace(tmp_path_factory: pytest.TempPathFactory, promoted_workspace: Path) -> Path:
    """Champion 1 and a candidate 2; read only."""

    def make(folder: Path) -> None:
        workspace = Workspace(Path(shutil.copytree(promoted_workspace, folder / "workspace")))
        train(workspace, TrainRequest(preset="quick", overrides=TINY_SETTINGS, seed=1))

    return made_once(tmp_path_factory, "challenged", make) / "workspace"


@pytest.fixture
def challenged(challenged_workspace: Path, tmp_path: Path) -> Path:
    """A copy of the workspace with a candidate beside its champion, that a test may change."""
    return Path(shutil.copytree(challenged_workspace, tmp_path / "workspace"))


@pytest.fixture
def curated(curated_workspace: Path, tmp_path: Path) -> Path:
    """A copy of the curated workspace that a test may change."""
    return Path(shutil.copytree(curated_workspace, tmp_path / "workspace"))


@pytest.fixture
def promoted(promoted_workspace: Path, tmp_path: Path) -> Path:
    """A copy of the promoted workspace that a test may change."""
    return Path(shutil.copytree(promoted_workspace, tmp_path / "workspace"))


@pytest.fixture(scope="session")
def two_workspace(tmp_path_factory: pytest.TempPathFactory, curated_workspace: Path) -> Path:
    """Champion 1 on 64 px and model 2 on 32 px made of them; read only."""
    large = with_champion(tmp_path_factory, "large", curated_workspace, LARGE_MODEL)

    def make(folder: Path) -> None:
        workspace = Workspace(Path(shutil.copytree(large, folder / "workspace")))
        train(workspace, TrainRequest(preset="quick", overrides=REDUCED_MODEL))

    return made_once(tmp_path_factory, "two", make) / "workspace"


@pytest.fixture
def two(two_workspace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_workspace, tmp_path / "line"))
