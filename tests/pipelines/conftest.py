"""A small real workspace, made once through the command line and copied for tests that change it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pipelines.commands import TINY, done, make_images


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of textures in class folders; read only."""
    return make_images(tmp_path_factory.mktemp("textures") / "images")


@pytest.fixture(scope="session")
def new_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A production batch without labels, one file of it damaged; read only."""
    folder = make_images(tmp_path_factory.mktemp("production") / "batch", per_class=20, seed=99)
    (folder / "plain" / "torn.png").write_bytes((folder / "plain" / "plain-000.png").read_bytes()[:200])
    return folder


@pytest.fixture(scope="session")
def curated_workspace(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> Path:
    """init, ingest and curate done; read only."""
    folder = tmp_path_factory.mktemp("curated") / "workspace"
    done(folder, "init", "--profile", "generic")
    done(folder, "ingest", str(image_folder))
    done(folder, "curate")
    return folder


@pytest.fixture(scope="session")
def promoted_workspace(tmp_path_factory: pytest.TempPathFactory, curated_workspace: Path) -> Path:
    """A small model trained and promoted; read only."""
    folder = tmp_path_factory.mktemp("promoted") / "workspace"
    shutil.copytree(curated_workspace, folder)
    done(folder, "train", *TINY)
    done(folder, "promote", "--by", "tester", "--why", "first model")
    return folder


@pytest.fixture(scope="session")
def challenged_workspace(tmp_path_factory: pytest.TempPathFactory, promoted_workspace: Path) -> Path:
    """Champion 1 and a candidate 2; read only."""
    folder = tmp_path_factory.mktemp("challenged") / "workspace"
    shutil.copytree(promoted_workspace, folder)
    done(folder, "train", *TINY, "--seed", "1")
    return folder


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
