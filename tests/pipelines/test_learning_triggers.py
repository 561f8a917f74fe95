"""When the loop moves by itself: enough answers, a batch in the inbox, a lead's approval."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_contracts.ledger.approvals import approve, waiting_promotions
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.promotions import promotions
from data_contracts.profile import RetrainSettings
from data_contracts.records import LabelEvent, NewLabelEvent
from data_contracts.review.records import NewTask
from data_contracts.review.roles import sign_in
from data_contracts.review.tasks import add_round
from data_contracts.vocabulary import Action, Alias, Purpose, Source
from data_contracts.workspace import Workspace
from pipelines.definitions.build import build_definitions
from pipelines.definitions.instance import open_instance
from pipelines.definitions.resources import Site
from pipelines.definitions.sensors import SENSORS
from pipelines.steps.inbox import look_into
from pipelines.steps.learning_triggers import NewAnswers, answers_since, look, newest_learned, readiness
from pipelines.steps.registry import open_registry
from pipelines.steps.settle import Outcome, carry_out_approvals, settle

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SETTINGS = RetrainSettings(new_labels=50, new_labels_per_class=10, debounce_seconds=600)


def answers(per_class: dict[str, int], last: timedelta = timedelta(hours=1)) -> NewAnswers:
    total = sum(per_class.values())
    return NewAnswers(since=7, head=7 + total, images=total, per_class=per_class, bad_images=0, last_at=NOON - last)


@pytest.mark.parametrize(
    ("per_class", "last", "ready", "sentence"),
    [
        (
            {"crack": 9, "ok": 5},
            timedelta(hours=1),
            False,
            "14 of 50 new answers; most in one class: 9 of 10 (crack). 36 more are needed, or enough of one class.",
        ),
        ({}, timedelta(hours=1), False, "0 of 50 new answers. 50 more are needed, or enough of one class."),
        ({"crack": 10}, timedelta(hours=1), True, "10 new answers of 'crack' (threshold 10)."),
        (dict.fromkeys("abcdefgh", 7), timedelta(hours=1), True, "56 new answers (threshold 50)."),
        (
            {"crack": 12},
            timedelta(minutes=4),
            False,
            "12 new answers of 'crack' (threshold 10), but the last answer is 4 minutes old; waiting 6 minutes more,"
            " for 10 minutes without an answer.",
        ),
    ],
)
def test_readiness_says_exactly_what_is_missing(
    per_class: dict[str, int], last: timedelta, ready: bool, sentence: str
) -> None:
    verdict = readiness(answers(per_class, last), SETTINGS, NOON)
    assert (verdict.ready, verdict.sentence) == (ready, sentence)


def correct(workspace: Workspace, count: int, **more: Any) -> list[LabelEvent]:
    """A reader calls the first images with the label 'plain' stripes."""
    with Ledger.open(workspace) as ledger:
        known = image_answers(ledger)
        ids = list(known.loc[known["label"] == "plain", "image_id"])[:count]
        return append_events(
            ledger,
            [
                NewLabelEvent(who="ann", subject_id=i, action=Action.CORRECT, label="stripes", source=Source.READER)
                for i in ids
            ],
        )


def test_only_what_people_said_since_and_did_not_take_back_counts(promoted: Path) -> None:
    workspace = Workspace(promoted)
    learned = newest_learned(workspace)
    assert learned == 150  # the imported labels that the model was trained on
    events = correct(workspace, 5)
    with Ledger.open(workspace) as ledger:
        assert answers_since(ledger, 0).images == 5  # imports never count
        undo = NewLabelEvent(
            who="ann",
            subject_id=events[0].subject_id,
            action=Action.UNDO,
            undoes=events[0].event_id,
            source=Source.READER,
        )
        append_events(ledger, [undo])
        new = answers_since(ledger, learned)
        assert (new.images, new.per_class) == (4, {"stripes": 4})
        assert answers_since(ledger, new.head).images == 0
    _, verdict = look(workspace, 0, datetime.now(UTC))
    assert verdict.sentence.startswith("4 of 50 new answers; most in one class: 4 of 10 (stripes).")


def test_answers_to_a_random_audit_measure_and_train_nothing(promoted: Path) -> None:
    workspace = eager(promoted, new_labels=3, debounce_seconds=0)
    learned = newest_learned(workspace) or 0
    events = correct(workspace, 3)
    with Ledger.open(workspace) as ledger:
        audits = [
            NewTask(subject_id=event.subject_id, reason="random_audit", purpose=Purpose.AUDIT, blind=True)
            for event in events[:2]
        ]
        add_round(ledger, audits, round_id="1", model_version="1", strategy="mix", budget=None, seed=0)
        new = answers_since(ledger, learned)
        assert (new.images, new.per_class, new.audited) == (1, {"stripes": 1}, 2)
    waiting = tick(workspace, "answers_to_learn")
    assert not waiting.run_requests
    assert waiting.skip_message.startswith("1 of 3 new answers (2 more, drawn by a random audit, only measure);")


def test_without_a_model_the_sensor_says_so(curated: Path) -> None:
    _, verdict = look(Workspace(curated), 0, datetime.now(UTC))
    assert verdict.sentence == "There is no model yet; run `tailsight train` first."


def eager(folder: Path, **retrain: Any) -> Workspace:
    """The workspace with other thresholds."""
    workspace = Workspace(folder)
    import yaml

    profile = yaml.safe_load(workspace.profile_path.read_text(encoding="utf-8"))
    profile["retrain"] = {**profile.get("retrain", {}), **retrain}
    workspace.profile_path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    return workspace


@dataclass(frozen=True)
class Tick:
    """What one evaluation of a sensor gave."""

    run_requests: list[Any]
    skip_message: str
    cursor: str | None
    partitions: list[str]


def tick(workspace: Workspace, name: str, cursor: str | None = None) -> Tick:
    """One evaluation of a sensor on the workspace's own instance."""
    repository = build_definitions(workspace).get_repository_def()
    assert repository.get_sensor_def(name).default_status is dg.DefaultSensorStatus.RUNNING
    sensor = next(sensor for sensor in SENSORS if sensor.name == name)
    with (
        open_instance(workspace) as instance,
        dg.build_sensor_context(
            instance=instance, cursor=cursor, repository_def=repository, resources={"site": Site(workspace)}
        ) as context,
    ):
        found: Any = sensor(context)
    if isinstance(found, dg.SkipReason):
        return Tick([], found.skip_message or "", cursor, [])
    requests = found.dynamic_partitions_requests or []
    return Tick(found.run_requests, "", found.cursor, [key for one in requests for key in one.partition_keys])


