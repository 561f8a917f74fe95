"""A disk that is full: said plainly, nothing half-written, and the same command goes on once there is room."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from data_contracts import disk_space
from data_contracts.disk_space import require_space, reserve, space_error
from data_contracts.errors import NoSpace
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import NewLabelEvent
from data_contracts.vocabulary import Action, Source
from data_contracts.workspace import Workspace
from tests.small_disk import small_disk as small_disk


def test_a_write_to_a_full_disk_is_known_by_whatever_came_of_it(tmp_path: Path) -> None:
    def run() -> None:
        try:
            with Path("/dev/full").open("w") as file:
                file.write("x")
        except OSError as error:
            raise RuntimeError("the run could not be ended") from error

    with pytest.raises(RuntimeError) as raised:
        run()
    found = space_error(raised.value, tmp_path / "not" / "there")
    assert found is not None
    assert f"disk of {tmp_path} is full" in found.what
    assert "same command again" in str(found.remedy)
    assert space_error(ValueError("of something else"), tmp_path) is None


def test_a_failing_disk_is_not_called_full(small_disk: Path, tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    assert space_error(error, tmp_path) is None
    assert space_error(error, small_disk) is not None  # the same words where there is next to no room


def test_nothing_begins_where_there_is_next_to_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_space(tmp_path / "not" / "there")
    monkeypatch.setattr(disk_space, "NEEDED_MB", shutil.disk_usage(tmp_path).total / 2**20 + 1)
    with pytest.raises(NoSpace, match="is full"):
        require_space(tmp_path)


def test_room_is_taken_before_a_file_is_written_through_memory(small_disk: Path) -> None:
    with (small_disk / "some").open("wb") as file:
        reserve(file, 2**20)
        reserve(file, 2**19)  # never less than there is
        assert os.fstat(file.fileno()).st_size == 2**20
        assert os.fstat(file.fileno()).st_blocks * 512 >= 2**20  # not a hole
    with (small_disk / "more").open("wb") as file, pytest.raises(OSError, match="No space left") as raised:
        reserve(file, 5 * 2**20)
    found = space_error(raised.value, small_disk)
    assert found is not None


def test_an_answer_that_finds_no_room_is_refused_whole_and_works_once_there_is_some(workspace: Workspace) -> None:
    def answers(start: int) -> list[NewLabelEvent]:
        names = [f"{number:064x}" for number in range(start, start + 400)]
        return [
            NewLabelEvent(who="ann", subject_id=name, action=Action.LABEL, label="pit", source=Source.READER)
            for name in names
        ]

    with Ledger.open(workspace) as ledger:
        with ledger.writing() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
            connection.execute(text(f"PRAGMA max_page_count = {pages + 8}"))  # the database's own idea of a full disk
        with pytest.raises(NoSpace, match="is full"):
            append_events(ledger, answers(0))
        assert events_frame(ledger).empty
        with ledger.writing() as connection:
            connection.execute(text("PRAGMA max_page_count = 1000000"))
        append_events(ledger, answers(0))
        assert (len(events_frame(ledger)), verify_chain(ledger).ok) == (400, True)
