"""What the files of a data set tell of their classes without being looked at: format, mode, size, site, brightness."""

from __future__ import annotations

import pandas as pd
from pydantic import BaseModel, ConfigDict

from domain_models.shortcuts import shortcut

FILE_ATTRIBUTES = {
    "file format": "format",
    "pixel mode": "mode",
    "image width": "width",
    "image height": "height",
    "site": "site",
    "brightness": "brightness",
}
"""What is asked, by the column of the table of images."""

_USUAL_ADVICE = "A model may learn that instead of what is in the picture; see that every class comes both ways."
_ADVICE = {
    "brightness": "That may be how the class looks, or how it was lit; see that every class comes under every light."
}


class TellingValueReport(BaseModel):
    """A value that nearly gives a class away."""

    model_config = ConfigDict(frozen=True)

    value: str
    label: str
    images: int
    share: float


class ShortcutReport(BaseModel):
    """How well one attribute of the files predicts the class, as balanced accuracy with its 95% interval."""

    model_config = ConfigDict(frozen=True)

    attribute: str
    balanced_accuracy: float
    low: float
    high: float
    chance: float
    telling: list[TellingValueReport]


def file_shortcuts(items: pd.DataFrame) -> list[ShortcutReport]:
    """The attributes worth telling, the strongest first.

    Args:
        items: images with a label: ``label``, ``component`` and the columns of `FILE_ATTRIBUTES`.
    """
    found = []
    for attribute, column in FILE_ATTRIBUTES.items():
        known = items[items[column].notna()]
        if len(known) < len(items) / 2:  # too few to say anything of the data set
            continue
        one = shortcut(attribute, known[column].tolist(), known["label"].tolist(), known["component"].tolist())
        if one is not None and one.worth_telling:
            found.append(
                ShortcutReport(
                    attribute=attribute,
                    balanced_accuracy=round(one.balanced_accuracy, 4),
                    low=round(one.low, 4),
                    high=round(one.high, 4),
                    chance=round(one.chance, 4),
                    telling=[TellingValueReport.model_validate(vars(value)) for value in one.telling],
                )
            )
    return sorted(found, key=lambda one: one.chance - one.balanced_accuracy)


def sentence_of_shortcut(one: ShortcutReport) -> str:
    """What a person should know of it."""
    said = (
        f"The {one.attribute} alone predicts the class with balanced accuracy {one.balanced_accuracy:.2f} "
        f"({one.low:.2f} to {one.high:.2f}; by chance {one.chance:.2f})"
    )
    if one.telling:
        value = one.telling[0]
        share = "all" if value.share == 1 else f"{value.share:.0%}"
        said += f": {share} of the {value.images:,} images whose {one.attribute} is {value.value} are {value.label!r}"
    return f"{said}. {_ADVICE.get(one.attribute, _USUAL_ADVICE)}"
