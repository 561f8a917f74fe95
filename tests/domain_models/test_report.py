"""The report is one page that fetches nothing, and shows every text as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np

from data_contracts.profile import GateSettings, Limits
from data_contracts.review.agreement import AgreementFigures
from domain_models.calibration import softmax
from domain_models.gate import PairedPredictions, judge
from domain_models.metrics import evaluate
from domain_models.pictures import confusion_figure, png
from domain_models.report import Picture, ReportContent, Section, Table, Tile, render_report
from domain_models.report_sections import (
    evaluation_section,
    gate_section,
    headline_tiles,
    people_section,
    triage_section,
)
from domain_models.triage import fit_triage
from domain_models.triage_outcome import measure

NAMES = ["good", "<script>alert('x')</script>", "a & b \"quoted\" 'single'"]


class Page(HTMLParser):
    """What a browser would see: tags, addresses, text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset", "data")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def whole_report() -> str:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    logits = rng.normal(size=(600, 3))
    logits[np.arange(600), labels] += 2.5
    probabilities = softmax(logits)
    found = evaluate(probabilities, labels, NAMES, groups=np.arange(600) // 2, pass_class="good")
    rule = fit_triage(probabilities, labels, Limits(), classes=NAMES)
    outcome = measure(probabilities, labels, rule, NAMES)
    decision = judge(PairedPredictions("2", probabilities), None, labels, None, NAMES, GateSettings())
    picture = Picture(png=png(confusion_figure(found.confusion, NAMES)), alt="Confusion matrix", caption="<i>caption")
    return render_report(
        ReportContent(
            title="Line 4 <on> & off",
            subtitle="Version 2",
            verdict="Refused.",
            verdict_tone="bad",
            made_at=datetime(2030, 1, 2, 3, 4, tzinfo=UTC),
            tiles=headline_tiles(found, outcome),
            sections=(
                evaluation_section(found, (picture,)),
                triage_section(rule, outcome),
                gate_section(decision),
            ),
            lineage=(("dataset version", "d-123"),),
        )
    )


def test_it_fetches_nothing_and_runs_nothing() -> None:
    html = whole_report()
    page = Page(html)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert "@import" not in html
    assert "url(" not in html
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert page.open == []


def test_class_names_are_shown_as_text() -> None:
    page = Page(whole_report())
    for name in NAMES:
        assert name in page.text
    assert "<i>caption" in page.text
    assert "Line 4 <on> & off" in page.text


def test_it_has_light_and_dark_colours() -> None:
    html = whole_report()
    assert 'name="color-scheme" content="light dark"' in html
    assert "prefers-color-scheme: dark" in html


def test_it_says_the_figures_with_their_intervals() -> None:
    text = Page(whole_report()).text
    for expected in (
        "Macro-F1",
        "Escapes",
        "Overkill",
        "Decided automatically",
        "600 images of 300 groups in 3 classes",
        "treat a group as one draw",
        "Most confused pairs",
        "reader hours per 1,000 images",
        "Version 2 against no champion yet, on 600 test images: refused.",
        "Lineage is not known",
        "d-123",
        "2030-01-02 03:04 UTC",
    ):
        assert expected in text, expected
    assert re.search(r"Accuracy\s*\d\d\.\d%\s*\d\d\.\d% to \d\d\.\d%", text)


def test_undefined_figures_are_a_dash() -> None:
    found = evaluate([[0.9, 0.1, 0.0]], [0], NAMES)
    rows = evaluation_section(found).tables[0].rows
    assert rows[1][2:] == ("–", "–", "no interval", "–")
    assert "left out of the mean figures" in " ".join(evaluation_section(found).sentences)


def test_how_people_read_is_said_only_where_something_is_known() -> None:
    nothing = dict.fromkeys(AgreementFigures.model_fields, 0) | dict.fromkeys(("kappa", "kappa_low", "kappa_high"))
    assert people_section(AgreementFigures.model_validate(nothing)) is None
    some = nothing | {"pairs": 40, "kappa": 0.4, "kappa_low": 0.1, "kappa_high": 0.7, "shown": 8, "overridden": 2}
    section = people_section(AgreementFigures.model_validate(some))
    assert section is not None
    assert "kappa 0.40 (0.10 to 0.70;" in section.sentences[0]
    assert "8 answers" in section.sentences[1]
    assert "2 differ from it (25.0%)" in section.sentences[1]


def test_an_empty_report_is_still_a_page() -> None:
    page = Page(render_report(ReportContent(title="Nothing yet", made_at=datetime.now(UTC))))
    assert "Nothing yet" in page.text
    assert page.open == []


def test_numbers_stand_to_the_right() -> None:
    content = ReportContent(
        title="t",
        made_at=datetime.now(UTC),
        tiles=(Tile(label="a", value="1"),),
        sections=(Section(title="s", tables=(Table(header=("n", "v"), rows=(("x", "1"),), numeric=(1,)),)),),
    )
    html = render_report(content)
    assert '<td class="number">1</td>' in html
    assert "<td>x</td>" in html
