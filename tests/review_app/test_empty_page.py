"""A canvas's message that arrives after its page was left: the browser clears the page, and must get it again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from data_contracts.workspace import Workspace
from tests.review_app.conftest import Serve, Sit
from tests.review_app.inspector import Inspector, events_of
from tests.review_app.provider import Provider
from tests.review_app.signing_in import set_up, sign_in, sign_out

REMEMBERS_MESSAGES = """
const send = WebSocket.prototype.send;
window.sent = [];
WebSocket.prototype.send = function (data) { send.call(this, data); window.sent.push(() => send.call(this, data)); };
"""
SLOW_PAGES = """
import time
from review_app import sign_in
from review_app.screens import progress

def slowly(show):
    def shown(*given):
        time.sleep(0.4)
        return show(*given)
    return shown

sign_in.show, progress.show = slowly(sign_in.show), slowly(progress.show)
"""
"""The moment in which the page changes is long enough for a message to fall into it, on any machine."""

PATIENCE_S = 40


@pytest.fixture
def slow_pages(tmp_path: Path) -> Path:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SLOW_PAGES, encoding="utf-8")
    return folder


def messages_sent(page: Page) -> int:
    """How many messages the page has sent so far."""
    return int(page.evaluate("window.sent.length"))


def speak_on(page: Page, since: int, until: int | None = None) -> None:
    """From now on these messages reach the server again and again, a hundred times a second."""
    end = "undefined" if until is None else until
    page.evaluate(f"window.speaking = setInterval(() => window.sent.slice({since}, {end}).forEach((say) => say()), 10)")


def until_one_was_late(inspector: Inspector, page: Page) -> None:
    """Wait until the server was asked for a canvas whose page is gone, and the browser had time to clear its page."""
    deadline = time.monotonic() + PATIENCE_S
    while "Couldn't find fragment" not in inspector.server.log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, "no message came late: this test tests nothing"
        page.wait_for_timeout(50)
    page.evaluate("clearInterval(window.speaking)")
    page.wait_for_timeout(300)


def test_a_page_is_there_though_the_canvas_of_the_last_one_still_speaks(
    site: Workspace, serve: Serve, sit: Sit, slow_pages: Path
) -> None:
    ann = sit(serve(site, slow_pages), None)
    ann.page.add_init_script(REMEMBERS_MESSAGES)
    ann.page.reload()
    ann.sign_in("Ann")
    before = messages_sent(ann.page)
    ann.answer("2")
    ann.wait_until_saved()
    after = messages_sent(ann.page)
    speak_on(ann.page, before, after)
    ann.go_to("Progress")
    until_one_was_late(ann, ann.page)
    expect(ann.page.get_by_role("heading", name="Per class")).to_be_visible()
    assert [event.label for event in events_of(site)] == ["scratch"], "said twice, labelled once"
    assert not ann.errors


def test_a_tab_asks_to_sign_in_though_its_canvas_still_speaks(
    site: Workspace, serve: Serve, sit: Sit, slow_pages: Path, provider: Provider
) -> None:
    set_up(site, provider)
    ann = sit(serve(site, slow_pages), None)
    sign_in(ann, "ann")
    ann.wait_for_image()
    first, other = ann.page, ann.page.context.new_page()
    ann.page = other
    other.add_init_script(REMEMBERS_MESSAGES)
    other.goto(ann.server.address)
    ann.wait_for_image()
    ann.page = first
    with first.expect_response(lambda answer: answer.url.startswith(f"{provider.issuer}/end")):
        sign_out(ann)
    expect(first.get_by_text("Sign in to review images")).to_be_visible()
    ann.page = other
    speak_on(other, messages_sent(other))
    other.keyboard.press("3")
    until_one_was_late(ann, other)
    expect(other.get_by_text("Sign in to review images")).to_be_visible()
    assert events_of(site) == []
