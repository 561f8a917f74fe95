"""What readers must not see before they answer, and what is kept when they see it afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from data_contracts.display import DisplayCopies
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.records import NewLabelEvent
from data_contracts.review import roles, serving
from data_contracts.review.agreement import agreement_figures
from data_contracts.review.decide import decide
from data_contracts.review.progress_figures import progress_figures
from data_contracts.review.records import Answer, TaskEvidence
from data_contracts.vocabulary import Action, Source, SubjectKind
from data_contracts.workspace import Workspace
from review_app.audit_trail import trail_of
from review_app.service import ReviewService
from tests.review_app.conftest import Sit
from tests.review_app.inspector import PATIENCE_MS, Inspector, events_of
from tests.review_app.line import CLASSES, add_overlays, add_pictures, add_tasks, picture_of, simple_task
from tests.review_app.server import AppServer

Serve = Callable[[Workspace], AppServer]

expect.set_options(timeout=PATIENCE_MS)

TASKS = 5

_MARKUP = """
(node) => {
  const copy = node.cloneNode(true);
  for (const part of copy.querySelectorAll('.progress, .last, .flash')) part.remove(); // counts, the last answer
  return copy.outerHTML;
}
"""


def set_read_first(site: Workspace) -> None:
    text = site.profile_path.read_text(encoding="utf-8")
    site.profile_path.write_text(text.replace("\nreview:\n", "\nreview:\n  read_first: true\n"), encoding="utf-8")
    assert site.profile.review.read_first


def add_blind_tasks(site: Workspace) -> list[str]:
    """Ordinary blind tasks, an audit and a study, about pictures that are the same bit for bit."""
    ids = add_pictures(site, TASKS)
    copies = DisplayCopies(site)
    for number, image_id in enumerate(ids):
        copies.write_copies(image_id, picture_of(0, "good"), display_of=f"line/part-{number:05d}.png")
    add_overlays(site, ids)
    rich = TaskEvidence(top=(("pit", 0.5),), neighbours_a=(ids[1],), overlay=True, novelty=3.0, label_on_file="pit")
    kinds: list[dict[str, object]] = [
        {"reason": "confused_pair:pit|crack", "class_a": "pit", "class_b": "crack", "evidence": rich},
        {"purpose": "audit", "reason": "random_audit", "confidence": 0.999},
        {"purpose": "study", "reason": "random_audit", "confidence": 0.97, "batch": "monday"},
        {"reason": "suspect_label", "readings_required": 2, "kind": "hold", "due_at": datetime.now(UTC)},
        {"reason": "rare_class"},
    ]
    fields = zip(ids, kinds, strict=True)
    add_tasks(site, [simple_task(i, n, blind=True, **kind) for n, (i, kind) in enumerate(fields)])
    return ids


def headers(received: list[bytes]) -> Iterator[dict[str, Any]]:
    """What the server told the canvas, message by message, read from the socket's own bytes."""
    for payload in received:
        for start in re.finditer(rb'\{"mode":"review"', payload):
            text = payload[start.start() :].decode("utf-8", errors="replace")
            yield json.JSONDecoder().raw_decode(text)[0]


def answer_all(reader: Inspector, count: int) -> list[tuple[str, ...]]:
    """Answer ``count`` tasks; what could be seen of each before its answer: markup, title, address."""
    seen = []
    for number in range(count):
        reader.wait_until_saved()
        expect(reader.flash).to_be_hidden()
        markup = re.sub(r"\b[0-9a-f]{10,64}\b", "some-id", reader.canvas.evaluate(_MARKUP))
        seen.append((markup, reader.page.title(), reader.page.url))
        if number == count - 1:
            reader.page.keyboard.press("1")
        else:
            reader.answer("1")
    reader.wait_until_saved()
    return seen


def test_a_browser_that_tries_cannot_tell_an_audit_from_another_blind_task(
    empty_site: Workspace, serve: Serve, sit: Sit
) -> None:
    add_blind_tasks(empty_site)
    with Ledger.open(empty_site) as ledger:
        roles.sign_in(ledger, "Lea")
    ann = sit(serve(empty_site))
    ann.page.keyboard.press("Enter")
    expect(ann.flash).to_contain_text("suggestion is hidden")
    seen = answer_all(ann, TASKS)
    assert len(set(seen[1:])) == 1, "what the page holds is the same for all, once there is something to undo"

    items: dict[str, tuple[str, int]] = {}
    replies: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for header in headers(ann.received):
        sizes |= {blob["name"]: blob["length"] for blob in header["blobs"]}
        for item in header["queue"]:
            own = ("visit", "task_id", "ref", "images")
            rest = json.dumps({name: value for name, value in item.items() if name not in own}, sort_keys=True)
            items[item["task_id"]] = (rest, len(json.dumps(item)))
        for request, reply in header["answers"].items():
            assert reply["ok"]
            reply["reveal"]["prediction"]["label"] = "…"
            replies[request] = json.dumps(reply, sort_keys=True)
    assert len(items) == len(replies) == len(sizes) == TASKS
    assert len(set(items.values())) == 1, "of every task the same is sent, in as many bytes"
    assert len(set(sizes.values())) == 1
    assert len(set(replies.values())) == 1, "and no answer says afterwards which it was"
    sent = b"".join(ann.received)
    for secret in (b"random_audit", b'"purpose"', b'"study"', b"suspect_label", b"confused_pair", b"monday", b"0.999"):
        assert secret not in sent
    stored = ann.page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])")
    assert not re.search("audit|study|confus|suspect|monday", stored)
    assert all(event.blind for event in events_of(empty_site))


