"""One self-contained HTML report: pictures inside, light and dark, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from pydantic import BaseModel, ConfigDict

Tone = Literal["plain", "good", "bad"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tile(_Part):
    """One figure to be seen first: ``value`` large, ``note`` (its interval, what it is held against) small below."""

    label: str
    value: str
    note: str = ""
    tone: Tone = "plain"


class Table(_Part):
    """Rows of text; columns listed in ``numeric`` (by index) are set to the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    caption: str = ""


class Picture(_Part):
    """PNG bytes with what they show, for those who cannot see them, and an optional caption."""

    png: bytes
    alt: str
    caption: str = ""


class Section(_Part):
    """A part of the report: sentences, then tables, then pictures."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


class ReportContent(_Part):
    """All that a report says. ``verdict`` is the one sentence under the title; ``lineage`` closes it."""

    title: str
    subtitle: str = ""
    verdict: str = ""
    verdict_tone: Tone = "plain"
    made_at: datetime
    tiles: tuple[Tile, ...] = ()
    sections: tuple[Section, ...] = ()
    lineage: tuple[tuple[str, str], ...] = ()


def render_report(content: ReportContent) -> str:
    """The report as one HTML document; every text is escaped, so class names may hold any character."""
    return _template().render(report=content, data_uri=_data_uri, anchors=_anchors(content.sections))


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("domain_models", "report_templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _anchors(sections: Sequence[Section]) -> list[str]:
    return [f"part-{number}" for number in range(1, len(sections) + 1)]
