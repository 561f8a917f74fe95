"""Instants as the ledger stores them: UTC, ISO 8601 with microseconds, as text."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)


def as_text(instant: datetime) -> str:
    """``2026-01-31T08:05:00.000000+00:00``; a time without a zone is taken as UTC."""
    aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    return aware.isoformat(timespec="microseconds")


def from_text(text: str) -> datetime:
    """The instant that :func:`as_text` wrote."""
    return datetime.fromisoformat(text)
