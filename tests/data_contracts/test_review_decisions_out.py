"""Final verdicts leave exactly once per sink, in order, whatever is killed when."""

from __future__ import annotations

import csv
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_contracts.errors import BadInput, TailsightError
from data_contracts.ledger.connect import Ledger
from data_contracts.review import serving
from data_contracts.review.decide import decide
from data_contracts.review.decisions_out import decisions, deliver, publish, waiting_for
from data_contracts.review.records import Answer, DecisionOut
from data_contracts.review.sinks import COLUMNS, CsvSink, WebhookSink

Queue = Callable[..., list[str]]
Say = Callable[..., Answer]


def scores_of(images: Sequence[str], decision: str = "auto", version: str = "3") -> pd.DataFrame:
    facts = {"predicted": "pit", "decision": decision, "model_version": version}
    return pd.DataFrame([{"image_id": image, **facts} for image in images])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Killed(Exception):
    """Stands for a process that ends here."""


def test_a_human_decision_leaves_within_five_seconds_with_all_that_the_line_needs(
    ledger: Ledger, queue: Queue, say: Say, tmp_path: Path
) -> None:
    (task_id,) = queue(ledger, "a", model_version="3")
    serving.serve(ledger, "ann")
    began = time.monotonic()
    decide(ledger, "ann", say(task_id, "pit"))
    assert deliver(ledger, "line", CsvSink(tmp_path / "out.csv")) == 1
    assert time.monotonic() - began < 5
    (row,) = rows_of(tmp_path / "out.csv")
    assert tuple(row) == COLUMNS
    assert (row["verdict"], row["reader"], row["model_version"], row["automatic"]) == ("pit", "ann", "3", "false")
    assert json.loads(row["external_ids"]) == {"file_name": ["a.png"], "serial": ["SN-a"]}
    assert deliver(ledger, "line", CsvSink(tmp_path / "out.csv")) == 0
    assert deliver(ledger, "another sink", CsvSink(tmp_path / "other.csv")) == 1


def test_automatic_decisions_leave_once_and_never_over_what_people_say(
    ledger: Ledger, queue: Queue, say: Say, add_pictures: Callable[..., list[str]]
) -> None:
    _, answered = queue(ledger, "ab", round_id="1")
    (audited,) = queue(ledger, "c", round_id="2", purpose="audit", reason="random_audit")
    decide(ledger, "ann", say(answered, "crack"))
    images = add_pictures(ledger, "abcd")
    assert publish(ledger, scores_of(images)) == 2, "c, which is audited, and d"
    assert publish(ledger, scores_of(images, version="4")) == 0
    assert publish(ledger, scores_of(images[:1], decision="review")) == 0
    decide(ledger, "ann", say(audited, "crack"))
    found = [(d.subject_id, d.verdict, d.automatic, d.who) for d in decisions(ledger)]
    assert found == [
        (images[1], "crack", False, "ann"),
        (images[2], "pit", True, None),
        (images[3], "pit", True, None),
        (images[2], "crack", False, "ann"),
    ]
    assert decisions(ledger)[3].supersedes == decisions(ledger)[1].decision_id
    with pytest.raises(BadInput, match="1 scored images are not known"):
        publish(ledger, scores_of(["nothing"]))
    with pytest.raises(BadInput, match="no column decision"):
        publish(ledger, scores_of(images)[["image_id", "predicted", "model_version"]])


@pytest.mark.parametrize("torn", [False, True])
def test_a_kill_between_writing_and_recording_doubles_nothing_in_a_csv(
    ledger: Ledger, add_pictures: Callable[..., list[str]], tmp_path: Path, torn: bool
) -> None:
    path = tmp_path / "out.csv"
    images = add_pictures(ledger, [f"i{n}" for n in range(250)])
    publish(ledger, scores_of(images[:130]))
    batches = 0

    def dies(batch: Sequence[DecisionOut]) -> None:
        nonlocal batches
        batches += 1
        CsvSink(path)(batch)
        if batches == 2:
            if torn:
                path.write_bytes(path.read_bytes()[:-25])
            raise Killed

    with pytest.raises(Killed):
        deliver(ledger, "line", dies)
    assert len(waiting_for(ledger, "line")) == 30, "the first batch was recorded, the second only written"
    publish(ledger, scores_of(images))
    assert deliver(ledger, "line", CsvSink(path)) == 150
    assert [row["subject_id"] for row in rows_of(path)] == [d.subject_id for d in decisions(ledger)]


def test_a_sink_that_refuses_gets_the_same_decisions_again(
    ledger: Ledger, add_pictures: Callable[..., list[str]], tmp_path: Path
) -> None:
    publish(ledger, scores_of(add_pictures(ledger, "ab")))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TailsightError, match=r"cannot be written to .*folder\.csv"):
        deliver(ledger, "line", CsvSink(tmp_path / "folder.csv"))
    assert deliver(ledger, "line", CsvSink(tmp_path / "fine.csv")) == 2
    with pytest.raises(BadInput, match="cannot name a sink"):
        deliver(ledger, " ", CsvSink(tmp_path / "fine.csv"))


@pytest.fixture
def receiver() -> Iterator[Any]:
    """A web server that keeps what it gets, and fails as often as it is told."""
    got: list[tuple[str, dict[str, Any]]] = []
    failures = [500]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((self.headers["Idempotency-Key"], body))
            self.send_response(failures.pop() if failures else 200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret-path", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_can_recognise_what_it_gets_twice(
    ledger: Ledger, add_pictures: Callable[..., list[str]], receiver: Any
) -> None:
    url, got = receiver
    publish(ledger, scores_of(add_pictures(ledger, "ab")))
    with pytest.raises(TailsightError, match=r"at 127\.0\.0\.1 answered 500; 2 decisions wait") as error:
        deliver(ledger, "mes", WebhookSink(url))
    assert "secret" not in str(error.value)
    assert deliver(ledger, "mes", WebhookSink(url)) == 2
    assert got[0] == got[1], "the same key and the same decisions"
    assert [d["decision_id"] for d in got[1][1]["decisions"]] == [d.decision_id for d in decisions(ledger)]
    for bad in ("file:///etc/passwd", "nothing", "http://"):
        with pytest.raises(BadInput, match="no http or https address"):
            WebhookSink(bad)
    with pytest.raises(TailsightError, match="cannot be reached"):
        WebhookSink("http://127.0.0.1:1/", seconds=0.5)(decisions(ledger))
