"""Incremental or full? A pure function of what changed, with the reason in words."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

LARGEST_SHARE = 0.3
"""Above this share of new and corrected training images little of what the champion learned is left to keep."""

LARGEST_NEW_CLASS = 0.1
"""A new class with a larger share of the training images deserves a backbone that was trained on it."""

MONTHS_BETWEEN_FULL = 2.0
"""The full training is monthly; after two months one was missed."""

DAYS_PER_MONTH = 30.44


class Mode(StrEnum):
    """How a retraining goes about it; ``auto`` asks :func:`choose_mode`."""

    AUTO = "auto"
    INCREMENTAL = "incremental"
    FULL = "full"


class ChangeFacts(BaseModel):
    """What changed since the champion, as far as the choice depends on it.

    ``changed`` and ``training_images`` count training images of the new dataset version. ``new_classes`` gives the
    training images of each class that the champion does not know, ``gone_classes`` the classes that it knows and the
    taxonomy no longer has. ``months_since_full`` is ``None`` where it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    changed: int = Field(ge=0)
    training_images: int = Field(ge=1)
    new_classes: dict[str, int] = Field(default_factory=dict)
    gone_classes: tuple[str, ...] = ()
    months_since_full: float | None = None
    champion_readable: bool = True

    @property
    def share(self) -> float:
        """New and corrected images among the training images."""
        return self.changed / self.training_images


class ModeChoice(BaseModel):
    """The mode to take and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode
    reasons: tuple[str, ...]


def choose_mode(facts: ChangeFacts) -> ModeChoice:
    """Full where the champion is a poor place to start from, else incremental; every reason is said."""
    against = _reasons_for_full(facts)
    if against:
        return ModeChoice(mode=Mode.FULL, reasons=tuple(against))
    reasons = [
        f"{facts.changed:,} of {facts.training_images:,} training images ({facts.share:.1%}) are new or corrected, "
        f"at most {LARGEST_SHARE:.0%}: the champion is a good place to go on from."
    ]
    if facts.new_classes:
        named = ", ".join(f"{name} ({count})" for name, count in facts.new_classes.items())
        reasons.append(f"New classes have few training images yet: {named}; the classifier grows.")
    if facts.months_since_full is not None:
        reasons.append(f"The last full training was {facts.months_since_full:.1f} months ago.")
    return ModeChoice(mode=Mode.INCREMENTAL, reasons=tuple(reasons))


def _reasons_for_full(facts: ChangeFacts) -> list[str]:
    reasons = []
    if not facts.champion_readable:
        reasons.append("What the champion was trained on cannot be read any more, so nothing can be compared with it.")
    if facts.share > LARGEST_SHARE:
        reasons.append(
            f"{facts.changed:,} of {facts.training_images:,} training images ({facts.share:.0%}) are new or corrected, "
            f"more than {LARGEST_SHARE:.0%}."
        )
    large = {name: n for name, n in facts.new_classes.items() if n > LARGEST_NEW_CLASS * facts.training_images}
    if large:
        named = ", ".join(f"{name} ({count} training images)" for name, count in large.items())
        reasons.append(f"The champion's backbone never saw {named}, more than {LARGEST_NEW_CLASS:.0%} of the images.")
    if facts.gone_classes:
        reasons.append(f"The champion decides for classes that are no more: {', '.join(facts.gone_classes)}.")
    if facts.months_since_full is not None and facts.months_since_full > MONTHS_BETWEEN_FULL:
        reasons.append(
            f"The last full training was {facts.months_since_full:.1f} months ago, more than {MONTHS_BETWEEN_FULL:.0f}."
        )
    return reasons
