"""Somebody who goes on answering whatever happens to the server, and notes what they were told is saved."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Sequence

from playwright.sync_api import Error, sync_playwright

from tests.review_app.inspector import Inspector, Served, open_browser

_ANSWERED = re.compile(rb'"([0-9a-f]{8}-[0-9a-f-]{20,30})":\{"ok":(true|false)')
_OUTBOX = "() => Object.keys(sessionStorage).filter(k => k.startsWith('tailsight-outbox')).map(k => sessionStorage[k])"
WAIT_MS = 8_000
LOOKS_BEFORE_RELOAD = 5


class NotingInspector(Inspector):
    """Keeps what the server said of each request, and no pictures."""

    def __init__(self, *given: object, **settings: object) -> None:
        self.saved: set[str] = set()
        self.refused: set[str] = set()
        super().__init__(*given, **settings)

    def _frame(self, payload: bytes | str) -> None:
        content = payload.encode() if isinstance(payload, str) else payload
        for request_id, said in _ANSWERED.findall(content):
            (self.saved if said == b"true" else self.refused).add(request_id.decode())

    def on_the_way(self) -> list[dict[str, object]]:
        """The outbox: decisions that the browser keeps until the server has answered."""
        return [decision for text in self.page.evaluate(_OUTBOX) for decision in json.loads(text)]


class PatientInspector(threading.Thread):
    """Answers with random classes at an uneven pace, in a thread and a browser of its own.

    Args:
        server: where; it may be away for a while.
        name: who.
        keys: of the classes.
        pauses: seconds between two answers, one of them chosen each time.
        seed: of keys and pauses.
    """

    def __init__(self, server: Served, name: str, keys: Sequence[str], pauses: Sequence[float], seed: int) -> None:
        super().__init__(daemon=True)
        self.server, self.who, self.keys, self.pauses = server, name, keys, pauses
        self.chance = random.Random(seed)
        self.pressed: set[str] = set()
        self.saved: set[str] = set()
        self.refused: set[str] = set()
        self.answers = 0
        self.reloads = 0
        self.error: BaseException | None = None
        self._resting = threading.Event()
        self._ending = threading.Event()

    def rest(self) -> None:
        """Answer no more, but stay until everything is saved."""
        self._resting.set()

    def leave(self, seconds: float = 120) -> None:
        """Wait until everything is saved and close the browser; raises what went wrong."""
        self._resting.set()
        self._ending.set()
        self.join(seconds)
        assert not self.is_alive(), "something was never saved"
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        try:
            with sync_playwright() as driver:
                browser = open_browser(driver)
                inspector = NotingInspector(browser, self.server)
                self.saved, self.refused = inspector.saved, inspector.refused
                inspector.open()
                inspector.sign_in(self.who)
                self._work(inspector)
                browser.close()
        except BaseException as error:
            self.error = error

    def _work(self, inspector: NotingInspector) -> None:
        inspector.context.set_default_timeout(WAIT_MS)
        failures = 0
        while not (self._ending.is_set() and not inspector.on_the_way()):
            try:
                if self._resting.is_set():
                    inspector.page.wait_for_timeout(300)
                    continue
                inspector.wait_for_image()
                self._answer(inspector)
                failures = 0
            except Error:  # no image and no server for a while
                failures += 1
                if failures >= LOOKS_BEFORE_RELOAD:
                    self._load_again(inspector)
                    failures = 0

    def _answer(self, inspector: NotingInspector) -> None:
        visit = inspector.visit
        inspector.page.keyboard.press(self.chance.choice(self.keys))
        self.pressed |= {str(each["request_id"]) for each in inspector.on_the_way() if each.get("kind") == "answer"}
        inspector.wait_for_next(visit)
        self.answers += 1
        pause = time.monotonic() + self.chance.choice(self.pauses)
        while time.monotonic() < pause and not self._resting.is_set():
            inspector.page.wait_for_timeout(100)

    def _load_again(self, inspector: NotingInspector) -> None:
        """As a person does when nothing moves for long; the outbox outlives it."""
        self.reloads += 1
        try:
            inspector.page.goto(self.server.address)
        except Error:
            inspector.page.wait_for_timeout(1000)
