"""Does a column or a file name look like a group (patient, part, lot) that was not given? Then say so.

Images of one patient on both sides of a split make every number too good, so a missed group is worth a sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_GROUP_WORDS = re.compile(
    r"(^|[^a-z])(patient|lesion|subject|case|person|animal|specimen|slide|study|series|session|group|lot|batch|wafer|"
    r"panel|module|cell|tile|part|serial|board|coil|sheet|unit|device|camera_id|site|roi|video|sequence)($|[^a-z])"
)
_NUMBERED = re.compile(r"^(.{2,}?)[ _\-.]+([a-z]|\d{1,4}|front|back|left|right|top|bottom)$", re.IGNORECASE)
_LARGEST_MEAN = 50


def group_column_hints(values: Mapping[str, Sequence[str]], option: str = "--group-column") -> list[str]:
    """A sentence for each CSV column that looks like a group.

    A column does if its name says so or ends in ``id``, and its values repeat, but rarely: between 1.02 and 50 rows
    share one on average.

    Args:
        values: values of each column that no option named, in row order.
    """
    return [
        f"The column {name!r} looks like a group: {rows:,} rows share {distinct:,} values. "
        f"If rows with one value show the same thing, give {option} {name}; otherwise test figures "
        "are too good."
        for name, rows, distinct in group_columns(values)
    ]


def group_columns(values: Mapping[str, Sequence[str]]) -> list[tuple[str, int, int]]:
    """Columns that look like a group, with their filled rows and distinct values; see :func:`group_column_hints`."""
    found = []
    for name, column in values.items():
        filled = [value for value in column if value]
        distinct = len(set(filled))
        if distinct < 3 or not 1.02 <= len(filled) / distinct <= _LARGEST_MEAN:
            continue
        spelled = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        if _GROUP_WORDS.search(spelled) or re.search(r"(^|[^a-z])id$", spelled):
            found.append((name, len(filled), distinct))
    return found


def file_name_hints(paths: Iterable[str], classes: int) -> list[str]:
    """A sentence if file names are numbered views of the same thing (``part17_1.png``, ``part17_2.png``).

    Args:
        paths: relative paths of the images.
        classes: number of different labels; names that only repeat the class are no group.
    """
    stems = [path.rpartition("/")[2].rpartition(".")[0] for path in paths]
    matches = [match.group(1) for stem in stems if (match := _NUMBERED.match(stem))]
    counts = Counter(matches)
    shared = {prefix: n for prefix, n in counts.items() if n > 1}
    if len(shared) <= max(2, 2 * classes) or sum(shared.values()) < 0.5 * max(1, len(stems)):
        return []
    if sum(shared.values()) / len(shared) > _LARGEST_MEAN:
        return []
    example = min(shared)
    return [
        f"File names look like several views of one thing ({shared[example]} begin with {example!r}; {len(shared):,} "
        "such names). If so, give a labels CSV with a column for it and --group-column; otherwise test figures are "
        "too good."
    ]
