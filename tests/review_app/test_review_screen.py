"""The Review screen in a real browser; what the ledger holds afterwards is what counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, expect

from data_contracts.ledger.connect import Ledger
from data_contracts.review import serving, tasks
from data_contracts.vocabulary import Action, Source, TaskState
from data_contracts.workspace import Workspace
from tests.review_app.conftest import Sit
from tests.review_app.inspector import events_of
from tests.review_app.line import CLASSES
from tests.review_app.server import AppServer

Serve = Callable[[Workspace], AppServer]


def _subjects_in_order(site: Workspace) -> list[str]:
    with Ledger.open(site) as ledger:
        frame = tasks.tasks_frame(ledger).sort_values("priority", ascending=False)
    return list(frame["subject_id"])


def test_ten_images_are_labelled_by_keyboard_and_two_are_undone(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site))
    keys = ["1", "2", "3", "4", "Enter", "2", "3", "4", "1", "2"]
    for key in keys:
        ann.answer(key)
    ann.wait_until_saved()
    ann.answer("z")
    ann.answer("z")
    ann.answer("3")
    ann.answer("4")
    ann.wait_until_saved()

    said = events_of(site)
    subjects = _subjects_in_order(site)
    names = list(CLASSES)
    labels = [names[int(key) - 1] if key.isdigit() else names[4 % 4] for key in keys]
    assert [(e.action, e.subject_id, e.label) for e in said[:10]] == [
        (Action.LABEL, subject, label) for subject, label in zip(subjects, labels, strict=False)
    ]
    assert [(e.action, e.undoes) for e in said[10:12]] == [
        (Action.UNDO, said[9].event_id),
        (Action.UNDO, said[8].event_id),
    ]
    assert [(e.action, e.subject_id, e.label) for e in said[12:]] == [
        (Action.LABEL, subjects[8], "pit"),
        (Action.LABEL, subjects[9], "crack"),
    ]
    assert {e.who for e in said} == {"Ann"}
    assert {e.source for e in said} == {Source.READER}
    assert {(e.model_version, e.blind) for e in said if e.action != Action.UNDO} == {("3", False)}
    assert all(e.seconds_spent is not None and 0 < e.seconds_spent < 60 for e in said if e.action != Action.UNDO)
    assert not ann.errors


def test_an_image_is_marked_bad_with_its_reason(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site))
    ann.page.keyboard.press("x")
    expect(ann.page.locator("[data-test=bad-dialog]")).to_be_visible()
    ann.answer("1")
    ann.wait_until_saved()
    (event,) = events_of(site)
    assert (event.action, event.label, event.note) == (Action.BAD_IMAGE, None, "blurred")


def test_unsure_and_skip_are_kept_as_such_with_note_and_certainty(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site))
    ann.page.keyboard.press("n")
    ann.page.keyboard.type("edge of the part, 3 mm")
    ann.page.keyboard.press("Escape")
    ann.page.keyboard.press("c")
    ann.answer("2")
    ann.answer("u")
    ann.answer("s")
    ann.wait_until_saved()
    first, second, third = events_of(site)
    assert (first.label, first.note, first.certainty) == ("scratch", "edge of the part, 3 mm", "sure")
    assert (second.action, second.note, third.action) == (Action.UNSURE, None, Action.SKIP)


def test_a_key_held_for_three_seconds_labels_one_image(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site))
    visit = ann.visit
    end = time.monotonic() + 3
    while time.monotonic() < end:
        ann.page.keyboard.down("2")  # the second and later ones are repeats, as a held key sends them
        ann.page.wait_for_timeout(30)
    ann.page.keyboard.up("2")
    ann.wait_for_next(visit)
    ann.wait_until_saved()
    (event,) = events_of(site)
    assert event.label == "scratch"


def test_the_second_of_two_fast_presses_is_refused_visibly_and_labels_nothing(
    site: Workspace, serve: Serve, sit: Sit
) -> None:
    ann = sit(serve(site))
    visit = ann.visit
    ann.page.keyboard.press("2")
    ann.page.keyboard.press("3")
    expect(ann.flash).to_be_visible()
    expect(ann.flash).to_contain_text("not used")
    ann.wait_for_next(visit)
    ann.wait_until_saved()
    (event,) = events_of(site)
    assert event.label == "scratch"
    ann.answer("3")
    ann.wait_until_saved()
    assert [e.label for e in events_of(site)] == ["scratch", "pit"]


def test_looking_back_changes_an_answer_and_keeps_both_on_record(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site))
    ann.answer("1")
    ann.answer("1")
    ann.wait_until_saved()
    here = ann.visit
    ann.answer("ArrowLeft")
    ann.answer("ArrowLeft")
    ann.answer("4")
    ann.wait_until_saved()
    assert ann.visit == here
    said = events_of(site)
    assert [(e.action, e.label) for e in said] == [
        (Action.LABEL, "good"),
        (Action.LABEL, "good"),
        (Action.UNDO, None),
        (Action.LABEL, "crack"),
    ]
    assert said[2].undoes == said[0].event_id
    assert said[3].subject_id == said[0].subject_id


def test_two_inspectors_at_the_same_time_never_get_the_same_image(site: Workspace, serve: Serve, sit: Sit) -> None:
    server = serve(site)
    ann, ben = sit(server, "Ann"), sit(server, "Ben")
    for _ in range(6):
        ann.answer("1")
        ben.answer("2")
    ann.wait_until_saved()
    ben.wait_until_saved()
    said = events_of(site)
    assert len(said) == 12
    assert len({e.task_id for e in said}) == 12
    assert {(e.who, e.label) for e in said} == {("Ann", "good"), ("Ben", "scratch")}


def test_after_sign_out_nothing_is_left_in_the_browser_and_the_tasks_are_free(
    site: Workspace, serve: Serve, sit: Sit
) -> None:
    ann = sit(serve(site))
    ann.answer("1")
    ann.wait_until_saved()
    ann.page.locator(".st-key-account button").click()
    ann.page.get_by_text("Sign out").click()
    expect(ann.page.get_by_text("Who is at this screen?")).to_be_visible()
    expect(ann.canvas).to_have_count(0)
    ann.page.wait_for_function("() => !document.cookie.includes('tailsight_person=Ann')")
    ann.page.reload()
    expect(ann.page.get_by_text("Who is at this screen?")).to_be_visible()
    assert ann.page.evaluate("sessionStorage.length") == 0 or "tailsight-outbox" not in ann.page.evaluate(
        "Object.keys(sessionStorage).join()"
    )
    with Ledger.open(site) as ledger:
        assert len(tasks.tasks_frame(ledger, [TaskState.LEASED])) == 0
        assert serving.waiting(ledger, "Ben") == 23


def test_a_server_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    site: Workspace, serve: Serve, sit: Sit
) -> None:
    server = serve(site)
    ann = sit(server)
    ann.answer("1")
    ann.answer("2")
    ann.wait_until_saved()
    server.kill()
    ann.answer("3")
    ann.answer("4")
    expect(ann.page.locator("[data-test=saved]")).to_have_attribute("data-state", "late")
    assert len(events_of(site)) == 2
    server.start()
    ann.wait_until_saved()
    ann.wait_for_image()
    ann.answer("1")
    ann.wait_until_saved()
    said = events_of(site)
    assert [e.label for e in said] == ["good", "scratch", "pit", "crack", "good"]
    assert [e.subject_id for e in said] == _subjects_in_order(site)[:5]
    assert {e.who for e in said} == {"Ann"}


def test_a_page_loaded_again_goes_on_where_it_was(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site))
    ann.answer("1")
    ann.page.keyboard.press("2")
    ann.page.reload()
    ann.wait_for_image()
    ann.wait_until_saved()
    ann.answer("3")
    ann.wait_until_saved()
    said = events_of(site)
    assert [e.subject_id for e in said] == _subjects_in_order(site)[:3]
    assert [e.label for e in said] == ["good", "scratch", "pit"]


def test_nothing_about_an_image_or_a_person_is_in_any_address(site: Workspace, serve: Serve, sit: Sit) -> None:
    name = "Zbigniew"  # in no file name of Streamlit's own, as Ann is in LiveAnnouncer
    reader = sit(serve(site), name)
    reader.answer("1")
    reader.wait_until_saved()
    assert {e.who for e in events_of(site)} == {name}
    subjects = _subjects_in_order(site)
    assert (reader.page.locator("link[rel='shortcut icon']").get_attribute("href") or "").startswith("data:image/png")
    assert reader.requests
    for address in reader.requests:
        assert address.startswith((reader.server.address, "blob:", "data:")), address
        assert not urlsplit(address).path.startswith("/media"), address  # Streamlit's fonts are in /static/media
        assert name not in address
        assert not any(subject[:10] in address for subject in subjects)
    log = reader.server.log.read_text()
    assert not any(subject[:10] in log for subject in subjects)


def test_a_class_keeps_its_key_when_another_is_added_and_a_person_may_change_it(
    site: Workspace, serve: Serve, sit: Sit
) -> None:
    from data_contracts.ledger.taxonomies import current_taxonomy, save_taxonomy

    ann = sit(serve(site))
    with Ledger.open(site) as ledger:
        save_taxonomy(ledger, current_taxonomy(ledger).extended(["dent"]), "engineer", "a new defect")
    ann.answer("2")
    ann.wait_until_saved()
    expect(ann.page.locator("[data-class=dent] .keycap")).to_have_text("5")
    expect(ann.page.locator("[data-class=scratch] .keycap")).to_have_text("2")
    ann.page.keyboard.press("?")
    ann.page.locator("[data-remap=dent]").click()
    ann.page.keyboard.press("2")
    expect(ann.page.locator("[data-test=cheat-sheet]")).to_contain_text("belongs to another class")
    ann.page.keyboard.press("d")
    ann.page.keyboard.press("Escape")
    expect(ann.page.locator("[data-class=dent] .keycap")).to_have_text("D")
    ann.answer("d")
    ann.wait_until_saved()
    assert [e.label for e in events_of(site)] == ["scratch", "dent"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_legible_in_light_and_dark(site: Workspace, serve: Serve, sit: Sit, scheme: str) -> None:
    ann = sit(serve(site), color_scheme=scheme)
    ratios = ann.page.evaluate(Path(__file__).with_name("contrast.js").read_text(encoding="utf-8"))
    assert ratios
    assert min(ratios.values()) >= 4.5, ratios
    assert ann.page.locator(".class").first.evaluate("node => parseFloat(getComputedStyle(node).fontSize)") >= 20


def test_a_narrow_window_shows_everything_without_scrolling_sideways(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site), viewport={"width": 390, "height": 844})
    assert ann.page.evaluate("document.documentElement.scrollWidth") <= 390
    _are_inside(ann.page.locator("[data-class], [data-action]").all(), 390, least=len(CLASSES) + 1)
    ann.page.keyboard.press("x")
    _are_inside(ann.page.locator("[data-bad]").all(), 390, least=2)
    ann.page.keyboard.press("Escape")
    ann.page.locator("[data-class=pit]").click()
    ann.wait_until_saved()
    assert [e.label for e in events_of(site)] == ["pit"]


def _are_inside(buttons: list[Locator], width: int, *, least: int) -> None:
    assert len(buttons) >= least
    for button in buttons:
        box = button.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_the_whole_screen_speaks_chinese(site: Workspace, serve: Serve, sit: Sit) -> None:
    ann = sit(serve(site), locale="zh-CN")
    expect(ann.page.locator("[data-test=saved]")).to_contain_text("全部已保存")
    ann.answer("2")
    ann.wait_until_saved()
    expect(ann.page.locator("[data-test=last]")).to_contain_text("已保存：scratch")
    shown = ann.page.locator("[data-test=canvas]").inner_text()
    assert "[" not in shown.replace("[ ]", "")
    assert not any(word in shown for word in ("Accept", "Skip", "waiting", "Why"))
    assert [e.label for e in events_of(site)] == ["scratch"]
