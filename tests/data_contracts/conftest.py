"""Fixtures of the ledger's tests: workspaces with a ledger, pictures, people who answer, and somebody who tampers.

Tests run on a SQLite file; those of the modules in ``ON_BOTH_DATABASES`` run on a PostgreSQL server as well (slow).
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_contracts.ledger.append_only import APPEND_ONLY, guard_statements, trigger_names
from data_contracts.ledger.chain import GENESIS
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import add_images
from data_contracts.ledger.roots import register_root
from data_contracts.profile import shipped_profile_text
from data_contracts.records import DatasetVersion, ImageRecord, LedgerHead, NewLabelEvent, Occurrence
from data_contracts.review.records import Answer as TaskAnswer
from data_contracts.review.records import NewTask
from data_contracts.review.roles import set_role
from data_contracts.review.tasks import add_round, tasks_frame
from data_contracts.settings import read_settings
from data_contracts.taxonomy import Taxonomy
from data_contracts.vocabulary import Action, Role, Source, SubjectKind
from data_contracts.workspace import Workspace
from tests.database_server import DatabaseServer
from tests.database_server import postgresql_server as postgresql_server


@pytest.fixture(scope="session")
def empty_ledger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose ledger was made once; tests copy it."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "tailsight.yaml").write_text(shipped_profile_text("generic"), encoding="utf-8")
    Ledger.open(Workspace(folder)).close()
    return folder


ON_BOTH_DATABASES = frozenset(
    {
        *("test_ledger_events", "test_ledger_fold", "test_ledger_images", "test_ledger_processes"),
        *("test_ledger_versions", "test_review_decide", "test_review_decisions_out", "test_review_disputes"),
        *("test_review_figures", "test_review_processes", "test_review_serving", "test_review_undo"),
        *("test_taxonomy_changes",),
    }
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    on_both = Path(metafunc.module.__file__).stem in ON_BOTH_DATABASES
    if "database" in metafunc.fixturenames and on_both and not metafunc.definition.get_closest_marker("sqlite"):
        choices = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
        metafunc.parametrize("database", choices, indirect=True)


@dataclasses.dataclass(frozen=True)
class EmptyDatabase:
    """A database with an empty ledger, and the workspace that has its key."""

    name: str
    folder: Path


@pytest.fixture(scope="session")
def empty_database(
    postgresql_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmptyDatabase]:
    """A workspace whose ledger was made once on a server; tests copy both."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "tailsight.yaml").write_text(shipped_profile_text("generic"), encoding="utf-8")
    with postgresql_server.database() as name:
        settings = dataclasses.replace(read_settings(), database_url=postgresql_server.address(name))
        Ledger.open(Workspace(folder), settings).close()
        yield EmptyDatabase(name, folder)