def test_the_answers_sensor_explains_itself_then_asks_for_one_run(promoted: Path) -> None:
    workspace = eager(promoted, new_labels=3, debounce_seconds=0)
    waiting = tick(workspace, "answers_to_learn")
    assert not waiting.run_requests
    assert waiting.skip_message.startswith("0 of 3 new answers.")
    correct(workspace, 3)
    fired = tick(workspace, "answers_to_learn")
    assert [request.run_key for request in fired.run_requests] == ["answers-153"]
    assert fired.run_requests[0].tags["tailsight/why"] == "3 new answers (threshold 3)."
    again = tick(workspace, "answers_to_learn", cursor=fired.cursor)
    assert not again.run_requests
    assert again.skip_message.startswith("0 of 3 new answers")


def aged(folder: Path) -> None:
    """Let everything in a folder look as if it had arrived a minute ago."""
    then = time.time() - 60
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (then, then))


def test_a_folder_in_the_inbox_is_scored_once_when_it_is_whole(promoted: Path, new_images: Path) -> None:
    workspace = Workspace(promoted)
    assert tick(workspace, "inbox").skip_message.endswith("nothing new.")
    batch = Path(shutil.copytree(new_images / "dots", workspace.inbox / "monday"))
    os.utime(batch / "dots-000.png")
    arriving = look_into(workspace, {}, datetime.now(UTC))
    assert not arriving.batches
    assert "still arriving: monday" in arriving.sentence
    aged(batch)
    (workspace.inbox / "empty").mkdir()
    aged(workspace.inbox / "empty")
    fired = tick(workspace, "inbox")
    (request,) = fired.run_requests
    assert fired.partitions == [request.partition_key]
    assert json.loads(fired.cursor or "") == {str(batch): request.partition_key}
    assert not tick(workspace, "inbox", cursor=fired.cursor).run_requests
    shutil.copy(new_images / "plain" / "plain-001.png", batch)
    aged(batch)
    later = tick(workspace, "inbox", cursor=fired.cursor)
    assert later.run_requests[0].partition_key != request.partition_key


def test_a_candidate_the_gate_accepts_waits_for_a_lead_and_moves_once_approved(challenged: Path) -> None:
    workspace = Workspace(challenged)
    settled = settle(workspace, "2", "3 new answers")
    assert settled.outcome is Outcome.WAITS_FOR_A_LEAD
    assert "version 2" in tick(workspace, "approved_promotions").skip_message
    with Ledger.open(workspace) as ledger:
        sign_in(ledger, "lena")  # the first to sign in leads
        (request,) = waiting_promotions(ledger)
        approve(ledger, "lena", request.sequence, approved=True, why="figures look right")
    fired = tick(workspace, "approved_promotions")
    assert len(fired.run_requests) == 1
    (done,) = carry_out_approvals(workspace, [request.sequence])
    assert (done.outcome, done.champion) == (Outcome.PROMOTED, "2")
    with open_registry(workspace) as registry, Ledger.open(workspace) as ledger:
        assert registry.alias(Alias.CHAMPION) == "2"
        assert promotions(ledger)[-1].who == "lena"
    assert carry_out_approvals(workspace) == []
    assert not tick(workspace, "approved_promotions", cursor=fired.cursor).run_requests


def test_where_the_profile_allows_it_the_gate_alone_promotes(challenged: Path) -> None:
    workspace = Workspace(challenged)
    text = workspace.profile_path.read_text(encoding="utf-8")
    workspace.profile_path.write_text(text.replace("promotion: by_hand", "promotion: automatic"), encoding="utf-8")
    settled = settle(workspace, "2", "3 new answers")
    assert (settled.outcome, settled.champion) == (Outcome.PROMOTED, "2")


def test_a_refused_candidate_leaves_the_champion_and_is_no_error(challenged: Path) -> None:
    workspace = Workspace(challenged)
    text = workspace.profile_path.read_text(encoding="utf-8")
    strict = text.replace("macro_f1_margin: -0.02", "macro_f1_margin: 0.5")
    assert strict != text
    workspace.profile_path.write_text(strict, encoding="utf-8")
    settled = settle(workspace, "2", "3 new answers")
    assert (settled.outcome, settled.champion) == (Outcome.REFUSED, "1")
    with Ledger.open(workspace) as ledger:
        assert waiting_promotions(ledger) == []
    assert settle(workspace, None, "nothing to learn").outcome is Outcome.NOTHING_NEW
