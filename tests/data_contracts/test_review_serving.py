"""Who gets which task, for how long, and how fast."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from data_contracts.errors import BadInput
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import add_images
from data_contracts.ledger.roots import register_root
from data_contracts.records import ImageRecord
from data_contracts.review import serving, tasks
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer, NewTask, TaskEvidence
from data_contracts.vocabulary import Action, Purpose, TaskKind, TaskState

Queue = Callable[..., list[str]]
Say = Callable[..., Answer]
AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
ROUND = {"model_version": "3", "strategy": "margin", "seed": 0}


def served(ledger: Ledger, who: str, **fields: object) -> list[str]:
    return [task.task_id for task in serving.serve(ledger, who, **{"count": 10, "now": AT} | fields)]  # type: ignore[arg-type]


def test_what_is_due_comes_first_then_what_teaches_most(ledger: Ledger, add_pictures: Callable[..., list[str]]) -> None:
    ids = add_pictures(ledger, "abcdefg")
    due = [AT + timedelta(hours=hours) for hours in (2, 1, 1)]
    new = [
        NewTask(task_id="late", subject_id=ids[0], reason="novelty", kind="hold", due_at=due[0], priority=9),
        NewTask(task_id="soon, low", subject_id=ids[1], reason="novelty", kind="hold", due_at=due[1], priority=1),
        NewTask(task_id="soon, high", subject_id=ids[2], reason="novelty", kind="hold", due_at=due[2], priority=2),
        NewTask(task_id="undated", subject_id=ids[3], reason="novelty", kind="hold", priority=3),
        NewTask(task_id="learn 1", subject_id=ids[4], reason="confused_pair:a|b", priority=5),
        NewTask(task_id="learn 2", subject_id=ids[5], reason="novelty", priority=50),
        NewTask(task_id="learn 3", subject_id=ids[6], reason="novelty", priority=4),
    ]
    tasks.add_round(ledger, new, round_id="r", budget=None, **ROUND)  # type: ignore[arg-type]
    wanted = ["soon, high", "soon, low", "late", "undated", "learn 2", "learn 1", "learn 3"]
    assert served(ledger, "ann") == wanted
    serving.release(ledger, "ann")
    assert [served(ledger, "ann", count=1, exclude=wanted[:n])[0] for n in range(7)] == wanted


def test_two_people_never_hold_the_same_task(ledger: Ledger, queue: Queue) -> None:
    queue(ledger, "abcdef")
    ann, bob = served(ledger, "ann", count=3), served(ledger, "bob", count=9)
    assert (len(ann), len(bob), set(ann) & set(bob)) == (3, 3, set())
    assert served(ledger, "cid") == []
    assert set(tasks.tasks_frame(ledger, now=AT)["state"]) == {"leased"}
    assert tasks.task(ledger, ann[0], now=AT + timedelta(hours=1)).state == TaskState.OPEN


def test_a_reload_gets_the_same_tasks_again(ledger: Ledger, queue: Queue) -> None:
    queue(ledger, "abcdef")
    first = served(ledger, "ann", count=2)
    assert served(ledger, "ann", count=2) == first
    assert served(ledger, "ann", count=2, exclude=first) not in (first, [])


def test_leases_expire_and_can_be_renewed_and_given_back(ledger: Ledger, queue: Queue) -> None:
    one, two = queue(ledger, "ab")
    assert served(ledger, "ann", lease_seconds=60) == [one, two]
    assert serving.renew(ledger, "ann", [one], lease_seconds=600, now=AT) == [one]
    later = AT + timedelta(seconds=61)
    assert served(ledger, "bob", now=later) == [two]
    assert serving.renew(ledger, "ann", [one, two, "unknown"], now=later) == [one]
    assert serving.release(ledger, "ann", [one]) == 1
    assert served(ledger, "bob", now=later) == [two, one]


def test_a_second_reading_goes_to_somebody_else(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a", readings_required=2)
    assert served(ledger, "ann") == served(ledger, "bob") == [task_id]
    assert served(ledger, "cid") == [], "two places, both taken"
    decide(ledger, "ann", say(task_id, "x"), now=AT)
    assert served(ledger, "ann") == []
    assert served(ledger, "cid") == [], "bob has the other place"
    serving.release(ledger, "bob")
    assert served(ledger, "cid") == [task_id]


def test_what_was_skipped_comes_back_in_the_next_round(ledger: Ledger, queue: Queue, say: Say) -> None:
    (task_id,) = queue(ledger, "a", round_id="1")
    decide(ledger, "ann", say(task_id, action=Action.SKIP), now=AT)
    tasks.add_round(ledger, [], round_id="0", budget=None, **ROUND, now=AT - timedelta(days=1))  # type: ignore[arg-type]
    later = datetime.now(UTC) + timedelta(days=1)
    tasks.add_round(ledger, [], round_id="2", budget=None, **ROUND, now=later)  # type: ignore[arg-type]
    assert served(ledger, "ann", now=later) == [task_id]
    assert serving.waiting(ledger, "ann", now=later) == 1
    decide(ledger, "ann", say(task_id, action=Action.SKIP), now=later + timedelta(seconds=1))
    assert served(ledger, "ann", now=later + timedelta(seconds=2)) == []
    assert served(ledger, "bob", now=later + timedelta(seconds=2)) == [task_id]


def test_what_others_have_just_been_shown_comes_later_but_comes(ledger: Ledger, queue: Queue) -> None:
    best, next_best = queue(ledger, "ab")
    assert served(ledger, "ann", count=1) == [best]
    serving.release(ledger, "ann")
    assert served(ledger, "bob") == [next_best, best]


def test_a_grid_of_one_predicted_class_holds_no_blind_task(ledger: Ledger, queue: Queue) -> None:
    shown = queue(ledger, "ab", round_id="1", predicted="pit")
    queue(ledger, "cd", round_id="2", predicted="pit", blind=True)
    queue(ledger, "e", round_id="3", predicted="crack")
    assert serving.waiting_by_prediction(ledger, "ann") == {"pit": 2, "crack": 1}
    assert served(ledger, "ann", predicted="pit") == shown
    assert serving.waiting(ledger, "ann") == 5


def test_a_round_is_added_once_and_its_budget_never_drops_what_waits(
    ledger: Ledger, add_pictures: Callable[..., list[str]]
) -> None:
    ids = add_pictures(ledger, "abcde")
    new = [
        NewTask(subject_id=image, reason="novelty", kind="hold" if n < 2 else "learn", priority=n)
        for n, image in enumerate(ids)
    ]
    report = tasks.add_round(ledger, new, round_id="r", budget=1, **ROUND)  # type: ignore[arg-type]
    assert (report.hold, report.learn, report.dropped_by_budget, report.by_reason) == (2, 1, 2, {"novelty": 3})
    again = tasks.add_round(ledger, new, round_id="r", budget=9, **ROUND)  # type: ignore[arg-type]
    assert again == report.model_copy(update={"repeated": True})
    assert set(tasks.tasks_frame(ledger)["subject_id"]) == {ids[0], ids[1], ids[4]}
    assert tasks.rounds_frame(ledger)["learn"].tolist() == [1]


def test_a_subject_under_way_is_not_queued_again_but_takes_over_a_stronger_claim(
    ledger: Ledger, add_pictures: Callable[..., list[str]]
) -> None:
    ids = dict(zip("abc", add_pictures(ledger, "abc"), strict=True))

    def add(round_id: str, **claims: dict[str, object]) -> tuple[int, int, int]:
        new = [NewTask(subject_id=ids[name], reason="novelty", **claim) for name, claim in claims.items()]  # type: ignore[arg-type]
        report = tasks.add_round(ledger, new, round_id=round_id, budget=None, **ROUND)  # type: ignore[arg-type]
        return report.queued, report.strengthened, report.already_open

    assert add("1", a={}, b={}, c={"kind": "hold"}) == (3, 0, 0)
    assert add("2", a={}, c={}) == (0, 0, 2)
    assert add("3", a={"kind": "hold", "due_at": AT}, b={"purpose": "audit"}, c={"kind": "hold"}) == (0, 2, 1)
    found = {task.subject_id: task for task in serving.serve(ledger, "ann", count=3, now=AT)}
    assert (found[ids["a"]].kind, found[ids["a"]].due_at) == (TaskKind.HOLD, AT)
    assert (found[ids["b"]].purpose, found[ids["b"]].blind) == (Purpose.AUDIT, True)
    assert found[ids["c"]].kind == TaskKind.HOLD
    assert add("4", a={"purpose": "audit"}) == (0, 0, 1), "ann has seen what the model thinks of it"


def test_tasks_about_what_nobody_knows_are_refused(ledger: Ledger, queue: Queue) -> None:
    queue(ledger, "a")
    for subject in ({"subject_id": "nothing"}, {"subject_id": "nothing", "subject_kind": "group"}):
        with pytest.raises(BadInput, match="1 tasks are about images or groups that the ledger does not know"):
            tasks.add_round(ledger, [NewTask(reason="novelty", **subject)], round_id="r", budget=None, **ROUND)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is no review reason"):
        NewTask(subject_id="a", reason="looks_odd")


def test_a_task_comes_back_as_it_was_queued(ledger: Ledger, queue: Queue) -> None:
    evidence = TaskEvidence(top=(("pit", 0.5), ("crack", 0.25)), neighbours_a=("x",), overlay=True, novelty=1.5)
    facts = {"predicted": "pit", "confidence": 0.5, "class_a": "pit", "class_b": "crack", "batch": "lot 7"}
    (task_id,) = queue(ledger, "a", evidence=evidence, reason="confused_pair:pit|crack", **facts)
    task = tasks.task(ledger, task_id)
    assert task.evidence == evidence
    assert {name: getattr(task, name) for name in facts} == facts
    assert task.image_ids == (task.subject_id,)


def test_learn_tasks_that_nobody_has_can_be_withdrawn(ledger: Ledger, queue: Queue) -> None:
    held, free = queue(ledger, "ab", round_id="1")
    (hold,) = queue(ledger, "c", round_id="2", kind="hold")
    assert served(ledger, "ann", exclude=[free, hold]) == [held]
    assert tasks.withdraw(ledger, [held, free, hold], now=AT) == 1
    assert tasks.task(ledger, free).state == TaskState.WITHDRAWN


@pytest.mark.parametrize("case", ["learn", "hold, all due together", "read once by me"])
def test_ten_thousand_open_tasks_do_not_slow_serving(ledger: Ledger, say: Say, case: str) -> None:
    ids = [hashlib.sha256(f"{n}".encode()).hexdigest() for n in range(10_000)]
    facts = {"width": 1, "height": 1, "mode": "L", "bit_depth": 8, "format": "PNG", "size_bytes": 1}
    root = register_root(ledger, ledger.workspace.folder)
    add_images(
        ledger,
        [ImageRecord(image_id=i, uri=f"{root}/{i}", perceptual_hash=0, **facts) for i in ids],  # type: ignore[arg-type]
        [],
        "b",
    )
    claim = {"kind": "hold", "due_at": AT} if case.startswith("hold") else {}
    readings = 2 if case.startswith("read") else 1
    new = [
        NewTask(subject_id=i, reason="novelty", priority=n % 7, readings_required=readings, **claim)  # type: ignore[arg-type]
        for n, i in enumerate(ids)
    ]
    tasks.add_round(ledger, new, round_id="r", budget=None, **ROUND)  # type: ignore[arg-type]
    if readings == 2:
        for task_id in served(ledger, "ann", count=200):
            decide(ledger, "ann", say(task_id, "x"), now=AT)
    seconds = []
    for _ in range(15):
        began = time.thread_time()
        (task,) = serving.serve(ledger, "ann", now=AT)
        seconds.append(time.thread_time() - began)
        decide(ledger, "ann", say(task.task_id, "x"), now=AT)
    assert sorted(seconds)[7] < 0.02
