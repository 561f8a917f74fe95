"""The desks without a browser: what is sent, what is kept, and what is answered to a request that comes twice."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data_contracts.errors import Refused
from data_contracts.review import roles, serving
from data_contracts.review.records import TaskEvidence
from data_contracts.vocabulary import Action, Role
from data_contracts.workspace import Workspace
from review_app.batch_desk import BatchDesk
from review_app.canvas.frame import Picture, decode_header, encode_frame
from review_app.desk import Desk
from review_app.dispute_desk import DisputeDesk
from review_app.review_desk import ReviewDesk
from review_app.service import CLASS_KEYS, ReviewService
from review_app.texts import Language, Texts
from tests.review_app.inspector import events_of
from tests.review_app.line import add_overlays, add_pictures, add_tasks, make_site, simple_task

ENGLISH = Texts(Language.ENGLISH)


@pytest.fixture
def service(site: Workspace) -> Iterator[ReviewService]:
    opened = ReviewService(site)
    roles.sign_in(opened.ledger, "Lea")  # the first is lead
    yield opened
    opened.close()


def set_read_first(site: Workspace) -> None:
    text = site.profile_path.read_text(encoding="utf-8")
    site.profile_path.write_text(text.replace("\nreview:\n", "\nreview:\n  read_first: true\n"), encoding="utf-8")
    assert site.profile.review.read_first


def look(desk: Desk) -> dict[str, Any]:
    """The header that the desk sends now."""
    return decode_header(desk.frame())


def ask(desk: Desk, **request: Any) -> dict[str, Any]:
    """Send one request and return its answer."""
    entry = {"request_id": uuid.uuid4().hex, **request}
    desk.receive({"desk": desk.name, "have": [], "want": [], "outbox": [entry]})
    answer: dict[str, Any] = look(desk)["answers"][entry["request_id"]]
    return answer


def say(desk: Desk, item: dict[str, Any], label: str | None, action: str = "label", **more: Any) -> dict[str, Any]:
    names = {"kind": "answer", "visit": item["visit"], "task_id": item["task_id"], "action": action, "label": label}
    return ask(desk, **{**names, **more})


def test_a_frame_is_read_as_it_was_written() -> None:
    frame = encode_frame({"a": "ä"}, [Picture("L:1", "image/png", b"123"), Picture("S:1", "image/webp", b"45")])
    header = decode_header(frame)
    body = frame[4 + struct.unpack_from("<I", frame)[0] :]
    assert header["a"] == "ä"
    assert [body[b["offset"] : b["offset"] + b["length"]] for b in header["blobs"]] == [b"123", b"45"]


def test_the_desk_holds_the_image_on_the_screen_and_the_next_three(service: ReviewService) -> None:
    header = look(ReviewDesk(service, "Ann", ENGLISH))
    assert len(header["queue"]) == 4
    assert len({item["visit"] for item in header["queue"]}) == 4
    assert {b["name"] for b in header["blobs"]} == {i["name"] for item in header["queue"] for i in item["images"]}
    assert header["progress"] == {"done": 0, "waiting": 24}
    assert [c["key"] for c in header["classes"]] == list(CLASS_KEYS[:4])


def test_pictures_that_the_browser_has_are_not_sent_again(service: ReviewService) -> None:
    desk = ReviewDesk(service, "Ann", ENGLISH)
    first = look(desk)
    have = [b["name"] for b in first["blobs"]]
    desk.receive({"desk": desk.name, "have": have, "want": [], "outbox": []})
    assert look(desk)["blobs"] == []
    item = first["queue"][0]
    entry = {"kind": "answer", "request_id": "r1", "visit": item["visit"], "task_id": item["task_id"]}
    desk.receive({"desk": desk.name, "have": have, "outbox": [{**entry, "action": "label", "label": "pit"}]})
    second = look(desk)
    assert len(second["blobs"]) == 1
    assert second["blobs"][0]["name"] == second["queue"][3]["images"][0]["name"]


def test_whoever_asks_again_gets_an_answer_that_the_browser_cannot_take_for_the_old_one(service: ReviewService) -> None:
    desk = ReviewDesk(service, "Ann", ENGLISH)
    name = look(desk)["queue"][0]["images"][0]["name"]
    answers = set()
    for _ in range(2):
        desk.receive({"desk": desk.name, "have": [], "want": [name], "outbox": []})
        answers.add(desk.frame())
    assert len(answers) == 2


def test_a_request_that_comes_twice_is_kept_once_even_by_another_server(
    site: Workspace, service: ReviewService
) -> None:
    desk = ReviewDesk(service, "Ann", ENGLISH)
    item = look(desk)["queue"][0]
    entry = {"kind": "answer", "request_id": "r1", "visit": item["visit"], "task_id": item["task_id"]}
    message = {"desk": "review", "outbox": [{**entry, "action": "label", "label": "pit", "seconds": 1.5}]}
    desk.receive(message)
    desk.receive(message)
    restarted = ReviewDesk(service, "Ann", ENGLISH)
    restarted.receive(message)
    for one in (desk, restarted):
        assert look(one)["answers"]["r1"] == {"ok": True, "label": "pit"}
        assert item["task_id"] not in [i["task_id"] for i in look(one)["queue"]]
    assert len(events_of(site)) == 1


def test_an_answer_can_be_undone_after_the_server_was_restarted(site: Workspace, service: ReviewService) -> None:
    desk = ReviewDesk(service, "Ann", ENGLISH)
    item = look(desk)["queue"][0]
    assert say(desk, item, "pit")["ok"]
    restarted = ReviewDesk(service, "Ann", ENGLISH)
    look(restarted)
    assert ask(restarted, kind="undo", of_visit=None)["ok"]
    again = look(restarted)["queue"][0]
    assert (again["task_id"], again["undone"]) == (item["task_id"], True)
    assert [e.action for e in events_of(site)] == [Action.LABEL, Action.UNDO]
    assert not ask(restarted, kind="undo", of_visit=None)["ok"], "there is nothing left to take back"


def test_an_answer_whose_task_somebody_else_has_answered_is_refused_in_words(service: ReviewService) -> None:
    ann, ben = ReviewDesk(service, "Ann", ENGLISH), ReviewDesk(service, "Ben", ENGLISH)
    item = look(ann)["queue"][0]
    later = datetime.now(UTC) + timedelta(hours=1)
    serving.serve(service.ledger, "Ben", count=1, now=later)
    assert say(ben, item, "pit")["ok"]
    answer = say(ann, item, "good")
    assert not answer["ok"]
    assert "Not saved." in answer["what"]
    assert "Ben has answered this task" in answer["what"]
    assert item["visit"] not in [i["visit"] for i in look(ann)["queue"]]


def test_a_message_for_another_desk_changes_nothing(site: Workspace, service: ReviewService) -> None:
    desk = ReviewDesk(service, "Ann", ENGLISH)
    item = look(desk)["queue"][0]
    entry = {"kind": "answer", "request_id": "r1", "visit": item["visit"], "task_id": item["task_id"]}
    desk.receive({"desk": "disputes", "outbox": [{**entry, "action": "label", "label": "pit"}]})
    assert events_of(site) == []


def test_a_malformed_request_is_answered_and_keeps_nothing(site: Workspace, service: ReviewService) -> None:
    desk = ReviewDesk(service, "Ann", ENGLISH)
    item = look(desk)["queue"][0]
    assert not say(desk, item, "no such class")["ok"]
    assert not ask(desk, kind="answer", visit=item["visit"])["ok"]
    assert not say(desk, item, "pit", note="x" * 5000)["ok"]
    assert events_of(site) == []


def test_only_pictures_of_the_desk_are_sent_when_they_are_asked_for(service: ReviewService) -> None:
    desk = ReviewDesk(service, "Ann", ENGLISH)
    shown = {i["name"] for item in look(desk)["queue"] for i in item["images"]}
    others = [f"L:{task.subject_id}" for task in serving.serve(service.ledger, "Ben", count=3)]
    desk.receive({"desk": "review", "have": list(shown), "want": others, "outbox": []})
    assert look(desk)["blobs"] == []


@pytest.fixture
def blind_site(tmp_path: Path) -> Workspace:
    """Four blind tasks about alike images: audit, study, a second reading, and an ordinary one."""
    site = make_site(tmp_path / "blind")
    ids = add_pictures(site, 4)
    add_overlays(site, ids)
    rich = TaskEvidence(top=(("pit", 0.5),), neighbours_a=(ids[1],), overlay=True, novelty=3.0, label_on_file="pit")
    kinds: list[dict[str, object]] = [
        {"purpose": "audit", "reason": "random_audit"},
        {"purpose": "study", "reason": "random_audit"},
        {"reason": "conflict", "readings_required": 2, "kind": "hold", "due_at": datetime.now(UTC)},
        {"reason": "confused_pair:pit|crack", "class_a": "pit", "class_b": "crack", "batch": "monday"},
    ]
    add_tasks(site, [simple_task(i, 0, blind=True, evidence=rich, **k) for i, k in zip(ids, kinds, strict=True)])
    return site


@pytest.mark.parametrize("read_first", [False, True])
def test_audits_and_studies_cannot_be_told_from_other_blind_tasks(blind_site: Workspace, read_first: bool) -> None:
    if read_first:
        set_read_first(blind_site)
    service = ReviewService(blind_site)
    frame = ReviewDesk(service, "Ann", ENGLISH).frame()
    service.close()
    items = decode_header(frame)["queue"]
    assert len(items) == 4
    own = ("visit", "task_id", "ref", "images")
    assert len({str({k: v for k, v in item.items() if k not in own}) for item in items}) == 1
    assert len({str([sorted(i), i["overlay"], i["source"]]) for item in items for i in item["images"]}) == 1
    sent = frame[: 4 + struct.unpack_from("<I", frame)[0]].decode(errors="replace")
    queue = sent[sent.index('"queue"') : sent.index('"answers"')]
    for secret in ("audit", "study", "conflict", "confused", "monday", "hold", "pit", "0.5", '"O:', '"S:'):
        assert secret not in queue, secret


def test_a_blind_answer_is_recorded_as_blind_and_the_model_is_told_afterwards(blind_site: Workspace) -> None:
    service = ReviewService(blind_site)
    desk = ReviewDesk(service, "Ann", ENGLISH)
    item = look(desk)["queue"][0]
    answer = say(desk, item, "crack")
    assert answer["reveal"]["prediction"]["label"] == "good"
    assert answer["reveal"]["why"] is None
    assert ask(desk, kind="undo", of_visit=None)["ok"]
    again = look(desk)["queue"][0]
    assert again["task_id"] == item["task_id"]
    assert again["undone"]
    assert again["prediction"] is None
    assert say(desk, again, "good")["ok"]
    service.close()
    first, _, last = events_of(blind_site)
    assert (first.blind, first.model_version) == (True, None)
    assert (last.blind, last.model_version) == (False, "3"), "the model had been shown before this answer"


def test_read_first_locks_the_decision_then_shows_the_model_and_takes_one_second_event(
    site: Workspace, service: ReviewService
) -> None:
    set_read_first(site)
    desk = ReviewDesk(service, "Ann", ENGLISH)
    item = look(desk)["queue"][0]
    assert item["prediction"] is None
    answer = say(desk, item, "crack")
    assert answer["locked"]
    assert answer["reveal"]["prediction"]["label"] == "good"
    assert item["visit"] in [i["visit"] for i in look(desk)["queue"]], "the image stays until its reader goes on"
    assert say(desk, item, "good", kind="second")["ok"]
    assert item["visit"] not in [i["visit"] for i in look(desk)["queue"]]
    first, second = events_of(site)
    assert (first.label, first.blind, second.label, second.blind) == ("crack", True, "good", False)
    assert ask(desk, kind="undo", of_visit=None)["ok"]
    assert [e.undoes for e in events_of(site)[2:]] == [first.event_id, second.event_id]


def test_a_batch_is_labelled_together_and_undone_together(site: Workspace, service: ReviewService) -> None:
    desk = BatchDesk(service, "Ann", ENGLISH, "scratch")
    header = look(desk)
    assert len(header["queue"]) == 6
    assert {b["name"][0] for b in header["blobs"]} == {"S"}, "large pictures come when they are asked for"
    chosen = [{"visit": item["visit"], "task_id": item["task_id"]} for item in header["queue"][:4]]
    answer = ask(desk, kind="batch", label="scratch", tasks=chosen, spot_checked=2)
    assert answer["count"] == 4
    said = events_of(site)
    assert {(e.action, e.label) for e in said} == {(Action.LABEL, "scratch")}
    assert {e.note for e in said} == {"labelled together with 3 others, 2 of them looked at closely"}
    assert ask(desk, kind="undo", of_visit=None)["count"] == 4
    assert {e.undoes for e in events_of(site)[4:]} == {e.event_id for e in said}
    assert len(look(desk)["queue"]) == 6


def test_differing_readings_are_settled_by_an_adjudicator_and_by_nobody_else(empty_site: Workspace) -> None:
    (image,) = add_pictures(empty_site, 1)
    add_tasks(empty_site, [simple_task(image, 0, readings_required=2, blind=True)])
    service = ReviewService(empty_site)
    roles.sign_in(service.ledger, "Lea")
    roles.set_role(service.ledger, "Adi", Role.ADJUDICATOR, by="Lea")
    for who, label in (("Ann", "pit"), ("Ben", "crack")):
        desk = ReviewDesk(service, who, ENGLISH)
        assert say(desk, look(desk)["queue"][0], label)["ok"]
    dispute = DisputeDesk(service, "Adi", ENGLISH)
    item = look(dispute)["queue"][0]
    assert [(r["who"], r["label"]) for r in item["readings"]] == [("Ann", "pit"), ("Ben", "crack")]
    assert item["prediction"] is None, "a blind task is adjudicated blind"
    with pytest.raises(Refused):
        say(DisputeDesk(service, "Ann", ENGLISH), item, "pit")
    assert [e.who for e in events_of(empty_site)] == ["Ann", "Ben"], "a reader neither settles a dispute nor sees it"
    assert say(dispute, item, "crack")["ok"]
    assert look(dispute)["queue"] == []
    assert ask(dispute, kind="undo", of_visit=None)["ok"]
    assert say(dispute, look(dispute)["queue"][0], None, "return")["ok"]
    assert look(ReviewDesk(service, "Ben", ENGLISH))["queue"][0]["task_id"] == item["task_id"]
    service.close()
    assert [e.action for e in events_of(empty_site)] == [
        Action.LABEL,
        Action.LABEL,
        Action.ADJUDICATE,
        Action.UNDO,
        Action.UNDO,
        Action.UNDO,
    ]


def test_a_reader_takes_an_own_reading_back_and_what_is_settled_stays_settled(empty_site: Workspace) -> None:
    (image,) = add_pictures(empty_site, 1)
    add_tasks(empty_site, [simple_task(image, 0, readings_required=2, blind=True)])
    service = ReviewService(empty_site)
    roles.sign_in(service.ledger, "Lea")
    for who, label in (("Ann", "pit"), ("Ben", "crack")):
        desk = ReviewDesk(service, who, ENGLISH)
        assert say(desk, look(desk)["queue"][0], label)["ok"]
    dispute = DisputeDesk(service, "Lea", ENGLISH)
    assert say(dispute, look(dispute)["queue"][0], "crack")["ok"]
    reader = ReviewDesk(service, "Ann", ENGLISH)
    assert ask(reader, kind="undo", of_visit=None)["ok"]
    assert look(reader)["queue"] == look(dispute)["queue"] == []
    service.close()
    first, _, settled, undone = events_of(empty_site)
    assert (settled.who, settled.action) == ("Lea", Action.ADJUDICATE)
    assert (undone.who, undone.undoes) == ("Ann", first.event_id)


def test_the_service_and_the_desks_do_not_import_streamlit() -> None:
    import subprocess
    import sys

    modules = "review_app.service, review_app.review_desk, review_app.batch_desk, review_app.dispute_desk"
    check = f"import sys; import {modules}; sys.exit('streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
