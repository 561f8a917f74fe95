"""Somebody at a browser: what they press and what they see."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

from playwright.sync_api import Browser, Locator, Playwright, expect

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import events_frame, history
from data_contracts.ledger.verify import verify_chain
from data_contracts.records import LabelEvent
from data_contracts.workspace import Workspace

DEBIAN_CHROMIUM = Path("/usr/bin/chromium")

SETTLED_MS = 190
"""A little more than a press must wait after a new image."""

PATIENCE_MS = 40_000
expect.set_options(timeout=PATIENCE_MS)  # five seconds are too few where other tests run beside this one


class Served(Protocol):
    """Whatever serves the app."""

    @property
    def address(self) -> str: ...


def open_browser(driver: Playwright) -> Browser:
    """Debian's Chromium where it is installed, else Playwright's own."""
    path = str(DEBIAN_CHROMIUM) if DEBIAN_CHROMIUM.exists() else None
    return driver.chromium.launch(executable_path=path, args=["--no-sandbox"])


class Inspector:
    """A browser context of its own: its own cookies, storage and window."""

    def __init__(self, browser: Browser, server: Served, **settings: Any) -> None:
        options: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}, "locale": "en-GB"} | settings
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.server = server
        self.requests: list[str] = []
        self.received: list[bytes] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._frame))

    def _frame(self, payload: bytes | str) -> None:
        self.received.append(payload.encode() if isinstance(payload, str) else payload)

    def open(self) -> None:
        self.page.goto(self.server.address)

    def sign_in(self, name: str) -> None:
        self.page.get_by_role("textbox").fill(name)
        self.page.keyboard.press("Enter")
        self.wait_for_image()

    def go_to(self, screen: str) -> None:
        self.page.get_by_role("link", name=screen).click()

    @property
    def canvas(self) -> Locator:
        return self.page.locator("[data-test=canvas]")

    @property
    def visit(self) -> str:
        return self.canvas.get_attribute("data-visit") or ""

    @property
    def flash(self) -> Locator:
        return self.page.locator(".flash")

    def wait_for_image(self) -> None:
        self.page.wait_for_function(_SHOWN)
        self.page.wait_for_timeout(SETTLED_MS)

    def wait_for_next(self, visit: str) -> None:
        """Until another image than ``visit`` is on the screen, and a moment longer."""
        self.page.wait_for_function(_SHOWS_ANOTHER, arg=visit)
        self.page.wait_for_timeout(SETTLED_MS)

    def answer(self, key: str) -> None:
        """Press a key that brings the next image, and wait for it."""
        visit = self.visit
        self.page.keyboard.press(key)
        self.wait_for_next(visit)

    def wait_until_saved(self) -> None:
        expect(self.page.locator("[data-test=saved]")).to_have_attribute("data-state", "saved", timeout=PATIENCE_MS)
        time.sleep(0.05)


_FIND = """
const find = (root) => {
  for (const node of root.querySelectorAll('*')) {
    if (node.matches('[data-test=canvas]')) return node;
    if (node.shadowRoot) { const inside = find(node.shadowRoot); if (inside) return inside; }
  }
  return null;
};
"""
_SHOWN = f"() => {{ {_FIND} return Boolean(find(document)?.dataset.visit); }}"
_SHOWS_ANOTHER = f"(visit) => {{ {_FIND} const now = find(document)?.dataset.visit; return now && now !== visit; }}"


def events_of(workspace: Workspace) -> list[LabelEvent]:
    """Every label event, in order; the ledger is verified on the way."""
    with Ledger.open(workspace) as ledger:
        assert verify_chain(ledger).ok
        frame = events_frame(ledger)
        found = {e.event_id: e for subject in frame["subject_id"].unique() for e in history(ledger, subject)}
    return sorted(found.values(), key=lambda event: event.sequence)