def test_no_other_screen_tells_an_audit_either(empty_site: Workspace) -> None:
    ids = add_blind_tasks(empty_site)
    service = ReviewService(empty_site)
    ledger, profile = service.ledger, empty_site.profile
    for who in ("Lea", "Ann"):  # the first is lead
        roles.sign_in(ledger, who)
    waiting = {
        who: sum(c.waiting for c in progress_figures(ledger, profile, who=who).per_class) for who in ("Lea", "Ann")
    }
    assert waiting == {"Lea": TASKS, "Ann": 0}, "counts by predicted class would tell what the model says"
    for task in serving.serve(ledger, "Ann", count=TASKS):
        decide(ledger, "Ann", Answer(task_id=task.task_id, request_id=task.task_id, action=Action.LABEL, label="pit"))
    told = {json.dumps([e.facts for e in trail_of(service, "Ann", i).story.entries if e.kind == "queued"]) for i in ids}
    assert told == {'[{"blind": true, "reason": null}]'}
    for_lead = {e.facts["reason"] for i in ids for e in trail_of(service, "Lea", i).story.entries if e.kind == "queued"}
    assert "random_audit" in for_lead
    service.close()


def truth(image_id: str, label: str) -> NewLabelEvent:
    """What a teardown of the part showed."""
    return NewLabelEvent(
        who="teardown",
        subject_kind=SubjectKind.IMAGE,
        subject_id=image_id,
        action=Action.IMPORT,
        label=label,
        source=Source.REFERENCE,
    )


def test_read_first_locks_the_decision_shows_the_model_and_counts_what_that_changed(
    site: Workspace, serve: Serve, sit: Sit
) -> None:
    set_read_first(site)
    ann = sit(serve(site))
    card = ann.page.locator("[data-test=prediction]")
    ids = []

    def read(key: str) -> None:
        """Answer, and see what the model thinks of the very same image."""
        visit = ann.visit
        expect(card).to_have_count(0)
        expect(ann.page.get_by_text("Hidden until your answer is saved.")).to_be_visible()
        ann.page.keyboard.press(key)
        expect(card).to_be_visible()
        ann.wait_until_saved()
        assert ann.visit == visit
        event = events_of(site)[-1]
        assert (event.label, event.blind, event.model_version) == (list(CLASSES)[int(key) - 1], True, None)
        ids.append(event.subject_id)

    assert b'"confidence"' not in b"".join(ann.received).replace(b'"confidence":null', b"")
    read("4")  # the model says good
    expect(card).to_contain_text("62 %")
    ann.answer("1")
    read("2")  # the model says scratch too: kept
    ann.answer("Enter")
    read("3")
    ann.answer("4")
    ann.wait_until_saved()
    said = events_of(site)
    assert [(e.label, e.blind, e.model_version) for e in said] == [
        ("crack", True, None),
        ("good", False, "3"),
        ("scratch", True, None),
        ("pit", True, None),
        ("crack", False, "3"),
    ]

    here = ann.visit
    ann.answer("ArrowLeft")
    ann.answer("2")  # a locked decision is changed in the open only: both answers are taken back, and a third is given
    ann.wait_until_saved()
    assert ann.visit == here
    changed = events_of(site)[5:]
    assert [(e.action, e.label, e.undoes) for e in changed] == [
        (Action.UNDO, None, said[3].event_id),
        (Action.UNDO, None, said[4].event_id),
        (Action.LABEL, "scratch", None),
    ]
    assert (changed[2].subject_id, changed[2].blind) == (ids[2], False), "the model had been seen"

    read("1")
    ann.answer("4")
    ann.wait_until_saved()
    with Ledger.open(site) as ledger:
        append_events(ledger, [truth(ids[0], "good"), truth(ids[3], "good")])
        figures = agreement_figures(ledger)
    assert (figures.second_events, figures.changed, figures.wrong_to_right, figures.right_to_wrong) == (2, 2, 1, 1)
    ann.go_to("Progress")
    metrics = ann.page.get_by_test_id("stMetric")
    expect(metrics.filter(has_text="Wrong answers changed to right ones")).to_contain_text("1")
    expect(metrics.filter(has_text="Right answers changed to wrong ones")).to_contain_text("1")
    assert not ann.errors


@pytest.mark.slow
def test_a_locked_decision_stays_locked_through_a_reload_and_a_killed_server(
    site: Workspace, serve: Serve, sit: Sit
) -> None:
    set_read_first(site)
    server = serve(site)
    ann = sit(server)
    card = ann.page.locator("[data-test=prediction]")
    ann.page.keyboard.press("4")
    expect(card).to_be_visible()
    ann.wait_until_saved()
    server.kill()
    server.start()
    ann.wait_until_saved()
    ann.page.keyboard.press("1")  # the model is still on the screen: a second event, as such
    ann.wait_until_saved()
    first, second = events_of(site)
    assert [(e.label, e.blind) for e in (first, second)] == [("crack", True), ("good", False)]
    assert first.subject_id == second.subject_id
    ann.wait_for_image()
    ann.page.keyboard.press("3")
    expect(card).to_be_visible()
    ann.page.reload()
    ann.wait_for_image()
    expect(card).to_have_count(0)
    ann.answer("z")  # back to the image whose model was seen
    ann.wait_until_saved()
    *_, third, undone = events_of(site)
    assert (undone.action, undone.undoes) == (Action.UNDO, third.event_id)
    assert datetime.now(UTC) - undone.at < timedelta(minutes=5)
