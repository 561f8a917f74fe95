"""A proposed profile as lines with a reason each, and as YAML that says the reasons in comments."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from data_contracts.label_rules import printable

_WIDTH = 116


class ProposedLine(BaseModel):
    """One setting: its key (``input.channels``), the proposed value and why."""

    model_config = ConfigDict(frozen=True)

    key: str
    value: Any
    reason: str


class ProposedClass(BaseModel):
    """One class of the proposed taxonomy: how many images bear it, and its other spellings in the labels."""

    model_config = ConfigDict(frozen=True)

    name: str
    images: int


def as_yaml(
    head: Sequence[str], lines: Sequence[ProposedLine], classes: Sequence[ProposedClass], classes_reason: str
) -> str:
    """The profile's text: each setting below the comment that says why; the classes after the general settings.

    Args:
        head: sentences for the top of the file.
        lines: settings in order; keys with a dot are gathered in their section, whose lines must follow one another.
        classes: the taxonomy.
        classes_reason: why these.
    """
    text = [_comment(sentence, "") for sentence in head]
    section = ""
    classes_written = False
    for line in lines:
        place, _, name = line.key.rpartition(".")
        if place and not classes_written:
            text += ["", *_classes(classes, classes_reason)]
            classes_written = True
        if place != section:
            text.append("")
            if place:
                text.append(f"{place}:")
            section = place
        indent = "  " if place else ""
        text += [_comment(line.reason, indent), f"{indent}{name}: {scalar(line.value)}"]
    return "\n".join(text) + "\n"


def scalar(value: Any) -> str:
    """A value as YAML on one line, whatever characters it has."""
    if isinstance(value, str):
        # double-quoted on one line, so that no name can end a value or begin another
        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf")).strip()
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("\n").removesuffix("\n...")


def _classes(classes: Sequence[ProposedClass], reason: str) -> list[str]:
    text = [_comment(reason, "")]
    if not classes:
        return [*text, "taxonomy: []"]
    text.append("taxonomy:")
    for item in classes:
        images = f"{item.images:,} image{'' if item.images == 1 else 's'}"
        text.append(f'  - {{name: {scalar(item.name)}, description: "", severity: 0}}  # {images}')
    return text


def _comment(sentence: str, indent: str) -> str:
    flat = printable(" ".join(sentence.split()))
    mark = f"{indent}# "
    return "\n".join(
        textwrap.wrap(flat, _WIDTH, initial_indent=mark, subsequent_indent=mark, break_long_words=False)
        or [mark.rstrip()]
    )
