"""Which labels become classes, and which are mistakes: typing errors, formulas, control characters."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from data_contracts.taxonomy import Taxonomy

MAX_LENGTH = 200
FORMULA_MARKS = ("=", "+", "-", "@")
LARGER = 5
"""A label is held for a typing error of a class at least this many times larger."""

NEVER_A_SLIP = 50
"""A label that occurs this often was meant, however much it looks like another; the likeness is only said."""


@dataclass(frozen=True)
class Verdict:
    """What a label means: a class name, or why not (``class_name`` is None). ``nearest`` is the likely intention."""

    class_name: str | None
    nearest: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Judgement:
    """Verdict of every label, the classes to add to the taxonomy (sorted), and sentences a person should read."""

    verdicts: dict[str, Verdict]
    new_classes: tuple[str, ...]
    warnings: tuple[str, ...]


def judge_labels(counts: Mapping[str, int], taxonomy: Taxonomy, *, allow_new_classes: bool = False) -> Judgement:
    """Decide for each distinct label whether it names a class.

    With a taxonomy, labels are its names or aliases; anything else is an error, and so is a class that was split.
    Without one (version 0) the labels found become the classes, except those that occur once, begin with ``= + - @``,
    or look like a slip of a class at least five times larger (:func:`looks_like_a_slip`). ``allow_new_classes`` accepts
    all of these. Never accepted: control characters, empty labels, more than 200 characters.

    Args:
        counts: how many images bear each label.
        taxonomy: the current one.
        allow_new_classes: the user said that unknown labels are meant.
    """
    verdicts: dict[str, Verdict] = {}
    new: list[str] = []
    warnings: list[str] = []
    known = list(taxonomy.names)
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        unusable = unusable_label(label)
        resolved = taxonomy.resolve(label)
        if unusable:
            verdicts[label] = Verdict(None, None, unusable)
        elif resolved is not None:
            verdicts[label] = Verdict(resolved)
        elif (split := taxonomy.split_of(label)) is not None:
            parts = " or ".join(repr(name) for name in split.into)
            verdicts[label] = Verdict(None, None, f"The class was split since; say {parts}.")
        elif allow_new_classes:
            verdicts[label] = Verdict(label)
            new.append(label)
        elif label.startswith(FORMULA_MARKS):
            reason = f"The label begins with {label[0]!r}, which a spreadsheet runs as a formula."
            verdicts[label] = Verdict(None, _nearest(label, known + new), reason)
        elif known:
            near = _nearest(label, known)
            reason = "It is not a class of the taxonomy; --allow-new-classes adds it."
            verdicts[label] = Verdict(None, near, reason)
        else:
            verdicts[label] = _first_verdict(label, count, {name: counts[name] for name in new}, warnings)
            if verdicts[label].class_name is not None:
                new.append(label)
    singles = sum(1 for count in counts.values() if count == 1)
    if not known and len(counts) > 20 and singles > len(counts) / 2:
        warnings.append(
            f"{singles} of {len(counts)} different labels occur only once; is this really the label column?"
        )
    return Judgement(verdicts, tuple(sorted(new)), tuple(warnings))


def looks_like_a_slip(label: str, larger: str) -> bool:
    """Whether ``label`` is within edit distance 2 of ``larger`` and a slip of the finger would explain it.

    Short words and words that differ on purpose are no slips: the distance must be less than half of the shorter
    word (``df`` is not ``nv``), the digits must agree (``grade 1``, ``grade 2``), and one must not be the other with
    something put in front (``normal``, ``abnormal``).
    """
    if abs(len(label) - len(larger)) > 2 or label == larger:
        return False
    digits = ["".join(c for c in word if c.isdigit()) for word in (label, larger)]
    shorter, longer = sorted((label.casefold(), larger.casefold()), key=len)
    if digits[0] != digits[1] or (len(shorter) < len(longer) and longer.endswith(shorter)):
        return False
    if shorter == longer:
        return True  # they differ in case alone
    distance = edit_distance(label, larger)
    return distance <= 2 and distance < len(shorter) / 2


def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance: insertions, deletions and substitutions of single characters."""
    previous = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        current = [i]
        for j, b in enumerate(second, start=1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (a != b)))
        previous = current
    return previous[-1]


def printable(text: str) -> str:
    """``text`` with control characters written visibly, so that no terminal obeys them."""
    return "".join(repr(c)[1:-1] if _is_control(c) else c for c in text)


def _first_verdict(label: str, count: int, classes: Mapping[str, int], warnings: list[str]) -> Verdict:
    larger = [name for name, n in classes.items() if n >= LARGER * count and looks_like_a_slip(label, name)]
    if larger and count < NEVER_A_SLIP:
        reason = (
            f"It occurs {count} {'time' if count == 1 else 'times'} and looks like a typing error of "
            f"{larger[0]!r} ({classes[larger[0]]}); --allow-new-classes accepts it as a class."
        )
        return Verdict(None, larger[0], reason)
    if larger:
        warnings.append(
            f"The classes {label!r} ({count}) and {larger[0]!r} ({classes[larger[0]]}) look alike; both are kept."
        )
    if count == 1:
        reason = "It occurs only once, so it is probably a mistake; --allow-new-classes accepts it as a class."
        return Verdict(None, _nearest(label, list(classes)), reason)
    return Verdict(label)


def unusable_label(label: str) -> str | None:
    """Why a label can never be a class, or ``None``."""
    if not label:
        return "There is no label; the image is kept as unlabelled."
    if any(_is_control(c) for c in label):
        return "It has control or invisible characters, which are never accepted."
    if len(label) > MAX_LENGTH:
        return f"It has {len(label)} characters; a class name has at most {MAX_LENGTH}."
    return None


def _is_control(character: str) -> bool:
    """Control, direction-changing and lone surrogate characters; joiners, which several scripts need, are not."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\u200c\u200d"


def _nearest(label: str, names: list[str]) -> str | None:
    if len(names) > 500:
        return None
    near = difflib.get_close_matches(label, names, n=1, cutoff=0.6)
    return near[0] if near else None
