"""What can be seen from where: two metres away, without a mouse, in Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from data_contracts.ledger.approvals import request_promotion
from data_contracts.ledger.connect import Ledger
from data_contracts.review import roles
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer, TaskEvidence
from data_contracts.review.tasks import tasks_frame
from data_contracts.vocabulary import Action, Role
from data_contracts.workspace import Workspace
from review_app.texts import Language, Texts
from tests.review_app.conftest import Sit
from tests.review_app.line import CLASSES, add_overlays, add_pictures, add_tasks, simple_task
from tests.review_app.server import AppServer

Serve = Callable[[Workspace], AppServer]

WALL_SCREEN = {"width": 1920, "height": 1080}
READABLE_PX = 28
"""A capital of this type is 7 mm high on a 32-inch screen of 1920 pixels: 12 minutes of arc from two metres away."""

_FONT = "node => parseFloat(getComputedStyle(node).fontSize)"
_OUTLINE = """() => { let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  const style = getComputedStyle(node);
  return [node.className, style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth)]; }"""


def test_what_matters_can_be_read_two_metres_away_and_compared_without_scrolling(
    empty_site: Workspace, serve: Serve, sit: Sit
) -> None:
    image, *others = add_pictures(empty_site, 9)
    add_overlays(empty_site, [image])
    top = (("scratch", 0.48), ("pit", 0.37), ("good", 0.15))
    evidence = TaskEvidence(
        top=top, neighbours_a=tuple(others[:4]), neighbours_b=tuple(others[4:]), overlay=True, novelty=0.2
    )
    pair = {"reason": "confused_pair:scratch|pit", "class_a": "scratch", "class_b": "pit"}
    add_tasks(empty_site, [simple_task(image, 1, evidence=evidence, **pair)])
    ann = sit(serve(empty_site), viewport=WALL_SCREEN)
    sizes = {place: ann.page.locator(place).first.evaluate(_FONT) for place in (".class", ".verdict", ".why")}
    assert sizes[".class"] >= READABLE_PX
    assert sizes[".verdict"] >= READABLE_PX
    assert sizes[".why"] >= 0.9 * READABLE_PX
    expect(ann.page.locator(".why")).to_have_text("scratch or pit?")
    expect(ann.page.get_by_text("Distance")).to_have_count(
        0
    )  # a number that explains itself only where it is the reason
    for size in (WALL_SCREEN, {"width": 1440, "height": 900}):
        ann.page.set_viewport_size(size)
        pictures = ann.page.locator(".similar-class .thumb").all()
        assert len(pictures) == 8
        bottom = _bottom(ann.page.locator(".side"))
        assert all(_bottom(picture) <= bottom for picture in pictures), size
    seen = set()
    for _ in range(30):
        ann.page.keyboard.press("Tab")
        name, outline = ann.page.evaluate(_OUTLINE)
        if str(name).split(" ")[0] in {"class", "action", "tool", "side", "pick", "note"}:
            seen.add(str(name).split(" ")[0])
            assert outline >= 2, name
    assert {"class", "action", "tool", "side"} <= seen
    ann.page.keyboard.press("Escape")
    ann.page.locator("[data-test=note]").evaluate("node => node.blur()")
    ann.page.keyboard.press("c")
    expect(ann.page.locator("[data-certainty=sure]")).to_be_in_viewport(ratio=1)


@pytest.mark.slow
def test_five_screens_speak_chinese_and_nothing_else(site: Workspace, serve: Serve, sit: Sit) -> None:
    check = {"rule": "macro_f1", "passed": True, "value": 0.03, "bound": 0.01, "required": -0.02, "sentence": "English"}
    with Ledger.open(site) as ledger:
        roles.set_role(ledger, "Lea", Role.LEAD, by="Lea")
        first = tasks_frame(ledger)["task_id"].iloc[0]
        ann = Answer(task_id=first, request_id="1", action=Action.LABEL, label="pit", seconds_spent=4.0)
        decide(ledger, "Ann", ann)
        report = {"passed": True, "reasons": ["English"], "checks": [check]}
        request_promotion(ledger, model_version="4", gate_report=report, who="Ann", why="40")
    lea = sit(serve(site), "Lea", locale="zh-CN")
    texts = Texts(Language.CHINESE)
    names = {*CLASSES, "Lea", "Ann", "Tailsight", "UTC", "part", "serial", "monday", "png"}
    for screen in ("review", "batch", "disagreements", "progress", "audit"):
        lea.go_to(texts(f"app.{screen}"))
        if screen == "progress":
            expect(lea.page.get_by_text(texts("progress.approve"), exact=True)).to_be_visible()
        elif screen == "audit":
            lea.page.get_by_label(texts("audit.search")).fill("SN-00000")
            lea.page.keyboard.press("Enter")
            heads = lea.page.get_by_test_id("stTable").locator("th")
            expect(heads.first).to_have_text(texts("audit.number"))
            assert all(head.inner_text().strip() for head in heads.all())
        else:
            expect(lea.page.locator("[data-test=saved]")).to_contain_text(texts("canvas.all_saved"))
        parts = lea.page.locator("nav, .stMainBlockContainer").all()
        shown = " ".join(part.inner_text() for part in parts)
        words = {word for word in re.findall(r"[A-Za-z]{3,}", _words(shown)) if word not in names}
        assert words == set(), screen


def _words(text: str) -> str:
    """Without Streamlit's icons, which are English names in a font of pictures, and without ids of images."""
    icons = r"visibility|grid_view|balance|monitoring|manage_search|person|expand_more|keyboard_\w+"
    return re.sub(rf"\b({icons}|[0-9a-f]{{10,}})\b", "", text)


def _bottom(what: Locator) -> float:
    box = what.bounding_box()
    assert box is not None
    return box["y"] + box["height"]
