"""Times and shares as people write them in their language."""

from __future__ import annotations

from review_app.texts import Texts

UNKNOWN = "–"


def age(seconds: float | None, texts: Texts) -> str:
    """How long ago something was, in its two largest units."""
    if seconds is None:
        return UNKNOWN
    hours, minutes = divmod(int(seconds) // 60, 60)
    if hours >= 24:
        return texts("units.days_hours", days=hours // 24, hours=hours % 24)
    if hours:
        return texts("units.hours_minutes", hours=hours, minutes=minutes)
    return texts("units.minutes", minutes=minutes)


def hours(number: float, texts: Texts) -> str:
    """Hours of work, to a tenth."""
    return texts("units.hours", hours=f"{number:.1f}")


def seconds(number: float | None, texts: Texts) -> str:
    """Seconds, to a tenth."""
    return UNKNOWN if number is None else texts("units.seconds", seconds=f"{number:.1f}")


def share(part: float | None) -> str:
    """A share between 0 and 1 as per cent, to a tenth."""
    return UNKNOWN if part is None else f"{100 * part:.1f} %"
