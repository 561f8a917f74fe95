"""Where decisions go: a CSV file that another program reads, or a web address."""

from __future__ import annotations

import csv
import io
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from data_contracts.errors import BadInput, TailsightError
from data_contracts.review.records import DecisionOut

COLUMNS = (
    "decision_id",
    "at",
    "subject_kind",
    "subject_id",
    "status",
    "verdict",
    "bad_image",
    "automatic",
    "reader",
    "model_version",
    "supersedes",
    "external_ids",
)
"""Columns of the CSV and keys of the JSON. ``status`` is ``final`` or ``taken_back``."""

_TAIL_BYTES = 4 << 20
"""How much of a file's end is looked at: a hundred rows of any length that occurs, many times over."""


def as_plain(decision: DecisionOut) -> dict[str, object]:
    """A decision as plain values, by the names of :data:`COLUMNS`."""
    return {
        "decision_id": decision.decision_id,
        "at": decision.at.isoformat(timespec="milliseconds"),
        "subject_kind": decision.subject_kind.value,
        "subject_id": decision.subject_id,
        "status": "taken_back" if decision.taken_back else "final",
        "verdict": decision.verdict,
        "bad_image": decision.bad_image,
        "automatic": decision.automatic,
        "reader": decision.who,
        "model_version": decision.model_version,
        "supersedes": decision.supersedes,
        "external_ids": {name: list(values) for name, values in decision.external_ids.items()},
    }


class CsvSink:
    """Appends decisions to a CSV file: each exactly once, also after a kill, and never half a row.

    What the end of the file holds already is not written again, and half a row that a kill left is cut off first. The
    rows are on the disk when the call returns. One process at a time (``deliver`` sees to it).

    Args:
        path: the file; it is made with a header where there is none. A reader may move it away: the next rows start a
            new one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, decisions: Sequence[DecisionOut]) -> None:
        """Append ``decisions``.

        Raises:
            TailsightError: the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                written = self._repair(file)
                text = io.StringIO()
                writer = csv.writer(text, lineterminator="\n")
                if file.seek(0, os.SEEK_END) == 0:
                    writer.writerow(COLUMNS)
                for decision in decisions:
                    if decision.decision_id not in written:
                        writer.writerow([_cell(value) for value in as_plain(decision).values()])
                file.write(text.getvalue().encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TailsightError(
                f"The decisions cannot be written to {self.path} ({error.strerror}).",
                remedy="Check the folder, your rights and the space left; nothing is lost, deliver again.",
            ) from None

    def _repair(self, file: io.BufferedRandom) -> set[str]:
        """Cut off half a row at the end; return the decision ids that the end of the file holds."""
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - _TAIL_BYTES)
        file.seek(start)
        tail = file.read()
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            file.truncate(start + whole)
        lines = tail[:whole].split(b"\n")[(1 if start else 0) :]
        return {line.partition(b",")[0].decode("utf-8", "replace") for line in lines if line}


class WebhookSink:
    """Posts decisions as JSON ``{"decisions": [...]}``; any answer of the 200s means that they are safe there.

    The header ``Idempotency-Key`` and every decision's ``decision_id`` let the receiver recognise what comes again,
    after a kill or a lost answer: the same decisions then come with the same key.

    Args:
        url: an http or https address.
        seconds: how long to wait for an answer.

    Raises:
        BadInput: the address is of another kind.
    """

    def __init__(self, url: str, *, seconds: float = 10.0) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise BadInput("The webhook's address is no http or https address.", remedy="Give https://host/path.")
        self.url = url
        self.seconds = seconds

    def __call__(self, decisions: Sequence[DecisionOut]) -> None:
        """Post ``decisions``.

        Raises:
            TailsightError: the receiver does not answer, or not with success. Its name is told, the address is not: it
                may hold a secret.
        """
        if not decisions:
            return
        body = json.dumps({"decisions": [as_plain(decision) for decision in decisions]}, ensure_ascii=False)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{decisions[0].decision_id}-{decisions[-1].decision_id}",
        }
        opener = urllib.request.build_opener(_NoRedirects)
        request = urllib.request.Request(self.url, data=body.encode("utf-8"), headers=headers, method="POST")  # noqa: S310
        host = urlsplit(self.url).hostname
        try:
            with opener.open(request, timeout=self.seconds) as answer:
                answer.read(1)
        except urllib.error.HTTPError as error:
            error.close()
            raise TailsightError(
                f"The webhook at {host} answered {error.code}; {len(decisions)} decisions wait.",
                remedy="They are sent again by the next delivery.",
            ) from None
        except (OSError, ValueError, HTTPException) as error:
            # what a ValueError says may hold the address
            why = str(error) if isinstance(error, OSError) else type(error).__name__
            raise TailsightError(
                f"The webhook at {host} cannot be reached ({why}); {len(decisions)} decisions wait.",
                remedy="They are sent again by the next delivery.",
            ) from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST arrives as a GET without its body: whoever answers that has not got the decisions."""

    def redirect_request(self, *_arguments: object, **_named: object) -> None:
        return None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
