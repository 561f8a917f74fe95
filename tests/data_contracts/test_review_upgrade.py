"""A workspace of schema 0001 comes up to date, with everything that it held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from data_contracts.ledger import schema
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events, events_frame
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import NewLabelEvent
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer
from data_contracts.review.serving import serve
from data_contracts.review.tasks import tasks_frame
from data_contracts.workspace import Workspace
from tests.data_contracts.conftest import image_id


def test_a_workspace_of_the_first_schema_is_upgraded_without_losing_anything(
    workspace: Workspace,
    answer: Callable[..., NewLabelEvent],
    add_pictures: Callable[..., list[str]],
    say: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from alembic import command

    upgrade = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _revision: upgrade(config, "0001"))
        patch.setattr(schema, "HEAD", "0001")
        patch.setattr("data_contracts.ledger.append_only.APPEND_ONLY", {})
        with Ledger.open(workspace) as old:
            _insert_as_then(old, image_id("a"))
            (image,) = add_pictures(old, "a")  # known by now: only its place is added
            append_events(old, [answer(image, "crack", request_id="r1"), answer("b", "pit")])
            before = events_frame(old)
            with old.writing() as connection:
                assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0001"
                columns = {row[1] for row in connection.execute(text("PRAGMA table_info(review_task)"))}
                assert "purpose" not in columns
                connection.execute(
                    text(
                        "INSERT INTO review_task VALUES "
                        "('t1', 'image', :image, 'learn', 'novelty', 1.0, '3', 'r', 1, 0, 'open', NULL, '2026-01-01')"
                    ),
                    {"image": image},
                )
    with Ledger.open(workspace) as ledger:
        assert events_frame(ledger).equals(before)
        assert verify_chain(ledger).ok
        assert images_frame(ledger)["brightness"].isna().all()
        assert tasks_frame(ledger)[["task_id", "purpose", "evidence"]].values.tolist() == [["t1", "review", {}]]
        assert [task.task_id for task in serve(ledger, "ann")] == ["t1"]
        decide(ledger, "ann", say("t1", "crack"))
        assert events_frame(ledger)["action"].tolist() == ["label", "label", "confirm"]
        assert verify_chain(ledger).ok
    assert not list(Path(workspace.folder).glob("*.tmp"))


def _insert_as_then(ledger: Ledger, image: str) -> None:
    columns = "image_id, uri, width, height, mode, bit_depth, format, size_bytes, perceptual_hash, metadata, batch"
    with ledger.writing() as connection:
        connection.execute(
            text(
                f"INSERT INTO image ({columns}, first_seen) "
                "VALUES (:image, 'r/a.png', 4, 3, 'L', 8, 'PNG', 12, 1, '{}', 'b', '2026-01-01T00:00:00.000000Z')"
            ),
            {"image": image},
        )