@pytest.fixture
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str | None]:
    """The address that the environment gives for the ledger; ``None`` for a file in the workspace."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield None
        return
    server: DatabaseServer = request.getfixturevalue("postgresql_server")
    with server.database(template=request.getfixturevalue("empty_database").name) as name:
        monkeypatch.setenv("TAILSIGHT_DATABASE_URL", server.address(name))
        yield server.address(name)


@pytest.fixture
def site(request: pytest.FixtureRequest, database: str | None, tmp_path: Path) -> Workspace:
    """A workspace with an empty ledger."""
    made: Path = request.getfixturevalue("empty_ledger_folder")
    if database is not None:
        made = request.getfixturevalue("empty_database").folder
    return Workspace(Path(shutil.copytree(made, tmp_path / "site")))


@pytest.fixture
def ledger(site: Workspace) -> Iterator[Ledger]:
    """An open, empty ledger."""
    with Ledger.open(site, read_settings()) as opened:
        yield opened


def image_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


Answer = Callable[..., NewLabelEvent]


@pytest.fixture
def answer() -> Answer:
    """Makes an event: ``answer("a", "crack", source=Source.READER)``."""

    def make(subject: str, label: str | None = None, **fields: object) -> NewLabelEvent:
        settings: dict[str, object] = {"who": "ann", "action": Action.LABEL, "source": Source.READER} | fields
        return NewLabelEvent.model_validate({"subject_id": subject, "label": label, **settings})

    return make


@pytest.fixture
def staffed(
    empty_ledger_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], AbstractContextManager[Ledger]]:
    """Opens a ledger of its own for each example of a property: eve leads, ann and bob read."""

    @contextmanager
    def opened() -> Iterator[Ledger]:
        folder = tmp_path_factory.mktemp("people")
        shutil.copytree(empty_ledger_folder, folder, dirs_exist_ok=True)
        with Ledger.open(Workspace(folder)) as ledger:
            for who, role in (("eve", Role.LEAD), ("ann", Role.READER), ("bob", Role.READER)):
                set_role(ledger, who, role, by="eve")
            yield ledger

    return opened


@pytest.fixture
def version_of() -> Callable[..., DatasetVersion]:
    """Makes the record of a dataset version: ``version_of("d-1", ledger_head=head(ledger))``."""

    def make(name: str, **fields: object) -> DatasetVersion:
        facts: dict[str, object] = {
            "dataset_version": name,
            "created_at": datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
            "manifest_sha256": name.ljust(64, "0"),
            "taxonomy": Taxonomy().extended(["x", "ÿ"]),
            "profile_hash": "p",
            "ledger_head": LedgerHead(sequence=0, hash=GENESIS),
            "test_edition": 1,
            "parent": None,
            "counts": {"train": {"x": 1}},
            "imbalance_factor": 1.5,
            "classes_under_minimum": ("x",),
            "seed": 0,
        }
        return DatasetVersion.model_validate(facts | fields)

    return make


@pytest.fixture
def add_pictures(tmp_path: Path) -> Callable[..., list[str]]:
    """Adds images ``names`` (with ``groups``) to a ledger; returns their ids."""

    def add(ledger: Ledger, names: Sequence[str], groups: dict[str, str] | None = None) -> list[str]:
        folder = tmp_path / "pictures"
        folder.mkdir(exist_ok=True)
        root = register_root(ledger, folder)
        images = [
            ImageRecord(
                image_id=image_id(name),
                uri=f"{root}/{name}.png",
                width=4,
                height=3,
                mode="L",
                bit_depth=8,
                format="PNG",
                size_bytes=12,
                perceptual_hash=-(2**63) + number,
                group=(groups or {}).get(name),
            )
            for number, name in enumerate(names)
        ]
        places = [
            Occurrence(
                image_id=image_id(name),
                root_id=root,
                path=f"{name}.png",
                size_bytes=12,
                modified_ns=1_700_000_000_123_456_789,
                external_ids={"serial": f"SN-{name}"},
            )
            for name in names
        ]
        add_images(ledger, images, places, "first")
        return [image_id(name) for name in names]

    return add


@pytest.fixture
def queue(add_pictures: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Adds images and a round with a task for each (or for ``groups``), best first; returns the task ids."""

    def add(ledger: Ledger, names: Sequence[str], *, groups: dict[str, str] | None = None, **fields: Any) -> list[str]:
        ids = dict(zip(names, add_pictures(ledger, names, groups), strict=True))
        subjects = list(dict.fromkeys(groups.values())) if groups else list(ids.values())
        kind = SubjectKind.GROUP if groups else SubjectKind.IMAGE
        round_id = str(fields.pop("round_id", "round 1"))
        facts = {"reason": "low_confidence", "subject_kind": kind} | fields
        new = [
            NewTask.model_validate({"priority": -float(number), "subject_id": subject, **facts})
            for number, subject in enumerate(subjects)
        ]
        settings: dict[str, Any] = {"model_version": "3", "strategy": "margin", "budget": None, "seed": 0}
        add_round(ledger, new, round_id=round_id, **settings)
        frame = tasks_frame(ledger).set_index("subject_id")["task_id"]
        return [frame[subject] for subject in subjects]

    return add


@pytest.fixture
def say() -> Callable[..., TaskAnswer]:
    """Makes an answer to a task, each with a request id of its own: ``say(task_id, "crack")``."""
    numbers = itertools.count(1)

    def make(task_id: str, label: str | None = None, **fields: Any) -> TaskAnswer:
        facts = {"request_id": f"request {next(numbers)}", "action": Action.LABEL} | fields
        return TaskAnswer.model_validate({"task_id": task_id, "label": label, **facts})

    return make


class Intruder:
    """Changes the database by other means, with the rights of its owner but without the key."""

    def __init__(self, workspace: Workspace) -> None:
        self.path = workspace.ledger_path

    def run(self, statement: str, *values: object) -> None:
        """Run one statement with the triggers out of the way, and put them back as if nothing had been."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            present = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
            connection.execute("BEGIN IMMEDIATE")
            for table in APPEND_ONLY:
                for name in trigger_names(table):
                    if name in present:
                        connection.execute(f"DROP TRIGGER {name}")
            connection.execute(statement, values)
            for table, unique in APPEND_ONLY.items():
                for guard in guard_statements(table, unique, "sqlite"):
                    if guard in present.values():
                        connection.execute(guard)
            connection.execute("COMMIT")
        finally:
            connection.close()

    def knock(self, statement: str, *values: object) -> None:
        """Run one statement as any program would, triggers in place and no pragma set."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            connection.execute(statement, values)
        finally:
            connection.close()


@pytest.fixture
def intruder(site: Workspace) -> Intruder:
    return Intruder(site)
