"""Deliveries while the line runs: every receiver gets each final decision within seconds, whatever the others do.

Each receiver has a thread of its own, so that one that is down (and waited for, ever longer) keeps nobody else waiting.
What is said of it names the receiver and what went wrong, never its address or a decision.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data_contracts.errors import BadInput, TailsightError
from data_contracts.ledger.connect import Ledger
from data_contracts.profile import DecisionSink
from data_contracts.progress import Progress
from data_contracts.review.decisions_out import Write, deliver
from data_contracts.review.sinks import CsvSink, WebhookSink
from data_contracts.settings import read_variable
from data_contracts.workspace import Workspace
from pipelines.steps.automatic_decisions import publish_scored_batches
from pipelines.steps.decisions_export import ExportReport, export_decisions
from pipelines.steps.ledger import open_ledger

PAUSE_SECONDS = 1.0
"""How long to wait between two looks: a decision leaves well within five seconds."""

LONGEST_PAUSE_SECONDS = 30.0
"""A receiver that is down is tried again after 2, 4, 8 … and at most so many seconds."""

_FROM_ENVIRONMENT = "env:"


@dataclass(frozen=True)
class Receiver:
    """Somebody who gets every final decision. What has left is kept by ``name``, not by the address."""

    name: str
    write: Write


def receivers_of(workspace: Workspace) -> list[Receiver]:
    """The receivers that the workspace's profile names.

    Raises:
        BadInput: an address is no web address, or the environment does not hold it.
    """
    return [Receiver(sink.name, _write_of(workspace, sink)) for sink in workspace.profile.sinks]


def _write_of(workspace: Workspace, sink: DecisionSink) -> Write:
    if sink.csv is not None:
        return CsvSink(workspace.folder / sink.csv)
    address = sink.webhook or ""
    if address.startswith(_FROM_ENVIRONMENT):
        variable = address.removeprefix(_FROM_ENVIRONMENT)
        address = read_variable(variable) or ""
        if not address:
            raise BadInput(
                f"The sink {sink.name!r} has its address in the environment variable {variable}, which is not set.",
                remedy="Set it where Tailsight is started.",
            )
    try:
        return WebhookSink(address)
    except BadInput:
        raise BadInput(
            f"The address of the sink {sink.name!r} is no http or https address.",
            remedy="Give https://host/path, or env:NAME for an environment variable that holds it.",
        ) from None


def export_to_all(workspace: Workspace, receivers: Sequence[Receiver]) -> list[ExportReport]:
    """Hand everything that waits to each receiver once; one that takes nothing keeps no other from its decisions.

    Raises:
        TailsightError: some receiver took nothing, said after all have had their turn.
    """
    reports, failures = [], []
    for receiver in receivers:
        try:
            reports.append(export_decisions(workspace, receiver.name, receiver.write))
        except TailsightError as error:
            failures.append((receiver.name, error))
    if len(failures) == 1 and len(receivers) == 1:
        raise failures[0][1]
    if failures:
        raise TailsightError(
            " ".join(f"{name}: {error.what}" for name, error in failures),
            cause=f"{len(reports)} of {len(receivers)} receivers took everything.",
            remedy="Nothing is lost; the same command hands over what waits.",
        )
    return reports


def follow_receivers(
    workspace: Workspace, receivers: Sequence[Receiver], progress: Progress, stop: threading.Event
) -> None:
    """Publish automatic decisions and hand all final ones to every receiver until ``stop`` is set.

    Nothing that goes wrong ends it: it is said once, and tried again after a pause that doubles. Killed at any moment,
    the next call delivers what this one did not.

    Args:
        workspace: whose decisions.
        receivers: who gets them.
        progress: told what left and what went wrong, with the time.
        stop: ends it after the work under way.
    """
    workspace.require()
    threads = [
        threading.Thread(target=_serve, args=(workspace, receiver, progress, stop), daemon=True)
        for receiver in receivers
    ]
    for thread in threads:
        thread.start()
    try:
        _publish(workspace, progress, stop)
    finally:
        stop.set()
        for thread in threads:
            thread.join(PAUSE_SECONDS)


def _publish(workspace: Workspace, progress: Progress, stop: threading.Event) -> None:
    seen: set[Path] = set()
    _again_and_again(
        workspace, lambda ledger: publish_scored_batches(workspace, ledger, seen), "Scored batches", progress, stop
    )


def _serve(workspace: Workspace, receiver: Receiver, progress: Progress, stop: threading.Event) -> None:
    def hand_over(ledger: Ledger) -> None:
        if delivered := deliver(ledger, receiver.name, receiver.write):
            _say(progress, f"{receiver.name}: {delivered:,} decisions left.")

    _again_and_again(workspace, hand_over, receiver.name, progress, stop)


def _again_and_again(
    workspace: Workspace, act: Callable[[Ledger], object], what: str, progress: Progress, stop: threading.Event
) -> None:
    """Act, pause, act again; after a failure the pauses double and the ledger is opened anew."""
    pause, said = PAUSE_SECONDS, ""
    while not stop.is_set():
        try:
            with open_ledger(workspace) as ledger:
                while not stop.is_set():
                    act(ledger)
                    if said:
                        _say(progress, f"{what}: it works again.")
                    pause, said = PAUSE_SECONDS, ""
                    stop.wait(pause)
        except Exception as error:
            # the text of what nobody foresaw may hold a row of the database, and with it somebody's name
            sentence = str(error) if isinstance(error, TailsightError) else f"It failed ({type(error).__name__})."
            if sentence != said:
                _say(progress, f"{what}: {sentence}")
            pause, said = min(pause * 2, LONGEST_PAUSE_SECONDS), sentence
            stop.wait(pause)


def _say(progress: Progress, sentence: str) -> None:
    progress.say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {sentence}")
