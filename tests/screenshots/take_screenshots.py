"""Take the README's pictures of the review app: a real browser at the real app, on a copy of the demo's workspace.

    make screenshots
    python -m tests.screenshots.take_screenshots --workspace demo-workspace-quick

The workspace is only read. On the copy a working day passes (``working_day``), ``tailsight review`` serves it, and
every screen is photographed in both languages, light and dark, in a window of fixed size.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console

from data_contracts.errors import TailsightError
from data_contracts.review.search import find_images
from data_contracts.workspace import Workspace
from pipelines.command_line.progress_bars import terminal_progress
from pipelines.demo_images import GRADES
from pipelines.steps.ledger import open_ledger
from review_app.texts import Language, Texts
from tests.review_app.inspector import SETTLED_MS, Inspector, open_browser
from tests.screenshots.working_day import LEAD, READERS, live_through, truth_of

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "review_app" / "pictures"
TAILSIGHT = Path(sys.executable).with_name("tailsight")

SCREENS = ("review", "batch", "disagreements", "progress", "audit")
THEMES = ("light", "dark")
EXTRAS = {(Language.ENGLISH, "light"), (Language.CHINESE, "dark")}
LOCALES = {Language.ENGLISH: "en-GB", Language.CHINESE: "zh-CN"}

WINDOW = {"width": 1440, "height": 900}
TALL = {"width": 1440, "height": 1800}
"""Progress is a page to scroll; its picture shows the whole of it."""
NARROW = {"width": 600, "height": 1000}

START_SECONDS = 90
QUIET_MS = 900
"""After everything has arrived: time for the last frame."""

NOTE = "Looked again with more contrast."
_THUMBS_DRAWN = "(canvases) => canvases.every((canvas) => canvas.width !== 64)"


@dataclass(frozen=True)
class App:
    """A running review app."""

    address: str


@dataclass
class Sitting:
    """The lead at a browser in one language and theme."""

    language: Language
    theme: str
    person: Inspector

    @property
    def texts(self) -> Texts:
        return Texts(self.language)

    @property
    def page(self) -> Page:
        return self.person.page

    @property
    def shows_extras(self) -> bool:
        """Overlay, keys and narrow window: once light, once dark, once in each language."""
        return (self.language, self.theme) in EXTRAS

    def open_screen(self, name: str) -> None:
        self.person.go_to(self.texts(f"app.{name}"))

    def settle(self) -> None:
        """Until all small pictures are drawn and nothing moves any more."""
        thumbs = self.page.locator("canvas.thumb")
        for _ in range(100):
            if thumbs.evaluate_all(_THUMBS_DRAWN):
                break
            self.page.wait_for_timeout(100)
        self.page.wait_for_timeout(QUIET_MS)

    def picture(self, name: str, folder: Path) -> None:
        """Save what the window shows as ``NAME-LANGUAGE-THEME.webp``."""
        self.settle()
        shown = self.page.screenshot(animations="disabled", caret="hide")
        path = folder / f"{name}-{self.language.value}-{self.theme}.webp"
        with Image.open(io.BytesIO(shown)) as image:
            image.convert("RGB").save(path, "WEBP", quality=88, method=6)
        print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB", file=sys.stderr)


def main() -> int:
    """Take all pictures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="take_screenshots", description="Take the README's pictures.")
    parser.add_argument("--workspace", type=Path, default=ROOT / "demo-workspace-quick", help="a demo's; only read")
    parser.add_argument("--out", type=Path, default=PICTURES, help="where the pictures go")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    progress = terminal_progress(Console(stderr=True))
    try:
        original = Workspace(given.workspace.resolve()).require()
        with tempfile.TemporaryDirectory(prefix="tailsight-pictures-") as scratch:
            workspace = Workspace(Path(shutil.copytree(original.folder, Path(scratch) / "line", symlinks=True)))
            truth = truth_of(workspace)
            live_through(workspace, truth, progress)
            with running_app(workspace) as app, a_browser() as browser:
                take_all(browser, app, workspace, truth, given.out)
    except TailsightError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def take_all(browser: Browser, app: App, workspace: Workspace, truth: Mapping[str, str], out: Path) -> None:
    """Every picture, screen by screen: all languages and themes see the same state of the queue."""
    wanted = change_ones_mind(browser, app, workspace, truth)
    sittings = [
        Sitting(language, theme, sit_down(browser, app, language, theme))
        for language, theme in product(Language, THEMES)
    ]
    try:
        for screen in SCREENS:
            for sitting in sittings:
                if screen != "review":
                    sitting.open_screen(screen)
                PREPARE[screen](sitting, wanted)
                sitting.picture(screen, out)
                if screen == "review" and sitting.shows_extras:
                    overlay_and_keys(sitting, out)
                sitting.page.set_viewport_size(WINDOW)
        for sitting in filter(lambda sitting: sitting.shows_extras, sittings):
            narrow(sitting, out)
    finally:
        for sitting in sittings:
            sitting.person.context.close()


