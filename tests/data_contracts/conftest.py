"""Fixtures of the ledger's tests: workspaces with a ledger, pictures, people who answer, and somebody who tampers."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_contracts.ledger.append_only import APPEND_ONLY, guard_statements, trigger_names
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import add_images
from data_contracts.ledger.roots import register_root
from data_contracts.profile import shipped_profile_text
from data_contracts.records import ImageRecord, NewLabelEvent, Occurrence
from data_contracts.review.records import Answer as TaskAnswer
from data_contracts.review.records import NewTask
from data_contracts.review.tasks import add_round, tasks_frame
from data_contracts.vocabulary import Action, Source, SubjectKind
from data_contracts.workspace import Workspace


@pytest.fixture(scope="session")
def empty_ledger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose ledger was made once; tests copy it."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "tailsight.yaml").write_text(shipped_profile_text("generic"), encoding="utf-8")
    Ledger.open(Workspace(folder)).close()
    return folder


@pytest.fixture
def site(empty_ledger_folder: Path, tmp_path: Path) -> Workspace:
    """A workspace with an empty ledger."""
    return Workspace(Path(shutil.copytree(empty_ledger_folder, tmp_path / "site")))


@pytest.fixture
def ledger(site: Workspace) -> Iterator[Ledger]:
    """An open, empty ledger."""
    with Ledger.open(site) as opened:
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
