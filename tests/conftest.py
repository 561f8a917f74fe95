"""Fixtures shared by every room's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, Playwright, sync_playwright

from data_contracts.profile import shipped_profile_text
from data_contracts.workspace import Workspace
from tests.review_app.inspector import open_browser

# The same examples every time, however slow the machine is today.
settings.register_profile("tailsight", deadline=None, derandomize=True, database=None)
settings.load_profile("tailsight")

BENCHMARK_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def benchmark_data() -> Path:
    """The folder of real data sets beside the project; skips by name where it is absent."""
    if not BENCHMARK_DATA.is_dir():
        pytest.skip(f"benchmark data sets are not at {BENCHMARK_DATA}")
    return BENCHMARK_DATA


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace with the generic profile."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "tailsight.yaml").write_text(shipped_profile_text("generic"), encoding="utf-8")
    return Workspace(folder)


@pytest.fixture(scope="session")
def playwright_driver() -> Iterator[Playwright]:
    """One for the session: a second one in the same thread would refuse to start."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright_driver: Playwright) -> Iterator[Browser]:
    """A real browser without a window."""
    opened = open_browser(playwright_driver)
    yield opened
    opened.close()