def sit_down(browser: Browser, app: App, language: Language, theme: str, who: str = LEAD) -> Inspector:
    """Somebody signs in, in their language, on a machine with their theme."""
    settings = {"locale": LOCALES[language], "color_scheme": theme, "reduced_motion": "reduce", "viewport": WINDOW}
    person = Inspector(browser, app, **settings)
    person.open()
    person.sign_in(who)
    return person


def change_ones_mind(browser: Browser, app: App, workspace: Workspace, truth: Mapping[str, str]) -> str:
    """A reader answers an image, takes it back and answers anew; returns the file name of the image."""
    reader = sit_down(browser, app, Language.ENGLISH, "light", READERS[0])
    with open_ledger(workspace) as ledger:
        (image,) = find_images(ledger, reader.page.locator(".ref code").inner_text())
    grades = list(GRADES.values())
    right = grades.index(truth[image.image_id])
    keyboard = reader.page.keyboard
    reader.answer(str((right + 1) % len(grades) + 1))
    reader.wait_until_saved()
    reader.answer("z")
    reader.wait_until_saved()
    keyboard.press("n")
    keyboard.type(NOTE)
    keyboard.press("Escape")
    keyboard.press("c")
    reader.page.wait_for_timeout(SETTLED_MS)
    reader.answer(str(right + 1))
    reader.wait_until_saved()
    reader.context.close()
    return image.external_ids["file_name"][0]


def _review(sitting: Sitting, _wanted: str) -> None:
    sitting.person.wait_for_image()


def _batch(sitting: Sitting, _wanted: str) -> None:
    expect(sitting.page.locator(".cell").nth(8)).to_be_visible()
    sitting.settle()
    for key in (" ", "ArrowRight", " ", "ArrowRight", "ArrowRight", " ", "ArrowDown"):
        sitting.page.keyboard.press(key)


def _disagreements(sitting: Sitting, _wanted: str) -> None:
    expect(sitting.page.locator(".reading")).to_have_count(2)
    sitting.person.wait_for_image()


def _progress(sitting: Sitting, _wanted: str) -> None:
    sitting.page.set_viewport_size(TALL)
    expect(sitting.page.get_by_text(sitting.texts("progress.people"), exact=True)).to_be_visible()
    sitting.page.mouse.move(5, 880)


def _audit(sitting: Sitting, wanted: str) -> None:
    sitting.page.get_by_label(sitting.texts("audit.search")).fill(wanted)
    sitting.page.keyboard.press("Enter")
    expect(sitting.page.get_by_test_id("stTable")).to_be_visible()


PREPARE: dict[str, Callable[[Sitting, str], None]] = {
    "review": _review,
    "batch": _batch,
    "disagreements": _disagreements,
    "progress": _progress,
    "audit": _audit,
}


def overlay_and_keys(sitting: Sitting, out: Path) -> None:
    """The model's evidence over the image, and the sheet with all keys."""
    keyboard = sitting.page.keyboard
    keyboard.press("o")
    sitting.picture("overlay", out)
    keyboard.press("o")
    keyboard.press("?")
    sitting.picture("keys", out)
    keyboard.press("Escape")


def narrow(sitting: Sitting, out: Path) -> None:
    """Review in a narrow window."""
    sitting.open_screen("review")
    sitting.page.set_viewport_size(NARROW)
    sitting.person.wait_for_image()
    sitting.picture("narrow", out)


@contextmanager
def a_browser() -> Iterator[Browser]:
    """A browser without a window, closed at the end."""
    with sync_playwright() as driver:
        browser = open_browser(driver)
        yield browser
        browser.close()


@contextmanager
def running_app(workspace: Workspace) -> Iterator[App]:
    """The app, served as a user would serve it."""
    command = [str(TAILSIGHT), "--workspace", str(workspace.folder), "review", "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            raise TailsightError("The review app did not start.", remedy="Run `tailsight review` on the workspace.")
        yield App(json.loads(line)["address"])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
