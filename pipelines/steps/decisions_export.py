"""``decisions export``: every final decision, automatic or human, leaves once for each receiver."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from data_contracts.errors import BadInput
from data_contracts.review.decisions_out import Write, decisions, deliver, waiting_for
from data_contracts.review.sinks import CsvSink, WebhookSink
from data_contracts.workspace import Workspace
from pipelines.steps.automatic_decisions import publish_scored_batches
from pipelines.steps.ledger import open_ledger


class ExportReport(BaseModel):
    """What left. ``delivered`` now, to ``sink``; ``published`` are automatic decisions that were new; ``total`` all."""

    model_config = ConfigDict(frozen=True)

    sink: str
    delivered: int
    published: int
    waiting: int
    total: int
    seconds: float


def sink_of(out: Path | None, webhook: str | None, name: str | None) -> tuple[str, Write]:
    """The receiver and its name: the name, not the address, remembers what has left.

    Raises:
        BadInput: none or both are given, or the address is not http.
    """
    if (out is None) == (webhook is None):
        raise BadInput(
            "Decisions go to a file or to a web address.",
            remedy="Give --out FILE.csv or --webhook https://host/path, or name receivers in tailsight.yaml (`sinks`).",
        )
    if out is not None:
        if out.suffix != ".csv":
            raise BadInput(f"--out {out} is not a .csv file.", remedy="Name it decisions.csv, for example.")
        return name or f"csv {out}"[:200], CsvSink(out)
    assert webhook is not None
    sink = WebhookSink(webhook)  # checks the address, which may hold a secret: only its hash goes into the name
    digest = hashlib.sha256(webhook.encode()).hexdigest()[:12]
    return name or f"webhook {urlsplit(webhook).hostname} {digest}"[:200], sink


def export_decisions(workspace: Workspace, sink_name: str, write: Write) -> ExportReport:
    """Publish the automatic decisions of scored batches and hand everything that waits to a receiver.

    Killed at any moment, the next call delivers what this one did not; a CSV never holds a decision twice.

    Raises:
        TailsightError: the receiver takes nothing; what was not taken waits.
    """
    workspace.require()
    began = time.monotonic()
    with open_ledger(workspace) as ledger:
        published = publish_scored_batches(workspace, ledger, set())
        delivered = deliver(ledger, sink_name, write)
        return ExportReport(
            sink=sink_name,
            delivered=delivered,
            published=published,
            waiting=len(waiting_for(ledger, sink_name)),
            total=len(decisions(ledger)),
            seconds=round(time.monotonic() - began, 3),
        )
