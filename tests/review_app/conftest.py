"""A real Chromium, a real server and a real ledger for the app's tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from data_contracts.workspace import Workspace
from tests.review_app.inspector import Inspector
from tests.review_app.line import add_queue, make_site
from tests.review_app.provider import Provider
from tests.review_app.server import AppServer
from tests.review_app.signing_in import PEOPLE

Sit = Callable[..., Inspector]
Serve = Callable[..., AppServer]


@pytest.fixture(scope="session")
def queue_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line with 24 images and a task for each; tests work on copies."""
    folder = tmp_path_factory.mktemp("line") / "site"
    add_queue(make_site(folder), 24)
    return folder


@pytest.fixture
def site(queue_template: Path, tmp_path: Path) -> Workspace:
    """A line with 24 simple tasks, in the order good, scratch, pit, crack, good, …"""
    return Workspace(Path(shutil.copytree(queue_template, tmp_path / "site")))


@pytest.fixture
def empty_site(tmp_path: Path) -> Workspace:
    """A line with four classes and nothing to do."""
    return make_site(tmp_path / "empty-site")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts the app on a workspace; it is stopped at the end."""
    started: list[AppServer] = []

    def start(workspace: Workspace, modules: Path | None = None) -> AppServer:
        server = AppServer(workspace, modules)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def sit(browser: Browser) -> Iterator[Sit]:
    """Somebody sits down at a browser of their own: ``sit(server, "Ann")``."""
    here: list[Inspector] = []

    def down(server: AppServer, name: str | None = "Ann", **settings: object) -> Inspector:
        inspector = Inspector(browser, server, **settings)
        here.append(inspector)
        inspector.open()
        if name is not None:
            inspector.sign_in(name)
        return inspector

    yield down
    for inspector in here:
        inspector.context.close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """An OpenID provider that knows the people of ``signing_in``."""
    opened = Provider(PEOPLE)
    yield opened
    opened.close()
