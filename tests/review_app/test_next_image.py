"""How long the next image takes, and two inspectors at work for long, on a queue as large as they come (slow)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from data_contracts.display import DisplayCopies
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import add_images
from data_contracts.ledger.roots import register_root
from data_contracts.records import ImageRecord, Occurrence
from data_contracts.workspace import Workspace
from tests.review_app.conftest import Sit
from tests.review_app.inspector import Inspector, events_of, open_browser
from tests.review_app.line import CLASSES, add_tasks, make_site, picture_of, simple_task
from tests.review_app.server import AppServer

Serve = Callable[[Workspace], AppServer]

TASKS = 10_000
DRAWN = 24
SIDE = 1000
DECISIONS = 60
EACH = 200
MOST_MS = 150.0


def _large_line(folder: Path, count: int, side: int) -> Workspace:
    """``count`` images of ``side`` × ``side`` px; few are drawn, the others' copies are links to theirs."""
    workspace = make_site(folder)
    copies = DisplayCopies(workspace)
    names = [hashlib.sha256(f"large {number}".encode()).hexdigest() for number in range(count)]
    with Ledger.open(workspace) as ledger:
        root = register_root(ledger, workspace.folder)
        for number, image_id in enumerate(names):
            if number < DRAWN:
                picture = picture_of(number, list(CLASSES)[number % 4], size=side)
                copies.write_copies(image_id, picture, display_of=f"{root}/{number}.png")
                continue
            place = copies.folder(image_id)
            place.mkdir(parents=True)
            for file in copies.folder(names[number % DRAWN]).iterdir():
                os.link(file, place / file.name)
        records = [
            ImageRecord(
                image_id=image_id,
                uri=f"{root}/{number}.png",
                width=side,
                height=side,
                mode="L",
                bit_depth=8,
                format="PNG",
                size_bytes=side * side,
                perceptual_hash=number,
            )
            for number, image_id in enumerate(names)
        ]
        places = [
            Occurrence(image_id=image_id, root_id=root, path=f"{number}.png", size_bytes=1, modified_ns=1)
            for number, image_id in enumerate(names)
        ]
        add_images(ledger, records, places, "large")
    add_tasks(workspace, [simple_task(image_id, number) for number, image_id in enumerate(names)])
    return workspace


@pytest.mark.slow
def test_the_next_image_is_there_within_150_ms_on_a_queue_of_10_000(
    tmp_path: Path, serve: Serve, sit: Sit, capsys: pytest.CaptureFixture[str]
) -> None:
    site = _large_line(tmp_path / "large", TASKS, SIDE)
    ann = sit(serve(site))
    for number in range(DECISIONS):
        ann.answer(str(number % 4 + 1))
        ann.page.wait_for_timeout(250)
    ann.wait_until_saved()
    took = next_image_ms(ann)
    assert len(took) == DECISIONS
    high = _tell(capsys, f"next image of 1 megapixel, {TASKS} tasks", took)
    assert len(events_of(site)) == DECISIONS
    assert high <= MOST_MS


@pytest.mark.slow
def test_two_browsers_give_400_distinct_decisions_none_lost_or_doubled(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    site = _large_line(tmp_path / "large", 600, SIDE)
    server = serve(site)
    with ThreadPoolExecutor(2) as pool:
        sittings = [pool.submit(_label, server, name, EACH) for name in ("Ann", "Ben")]
        took = [each.result() for each in sittings]
    assert [len(each) for each in took] == [EACH, EACH], "an image that had to be waited for counts as well"
    _tell(capsys, "next image of 1 megapixel, two browsers", [*took[0], *took[1]])
    said = events_of(site)
    assert len(said) == 2 * EACH
    assert len({event.task_id for event in said}) == 2 * EACH
    assert sum(event.who == "Ann" for event in said) == EACH


def _label(server: AppServer, name: str, count: int) -> list[float]:
    """Answer ``count`` tasks in a browser of one's own; how long each next image took, in ms."""
    with sync_playwright() as driver:
        browser = open_browser(driver)
        inspector = Inspector(browser, server)
        inspector.open()
        inspector.sign_in(name)
        for number in range(count):
            inspector.answer(str(number % 4 + 1))
        inspector.wait_until_saved()
        took = next_image_ms(inspector)
        browser.close()
    return took


def next_image_ms(inspector: Inspector) -> list[float]:
    """How long each image took, from the key press to its being on the screen, as the browser measured it."""
    found = inspector.page.evaluate(
        "performance.getEntriesByName('tailsight-next-image').map((entry) => entry.duration)"
    )
    return [float(each) for each in found]


def _tell(capsys: pytest.CaptureFixture[str], what: str, took: list[float]) -> float:
    """Print median and 95th percentile; returns the latter."""
    middle, high = np.percentile(took, [50, 95])
    with capsys.disabled():
        print(f"\n{what}: median {middle:.0f} ms, p95 {high:.0f} ms, n {len(took)}")
    return float(high)
