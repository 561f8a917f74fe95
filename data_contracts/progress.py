"""How long work tells a person where it stands, without knowing who listens."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self


class Step(Protocol):
    """One piece of work under way; a context manager."""

    def advance(self, n: int = 1, note: str | None = None) -> None:
        """Say that ``n`` more units are done; ``note`` replaces the trailing text (loss, images per second)."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Progress(Protocol):
    """Where long work reports to. The command line draws bars; tests and workers stay silent."""

    def step(self, what: str, total: int | None = None) -> Step:
        """Begin a piece of work of ``total`` units (``None`` where unknown)."""

    def say(self, sentence: str) -> None:
        """Tell the person one plain sentence."""


class _SilentStep:
    def advance(self, n: int = 1, note: str | None = None) -> None:  # noqa: ARG002
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class SilentProgress:
    """Says nothing."""

    def step(self, what: str, total: int | None = None) -> Step:  # noqa: ARG002
        """Return a step that says nothing."""
        return _SilentStep()

    def say(self, sentence: str) -> None:
        """Say nothing."""


SILENT: Progress = SilentProgress()
