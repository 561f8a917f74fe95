"""What else readers, adjudicators and leads do at the screens, each to its end in the ledger (slow)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import history
from data_contracts.ledger.tables_review import SETTING_EVENT
from data_contracts.ledger.taxonomies import current_taxonomy, save_taxonomy
from data_contracts.review import roles
from data_contracts.review.records import TaskEvidence
from data_contracts.vocabulary import Action, SubjectKind
from data_contracts.workspace import Workspace
from tests.review_app.conftest import Sit
from tests.review_app.inspector import PATIENCE_MS, SETTLED_MS, Inspector, events_of
from tests.review_app.line import CLASSES, add_disagreement, add_pictures, add_tasks, picture_of, simple_task
from tests.review_app.server import AppServer

pytestmark = pytest.mark.slow

Serve = Callable[[Workspace], AppServer]

expect.set_options(timeout=PATIENCE_MS)

_DRAWN = """
async (node) => {
  const drawn = () => node.getContext('2d').getImageData(0, 0, node.width, node.height).data.some((value) => value > 0);
  for (let tries = 0; tries < 200 && !drawn(); tries++) await new Promise((later) => setTimeout(later, 50));
  return drawn();
}
"""


def test_the_screen_says_why_the_image_is_here_what_the_model_thinks_and_what_alike_images_were(
    empty_site: Workspace, serve: Serve, sit: Sit
) -> None:
    ids = add_pictures(empty_site, 5)
    evidence = TaskEvidence(
        top=(("pit", 0.48), ("crack", 0.41), ("good", 0.11)),
        neighbours_a=tuple(ids[1:3]),
        neighbours_b=tuple(ids[3:5]),
        label_on_file="crack",
    )
    task = {"reason": "confused_pair:pit|crack", "class_a": "pit", "class_b": "crack", "evidence": evidence}
    first = simple_task(ids[0], 0, **task, predicted="pit", confidence=0.48)
    add_tasks(empty_site, [first, simple_task(ids[1], 1)])
    ann = sit(serve(empty_site))
    side = ann.page.locator(".side")
    expect(side.get_by_text("pit or crack?")).to_be_visible()
    prediction = ann.page.locator("[data-test=prediction]")
    for said in ("48 %", "crack", "41 %", "good", "11 %"):
        expect(prediction).to_contain_text(said)
    for name in ("pit", "crack"):
        alike = side.get_by_role("img", name=name, exact=True)
        expect(alike).to_have_count(2)
        assert alike.first.evaluate(_DRAWN), "the alike image is drawn, not only framed"
    side.locator("summary").click()
    for meaning in CLASSES.values():
        expect(side.get_by_text(meaning)).to_be_visible()
    ann.answer("Enter")  # accepts, although the pointer was last on something else
    ann.wait_until_saved()
    (event,) = events_of(empty_site)
    assert (event.label, event.model_version, event.blind) == ("pit", "3", False)
    expect(side.get_by_text(CLASSES["pit"])).to_be_visible()  # still open beside the next image


def test_source_pixels_are_reached_and_the_view_is_moved_without_a_mouse(
    empty_site: Workspace, serve: Serve, sit: Sit
) -> None:
    (image,) = add_pictures(empty_site, 1, size=1600)
    add_tasks(empty_site, [simple_task(image, 0)])
    ann = sit(serve(empty_site))
    box = ann.page.locator(".stage-canvas").bounding_box()
    assert box is not None
    ann.page.mouse.move(box["x"] + 200, box["y"] + 200)

    def under_the_pointer() -> tuple[int, int]:
        found = re.search(r"\((\d+), (\d+)\) = (\d+)", ann.page.locator(".readout").inner_text())
        assert found is not None
        x, y, value = map(int, found.groups())
        assert abs(value - int(picture_of(0, "good", size=1600)[y, x, 0])) <= 12  # the copy is compressed
        return x, y

    ann.page.keyboard.press("p")
    expect(ann.page.locator(".readout")).to_contain_text("100 %")
    x, y = under_the_pointer()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        ann.page.keyboard.press(f"Shift+{key}")
    assert under_the_pointer() == (x + 60, y + 120)
    ann.page.keyboard.press("Shift+ArrowLeft")
    ann.page.keyboard.press("Shift+ArrowUp")
    assert under_the_pointer() == (x, y + 60)
    ann.page.keyboard.press("r")
    expect(ann.page.locator(".readout")).not_to_contain_text("100 %")
    assert events_of(empty_site) == [], "moving the view says nothing about the image"


def test_full_screen_keeps_image_keys_and_buttons(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site))
    ann.page.keyboard.press("f")
    ann.page.wait_for_function("document.fullscreenElement !== null")
    ann.wait_for_image()
    expect(ann.page.locator("[data-class=pit]")).to_be_visible()
    ann.answer("3")
    ann.wait_until_saved()
    ann.page.keyboard.press("f")
    ann.page.wait_for_function("document.fullscreenElement === null")
    assert [event.label for event in events_of(site)] == ["pit"]


def test_all_images_of_a_part_are_shown_together_and_get_one_decision(
    empty_site: Workspace, serve: Serve, sit: Sit
) -> None:
    ids = add_pictures(empty_site, 3, group=3)
    add_tasks(empty_site, [simple_task("part-0", 0, subject_kind=SubjectKind.GROUP)])
    ann = sit(serve(empty_site))
    strip = ann.page.locator(".strip-item")
    expect(strip).to_have_count(3)
    expect(ann.page.get_by_text("3 images, one decision")).to_be_visible()
    ann.page.keyboard.press("ArrowDown")
    expect(strip.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(ann.page.locator(".veil")).to_be_hidden()
    ann.page.wait_for_timeout(SETTLED_MS)
    ann.page.keyboard.press("4")
    expect(ann.page.locator("[data-test=last]")).to_contain_text("Saved: crack")
    with Ledger.open(empty_site) as ledger:
        (event,) = history(ledger, ids[2])
    assert (event.subject_kind, event.subject_id, event.label) == (SubjectKind.GROUP, "part-0", "crack")


def test_a_bad_image_may_be_described_in_own_words(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site))
    ann.page.keyboard.press("x")
    ann.page.get_by_label("Say more, if you like").fill("lamp 2 is out")
    ann.page.locator("[data-bad=too_dark]").click()
    ann.wait_until_saved()
    (event,) = events_of(site)
    assert (event.action, event.note) == (Action.BAD_IMAGE, "too_dark: lamp 2 is out")


def test_own_keys_outlive_the_page_and_the_sheet_shows_every_key(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site))
    ann.page.keyboard.press("?")
    sheet = ann.page.locator("[data-test=cheat-sheet]")
    expect(sheet).to_be_visible()
    for said in (
        "Accept",
        "Undo",
        "Back",
        "Skip",
        "Unsure",
        "Bad image",
        "Note",
        "How sure",
        "Full screen",
        "Move the",
    ):
        expect(sheet).to_contain_text(said)
    ann.page.locator("[data-remap=crack]").click()
    ann.page.keyboard.press("k")
    ann.page.keyboard.press("Escape")
    ann.page.reload()
    ann.wait_for_image()
    expect(ann.page.locator("[data-class=crack] .keycap")).to_have_text("K")
    ann.page.keyboard.press("4")  # the key that crack had
    ann.page.wait_for_timeout(SETTLED_MS)
    ann.answer("k")
    with Ledger.open(site) as ledger:
        save_taxonomy(ledger, current_taxonomy(ledger).extended(["dent"]), "engineer", "a new defect")
    ann.answer("3")
    expect(ann.page.locator("[data-class=crack] .keycap")).to_have_text("K")
    ann.answer("k")
    ann.wait_until_saved()
    assert [event.label for event in events_of(site)] == ["crack", "pit", "crack"]


def test_a_few_of_a_grid_are_chosen_by_keyboard_and_a_spot_check_takes_one_out(
    empty_site: Workspace, serve: Serve, sit: Sit
) -> None:
    ids = add_pictures(empty_site, 12)
    add_tasks(empty_site, [simple_task(image_id, 1) for image_id in ids])
    ann = sit(serve(empty_site))
    ann.go_to("Batch")
    expect(ann.page.locator(".cell")).to_have_count(12)
    ann.page.keyboard.press("Space")
    for _ in range(2):
        ann.page.keyboard.press("ArrowRight")
        ann.page.keyboard.press("Space")
    expect(ann.page.locator("[data-test=selected]")).to_contain_text("3 of 12")
    ann.page.keyboard.press("3")
    ann.wait_until_saved()
    assert [event.label for event in events_of(empty_site)] == ["pit"] * 3
    ann.page.keyboard.press("a")
    ann.page.keyboard.press("2")
    for key in ("Backspace", "Enter"):
        expect(ann.page.locator(".veil")).to_be_hidden()
        ann.page.wait_for_timeout(SETTLED_MS)
        ann.page.keyboard.press(key)
    ann.wait_until_saved()
    assert len(events_of(empty_site)) == 3 + 8, "the one that was taken out got no label"
    expect(ann.page.locator(".cell")).to_have_count(1)


def test_a_disagreement_goes_back_to_the_readers_who_read_it_anew(
    empty_site: Workspace, serve: Serve, sit: Sit
) -> None:
    add_disagreement(empty_site)
    server = serve(empty_site)
    adi = sit(server, None)
    enter(adi, "Adi")
    adi.go_to("Disagreements")
    adi.wait_for_image()
    adi.page.keyboard.press("b")
    adi.wait_until_saved()
    readings = events_of(empty_site)[:2]
    undone = events_of(empty_site)[2:]
    assert [(e.action, e.undoes) for e in undone] == [(Action.UNDO, e.event_id) for e in readings]
    for name in ("Ann", "Ben"):
        reader = sit(server, name)
        reader.page.keyboard.press("4")
        reader.wait_until_saved()
    assert [(e.who, e.label) for e in events_of(empty_site)[4:]] == [("Ann", "crack"), ("Ben", "crack")]


def test_a_lead_sees_personal_figures_only_after_enabling_that_on_record(
    site: Workspace, serve: Serve, sit: Sit
) -> None:
    with Ledger.open(site) as ledger:
        roles.sign_in(ledger, "Lea")
    server = serve(site)
    ann = sit(server, "Ann")
    ann.answer("2")
    ann.wait_until_saved()
    ann.go_to("Progress")
    expect(ann.page.get_by_text("Your own work")).to_be_visible()
    switch = "Let leads see personal pace and override rate"
    expect(ann.page.get_by_text(switch)).to_have_count(0)
    lea = sit(server, "Lea")
    lea.go_to("Progress")
    expect(lea.page.get_by_text("Leads cannot see personal figures.")).to_be_visible()
    expect(lea.page.get_by_text("Figures of")).to_have_count(0)
    lea.page.get_by_text(switch).click()
    expect(lea.page.get_by_text("Leads can see personal figures")).to_be_visible()
    expect(lea.page.get_by_text("Figures of")).to_be_visible()
    with Ledger.open(site) as ledger, ledger.reading() as connection:
        (row,) = connection.execute(select(SETTING_EVENT)).all()
    assert (row.who, row.name, row.value) == ("Lea", "personal_figures", "leads")


def test_an_image_is_found_by_file_serial_id_and_time(site: Workspace, serve: Serve, sit: Sit) -> None:
    lea = sit(serve(site), "Lea")
    lea.answer("3")
    lea.wait_until_saved()
    (event,) = events_of(site)
    lea.go_to("Audit")
    box = lea.page.get_by_role("textbox", name="Find an image")
    minute = datetime.now(UTC).strftime("%Y-%m-%d")
    for wanted in ("part-00000.png", "SN-00000", event.subject_id[:12], event.subject_id, minute):
        box.fill(wanted)
        box.press("Enter")
        expect(lea.page.get_by_text("serial: SN-00000")).to_be_visible()
        expect(lea.page.get_by_text("Label that holds: pit")).to_be_visible()
        box.fill("")
        box.press("Enter")
        expect(lea.page.get_by_text("serial: SN-00000")).to_have_count(0)
    box.fill("SN-99999")
    box.press("Enter")
    expect(lea.page.get_by_text("Nothing goes by “SN-99999”.")).to_be_visible()
    assert all(event.subject_id[:10] not in address and "SN-0" not in address for address in lea.requests)


def enter(inspector: Inspector, name: str) -> None:
    """Sign in where nothing may be waiting on the Review screen."""
    inspector.page.get_by_role("textbox").fill(name)
    inspector.page.keyboard.press("Enter")
    expect(inspector.page.get_by_role("link", name="Disagreements")).to_be_visible()
