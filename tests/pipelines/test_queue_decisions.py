"""Decisions leave: automatic and human ones, once for each receiver, with who and which model."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_contracts.errors import BadInput
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer
from data_contracts.review.serving import serve
from data_contracts.vocabulary import Action
from data_contracts.workspace import Workspace
from pipelines.steps.automatic_decisions import group_verdicts
from pipelines.steps.decisions_export import export_decisions, sink_of
from pipelines.steps.ledger import open_ledger
from pipelines.steps.queue import QueueRequest, build_queue
from pipelines.steps.score import ScoreRequest, score


@pytest.fixture
def queued(promoted_workspace: Path, new_images: Path, tmp_path: Path) -> Workspace:
    """A batch scored, 12 of its 60 images flagged, and a round built; the rest is decided automatically."""
    workspace = Workspace(Path(shutil.copytree(promoted_workspace, tmp_path / "workspace")))
    report = score(workspace, ScoreRequest(images=str(new_images), out=tmp_path / "batch.parquet"))
    finished = next(workspace.scores.glob(f"{report.batch}/*/scores.parquet"))
    frame = pd.read_parquet(finished)
    unsure = frame["confidence"].rank(method="first") <= 12
    frame.loc[~unsure & frame["error"].isna(), ["decision", "reason"]] = ["auto", None]
    frame.to_parquet(finished, index=False)
    build_queue(workspace, QueueRequest(budget=5))
    return workspace


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_decision_leaves_once_with_who_and_which_model(queued: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "out" / "decisions.csv"
    name, write = sink_of(out, None, None)
    first = export_decisions(queued, name, write)
    assert (first.delivered, first.waiting, first.total) == (48, 0, 48)
    with open_ledger(queued) as ledger:
        [waiting] = serve(ledger, "mei")
        answer = Answer(task_id=waiting.task_id, request_id="one", action=Action.LABEL, label="stripes")
        decide(ledger, "mei", answer)
    second = export_decisions(queued, name, write)
    assert (second.delivered, second.total) == (1, 49)
    assert export_decisions(queued, name, write).delivered == 0
    rows = _rows(out)
    assert len({row["decision_id"] for row in rows}) == len(rows) == 49
    assert {row["automatic"] for row in rows[:48]} == {"true"}
    assert {row["model_version"] for row in rows} == {"1"}
    last = rows[-1]
    assert (last["reader"], last["verdict"], last["automatic"]) == ("mei", "stripes", "false")
    assert last["subject_id"] == waiting.subject_id
    assert json.loads(last["external_ids"])["file_name"][0].endswith(".png")


def test_a_webhook_gets_what_waits_and_a_failing_one_loses_nothing(queued: Workspace) -> None:
    with _receiver() as (address, received, refuse):
        name, write = sink_of(None, address, "line-3")
        refuse.set()
        with pytest.raises(Exception, match="answered 503"):
            export_decisions(queued, name, write)
        refuse.clear()
        assert export_decisions(queued, name, write).delivered == 48
    assert len({one["decision_id"] for one in received}) == len(received) == 48


def test_a_group_is_decided_when_all_its_images_are_and_all_the_same() -> None:
    rows = pd.DataFrame(
        {
            "image_id": list("abcdefg"),
            "group": ["g1", "g1", "g2", "g2", "g3", "g3", None],
            "decision": ["auto", "auto", "auto", "review", "auto", "auto", "auto"],
            "predicted": ["ok", "ok", "ok", "ok", "ok", "bad", "ok"],
        }
    )
    found = group_verdicts(rows)
    assert list(zip(found["subject_kind"], found["subject_id"], strict=True)) == [("image", "g"), ("group", "g1")]


def test_a_receiver_is_needed_and_its_address_is_not_its_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Decisions go to a file or to a web address"):
        sink_of(None, None, None)
    with pytest.raises(BadInput, match="is not a"):
        sink_of(tmp_path / "out.txt", None, None)
    with pytest.raises(BadInput, match="no http or https address"):
        sink_of(None, "ftp://host/x", None)
    name, _ = sink_of(None, "https://hooks.example/secret-token", None)
    assert "secret-token" not in name


@contextmanager
def _receiver() -> Iterator[tuple[str, list[dict[str, Any]], threading.Event]]:
    received: list[dict[str, Any]] = []
    refuse = threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not refuse.is_set():
                received.extend(body["decisions"])
            self.send_response(503 if refuse.is_set() else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/decisions", received, refuse
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
