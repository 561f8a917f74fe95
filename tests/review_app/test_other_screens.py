"""Batch, Disagreements, Progress and Audit in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from data_contracts.ledger.approvals import request_promotion
from data_contracts.ledger.connect import Ledger
from data_contracts.vocabulary import Action
from data_contracts.workspace import Workspace
from tests.review_app.conftest import Sit
from tests.review_app.inspector import PATIENCE_MS, SETTLED_MS, events_of
from tests.review_app.line import add_disagreement, add_pictures, add_tasks, picture_of, simple_task
from tests.review_app.server import AppServer

Serve = Callable[[Workspace], AppServer]


def test_many_images_are_labelled_together_after_spot_checks_and_undone_together(
    empty_site: Workspace, serve: Serve, sit: Sit
) -> None:
    ids = add_pictures(empty_site, 12)
    add_tasks(empty_site, [simple_task(image_id, 1) for image_id in ids])
    ann = sit(serve(empty_site))
    ann.go_to("Batch")
    cells = ann.page.locator(".cell")
    expect(cells).to_have_count(12)
    ann.page.keyboard.press("a")
    expect(ann.page.locator("[data-test=selected]")).to_contain_text("12 of 12")
    ann.page.keyboard.press("2")
    for number in (1, 2):
        expect(ann.page.locator(".banner")).to_contain_text(f"Spot check {number} of 2")
        expect(ann.page.locator(".veil")).to_be_hidden(timeout=PATIENCE_MS)  # the large picture is on the screen
        ann.page.wait_for_timeout(SETTLED_MS)
        ann.page.keyboard.press("Enter")
    ann.wait_until_saved()
    said = events_of(empty_site)
    assert len(said) == 12
    assert {(e.action, e.label) for e in said} == {(Action.LABEL, "scratch")}
    ann.page.keyboard.press("z")
    expect(cells).to_have_count(12)
    ann.wait_until_saved()
    assert {e.undoes for e in events_of(empty_site)[12:]} == {e.event_id for e in said}


def test_an_adjudicator_sees_both_readings_and_settles_them_and_a_reader_sees_neither(
    empty_site: Workspace, serve: Serve, sit: Sit
) -> None:
    add_disagreement(empty_site)
    server = serve(empty_site)
    adi, cem = sit(server, None), sit(server, None)
    for inspector, name in ((adi, "Adi"), (cem, "Cem")):
        inspector.page.get_by_role("textbox").fill(name)
        inspector.page.keyboard.press("Enter")
        inspector.go_to("Disagreements")
    expect(cem.page.get_by_text("settled by adjudicators")).to_be_visible()
    expect(adi.page.locator(".reading")).to_have_count(2)
    adi.wait_for_image()
    adi.page.keyboard.press("4")
    adi.wait_until_saved()
    last = events_of(empty_site)[-1]
    assert (last.who, last.action, last.label) == ("Adi", Action.ADJUDICATE, "crack")


def test_a_lead_approves_a_waiting_promotion_with_a_reason(site: Workspace, serve: Serve, sit: Sit) -> None:
    with Ledger.open(site) as ledger:
        report = {"passed": True, "reasons": ["macro-F1 is 3 points better."]}
        request_promotion(ledger, model_version="4", gate_report=report, who="sensor", why="50 new labels")
    lea = sit(serve(site), "Lea")
    lea.go_to("Progress")
    expect(lea.page.get_by_text("macro-F1 is 3 points better.")).to_be_visible()
    lea.page.get_by_label("Why").fill("Looks right on the new lot")
    lea.page.keyboard.press("Tab")
    lea.page.get_by_role("button", name="Approve").click()
    expect(lea.page.get_by_text("No model waits for a decision.")).to_be_visible()
    with Ledger.open(site) as ledger:
        from data_contracts.ledger.approvals import approved_promotions

        (approval,) = approved_promotions(ledger)
    assert (approval.who, approval.why, approval.approved) == ("Lea", "Looks right on the new lot", True)


def test_the_history_of_an_image_is_found_by_its_serial_undo_included(site: Workspace, serve: Serve, sit: Sit) -> None:
    lea = sit(serve(site), "Lea")
    lea.answer("3")
    lea.wait_until_saved()
    lea.answer("z")
    lea.wait_until_saved()
    lea.go_to("Audit")
    lea.page.get_by_role("textbox", name="Find an image").fill("SN-00000")
    lea.page.keyboard.press("Enter")
    expect(lea.page.get_by_text("serial: SN-00000")).to_be_visible()
    expect(lea.page.get_by_test_id("stTable")).to_be_visible()
    expect(lea.page.get_by_text("Label that holds: none")).to_be_visible()


def test_sixteen_bits_are_shown_at_their_stored_depth(empty_site: Workspace, serve: Serve, sit: Sit) -> None:
    (image,) = add_pictures(empty_site, 1, size=256, deep=True)
    add_tasks(empty_site, [simple_task(image, 0)])
    ann = sit(serve(empty_site))
    readout = ann.page.locator(".readout")
    expect(readout).to_contain_text("16 bit")
    box = ann.page.locator(".stage-canvas").bounding_box()
    assert box is not None
    ann.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(readout).to_contain_text("=")
    match = re.search(r"\((\d+), (\d+)\) = (\d+)", readout.inner_text())
    assert match is not None
    x, y, value = map(int, match.groups())
    assert value == picture_of(0, "good", size=256, deep=True)[y, x, 0]
    before = readout.inner_text()
    ann.page.keyboard.press("]")
    ann.page.keyboard.press(".")
    assert readout.inner_text() != before
    ann.page.keyboard.press("p")
    expect(readout).to_contain_text("100 %")
