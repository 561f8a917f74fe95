"""Several people at several machines on one queue, and processes that are killed between answer and receipt."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import events_frame
from data_contracts.ledger.verify import verify_chain
from data_contracts.review import tasks
from data_contracts.review.decisions_out import decisions
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[2]
Queue = Callable[..., list[str]]

INSPECTOR = """
import json, sys
from pathlib import Path
from data_contracts.ledger.connect import Ledger
from data_contracts.review.decide import decide
from data_contracts.review.records import Answer
from data_contracts.review.serving import serve
from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace

folder, who, outbox = sys.argv[1:]
with Ledger.open(Workspace(Path(folder)), read_settings()) as ledger:
    print("open", flush=True)
    for line in sys.stdin if outbox == "yes" else []:
        decide(ledger, who, Answer.model_validate_json(line))
    while served := serve(ledger, who, count=3):
        for task in served:
            answer = Answer(task_id=task.task_id, request_id=f"{who} {task.task_id}", action="label", label=f"x")
            print("sent", answer.model_dump_json(), flush=True)
            decide(ledger, who, answer)
            print("kept", task.task_id, flush=True)
"""


def start(workspace: Workspace, who: str, outbox: list[str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", INSPECTOR, str(workspace.folder), who, "no" if outbox is None else "yes"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=PROJECT)
    assert process.stdin is not None
    process.stdin.write("".join(f"{line}\n" for line in outbox or []))
    process.stdin.close()
    process.stdin = None
    return process


def test_three_inspectors_at_once_answer_every_task_once(site: Workspace, queue: Queue) -> None:
    names = [f"i{number}" for number in range(60)]
    with Ledger.open(site, read_settings()) as ledger:
        ids = queue(ledger, names[:48], round_id="1") + queue(ledger, names[48:], round_id="2", readings_required=2)
    processes = {who: start(site, who) for who in ("ann", "bob", "eve")}
    kept: list[str] = []
    for process in processes.values():
        said, complaints = process.communicate(timeout=500)
        assert (process.returncode, complaints) == (0, "")
        kept += [line.split()[1] for line in said.splitlines() if line.startswith("kept")]
    assert sorted(kept) == sorted([*ids, *ids[48:]]), "each once, and what needs two readings twice"
    with Ledger.open(site, read_settings()) as ledger:
        frame = events_frame(ledger)
        assert (verify_chain(ledger).ok, len(frame)) == (True, 72)
        assert not frame.duplicated(["task_id", "who"]).any()
        assert set(tasks.tasks_frame(ledger)["state"]) == {"closed"}
        assert sorted(d.subject_id for d in decisions(ledger)) == sorted(tasks.tasks_frame(ledger)["subject_id"])


def test_a_kill_between_answer_and_receipt_loses_nothing_and_sending_again_doubles_nothing(
    site: Workspace, queue: Queue
) -> None:
    with Ledger.open(site, read_settings()) as ledger:
        queue(ledger, [f"i{number}" for number in range(80)])
    clock, outbox, acknowledged = random.Random(7), [], []
    for _ in range(3):
        process = start(site, "ann", outbox)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        process.stdout.readline()
        time.sleep(clock.uniform(0.05, 0.4))
        process.send_signal(signal.SIGKILL)
        said = process.communicate(timeout=60)[0].splitlines()
        acknowledged += [line.split()[1] for line in said if line.startswith("kept")]
        outbox = [line.removeprefix("sent ") for line in said if line.startswith("sent")][-1:]
    process = start(site, "ann", outbox)
    assert process.communicate(timeout=500)[1] == ""
    with Ledger.open(site, read_settings()) as ledger:
        frame = events_frame(ledger)
        assert verify_chain(ledger).ok
        assert (len(frame), frame["task_id"].is_unique) == (80, True)
        assert set(acknowledged) <= set(frame["task_id"])
        assert {json.loads(line)["request_id"] for line in outbox} <= set(frame["request_id"])
        assert len(decisions(ledger)) == 80
