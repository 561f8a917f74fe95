"""Progress for a person at a terminal: bars on stderr, or plain lines where stderr is no terminal."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from data_contracts.progress import Progress, Step


class TerminalProgress:
    """Draws one live bar per step under way; finished bars stay on the screen.

    Args:
        console: where to draw; always stderr, so that stdout carries results only.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.RLock()
        self._bars: Bars | None = None
        self._open = 0

    def step(self, what: str, total: int | None = None) -> Step:
        """Begin a bar of ``total`` units (a moving one where the total is unknown)."""
        return _Bar(self, what, total)

    def say(self, sentence: str) -> None:
        """Print one sentence above the bars."""
        self._console.print(sentence, highlight=False, markup=False)

    def begin(self, what: str, total: int | None) -> tuple[Bars, TaskID]:
        """Show a bar, starting the live display with the first one."""
        with self._lock:
            if self._bars is None:
                self._bars = Bars(
                    TextColumn("{task.description}", markup=False),
                    BarColumn(bar_width=28),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                    TextColumn("{task.fields[note]}", markup=False),
                    console=self._console,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._bars.start()
            self._open += 1
            return self._bars, self._bars.add_task(what, total=total, note="")

    def end(self) -> None:
        """Leave a bar; the last one out stops the live display."""
        with self._lock:
            self._open -= 1
            if self._open == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None


class _Bar:
    def __init__(self, owner: TerminalProgress, what: str, total: int | None) -> None:
        self._owner = owner
        self._what = what
        self._total = total
        self._done = 0
        self._shown: tuple[Bars, TaskID] | None = None

    def advance(self, n: int = 1, note: str | None = None) -> None:
        if self._shown is None:
            return
        bars, task = self._shown
        self._done += n
        if note is None:
            bars.update(task, advance=n)
        else:
            bars.update(task, advance=n, note=note)

    def __enter__(self) -> Self:
        self._shown = self._owner.begin(self._what, self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            bars, task = self._shown
            if kind is None:
                total = self._total if self._total is not None else max(self._done, 1)
                bars.update(task, total=total, completed=total)
            self._owner.end()
            self._shown = None


class PlainProgress:
    """One line when a step begins and one when it ends: for log files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def step(self, what: str, total: int | None = None) -> Step:
        """Begin a step of ``total`` units."""
        return _Line(self, what, total)

    def say(self, sentence: str) -> None:
        """Print one sentence."""
        self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)


class _Line:
    def __init__(self, owner: PlainProgress, what: str, total: int | None) -> None:
        self._owner = owner
        self._what = what
        self._total = total
        self._note = ""
        self._began = 0.0

    def advance(self, n: int = 1, note: str | None = None) -> None:  # noqa: ARG002
        if note is not None:
            self._note = note

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        size = "" if self._total is None else f" ({self._total:,})"
        self._owner.say(f"{self._what}{size} ...")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._began
        state = "done" if kind is None else "stopped"
        self._owner.say(f"{self._what}: {state} after {seconds:.1f} s{' - ' + self._note if self._note else ''}")


def terminal_progress(console: Console) -> Progress:
    """Bars where ``console`` is a terminal, plain lines elsewhere."""
    return TerminalProgress(console) if console.is_terminal else PlainProgress(console)
