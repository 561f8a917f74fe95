"""Every final decision reaches every receiver that the profile names, within seconds, whatever befalls one of them."""

from __future__ import annotations

import csv
import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from data_contracts.errors import BadInput, ProfileError, TailsightError
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.images import add_images
from data_contracts.ledger.roots import register_root
from data_contracts.progress import SilentProgress
from data_contracts.records import ImageRecord, Occurrence
from data_contracts.review.decide import decide
from data_contracts.review.decisions_out import decisions, waiting_for
from data_contracts.review.records import Answer, NewTask
from data_contracts.review.sinks import WebhookSink
from data_contracts.review.tasks import add_round, tasks_frame
from data_contracts.vocabulary import Action
from data_contracts.workspace import Workspace
from pipelines.steps import deliveries
from pipelines.steps.decisions_export import sink_of
from pipelines.steps.deliveries import export_to_all, follow_receivers, receivers_of
from tests.pipelines.commands import done
from tests.pipelines.receiver import SECRET, Line, receiving
from tests.pipelines.up_process import gone, until, up


@pytest.fixture
def line() -> Iterator[Line]:
    with receiving() as opened:
        yield opened


def name_sinks(workspace: Workspace, *sinks: dict[str, str]) -> None:
    profile = yaml.safe_load(workspace.profile_path.read_text(encoding="utf-8"))
    profile["sinks"] = list(sinks)
    workspace.profile_path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")


def put_questions(ledger: Ledger, folder: Path, count: int) -> None:
    """Images that the ledger knows, and a task about each."""
    root = register_root(ledger, folder)
    ids = [hashlib.sha256(f"image {n}".encode()).hexdigest() for n in range(count)]
    facts = {"width": 9, "height": 9, "mode": "L", "bit_depth": 8, "format": "PNG", "size_bytes": 1}
    records = [
        ImageRecord.model_validate({**facts, "image_id": i, "uri": f"{root}/{n}.png", "perceptual_hash": 0})
        for n, i in enumerate(ids)
    ]
    places = [
        Occurrence(
            image_id=i, root_id=root, path=f"{n}.png", size_bytes=1, modified_ns=1, external_ids={"lot": f"L{n}"}
        )
        for n, i in enumerate(ids)
    ]
    add_images(ledger, records, places, "first")
    tasks = [NewTask(subject_id=i, reason="low_confidence", priority=1.0) for i in ids]
    add_round(ledger, tasks, round_id="r", model_version="3", strategy="margin", budget=None, seed=0)


def answer(ledger: Ledger, numbers: range) -> None:
    tasks = tasks_frame(ledger)["task_id"].tolist()
    for number in numbers:
        decide(ledger, "ann", Answer(task_id=tasks[number], request_id=f"q{number}", action=Action.LABEL, label="pit"))


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def within(seconds: float, condition: Callable[[], bool]) -> float:
    """How long it took until ``condition`` held."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


class Heard(SilentProgress):
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


@contextmanager
def following(workspace: Workspace) -> Iterator[Heard]:
    heard, stop = Heard(), threading.Event()
    arguments = (workspace, receivers_of(workspace), heard, stop)
    thread = threading.Thread(target=follow_receivers, args=arguments, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def test_a_decision_reaches_a_file_and_a_web_address_within_five_seconds(workspace: Workspace, line: Line) -> None:
    name_sinks(workspace, {"name": "line-3", "csv": "out/decisions.csv"}, {"name": "mes", "webhook": line.address})
    with Ledger.open(workspace) as ledger, following(workspace) as heard:
        put_questions(ledger, workspace.folder, 3)
        for number in range(3):
            answer(ledger, range(number, number + 1))
            within(5, lambda: len(rows_of(workspace.folder / "out" / "decisions.csv")) == len(line.kept) == number + 1)  # noqa: B023
        ids = [decision.decision_id for decision in decisions(ledger)]
    assert [row["decision_id"] for row in rows_of(workspace.folder / "out" / "decisions.csv")] == ids
    assert [one["decision_id"] for one in line.kept] == ids
    assert (line.kept[0]["verdict"], line.kept[0]["reader"], line.kept[0]["model_version"]) == ("pit", "ann", "3")
    assert sorted(one["external_ids"]["lot"][0] for one in line.kept) == ["L0", "L1", "L2"]
    assert any(sentence.endswith("UTC  mes: 1 decisions left.") for sentence in heard.sentences)


def test_a_receiver_that_is_down_for_a_while_gets_everything_once_and_keeps_nobody_waiting(
    workspace: Workspace, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "PAUSE_SECONDS", 0.05)
    name_sinks(workspace, {"name": "line-3", "csv": "decisions.csv"}, {"name": "mes", "webhook": line.address})
    # refused, cut off, taken though the answer is lost, and sent elsewhere: only the third has arrived
    line.answers = [503, "hang up before", "hang up after", 302, 500]
    with Ledger.open(workspace) as ledger, following(workspace) as heard:
        put_questions(ledger, workspace.folder, 12)
        for number in range(0, 12, 2):  # decisions go on being made all the while
            answer(ledger, range(number, number + 2))
            within(5, lambda: len(rows_of(workspace.folder / "decisions.csv")) == number + 2)  # noqa: B023
        within(20, lambda: len(line.kept) == 12)
        within(5, lambda: not waiting_for(ledger, "mes"))
        ids = [decision.decision_id for decision in decisions(ledger)]
    assert [one["decision_id"] for one in line.kept] == ids, "in order; nothing lost, nothing doubled"
    bodies: dict[str, Any] = {}
    for key, body in line.requests:
        assert bodies.setdefault(key, body) == body, "one key, one content"
    assert len(line.requests) > len(bodies), "something did come twice"
    said = "\n".join(heard.sentences)
    assert "mes: The webhook at 127.0.0.1 answered 503" in said
    assert "mes: it works again." in said
    assert not [word for word in (SECRET, "L0", "image", "pit", *ids) if word in said]


def test_a_receiver_that_takes_nothing_keeps_no_other_from_an_export(workspace: Workspace, line: Line) -> None:
    name_sinks(workspace, {"name": "mes", "webhook": line.address}, {"name": "line-3", "csv": "decisions.csv"})
    line.answers = [503]
    with Ledger.open(workspace) as ledger:
        put_questions(ledger, workspace.folder, 2)
        answer(ledger, range(2))
    with pytest.raises(TailsightError, match=r"^mes: The webhook .* 503.* 1 of 2 receivers took everything"):
        export_to_all(workspace, receivers_of(workspace))
    assert (len(rows_of(workspace.folder / "decisions.csv")), line.kept) == (2, [])
    assert [report.delivered for report in export_to_all(workspace, receivers_of(workspace))] == [2, 0]
    assert len(line.kept) == 2


def test_the_pauses_grow_up_to_a_limit(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0)
            if len(pauses) == 8:
                self.set()
            return self.is_set()

    def fails(*_: object) -> int:
        raise TailsightError("The webhook is down.")

    monkeypatch.setattr(deliveries, "publish_scored_batches", fails)
    follow_receivers(workspace, [], Heard(), Stop())
    assert pauses == [2, 4, 8, 16, 30, 30, 30, 30]


def test_what_nobody_foresaw_is_said_without_what_it_holds(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, heard = threading.Event(), Heard()

    def fails(*_: object) -> int:
        stop.set()
        raise RuntimeError("patient Miller")

    monkeypatch.setattr(deliveries, "publish_scored_batches", fails)
    follow_receivers(workspace, [], heard, stop)
    assert [sentence.partition("  ")[2] for sentence in heard.sentences] == [
        "Scored batches: It failed (RuntimeError)."
    ]


def test_a_redirected_post_has_not_arrived(workspace: Workspace, line: Line) -> None:
    """It would come as a GET without the decisions, and a sign-in page would answer 200."""
    line.answers = [302]
    with Ledger.open(workspace) as ledger:
        put_questions(ledger, workspace.folder, 1)
        answer(ledger, range(1))
        with pytest.raises(TailsightError, match="answered 302; 1 decisions wait"):
            WebhookSink(line.address)(decisions(ledger))


@pytest.mark.parametrize(
    ("sinks", "words"),
    [
        ([{"name": "a", "csv": "a.csv", "webhook": f"https://h/{SECRET}"}], "a sink has either csv or webhook"),
        ([{"name": "a"}], "a sink has either csv or webhook"),
        ([{"name": "a", "csv": "a.csv"}, {"name": "a", "csv": "b.csv"}], "two sinks have the same name"),
        ([{"name": "a", "webhok": f"https://h/{SECRET}"}], "did you mean 'webhook'"),
        ([{"name": "a", "webhook": f"ftp://h/{SECRET}"}], "The address of the sink 'a' is no http or https address"),
        ([{"name": "a", "webhook": "env:TAILSIGHT_TEST_NOWHERE"}], "TAILSIGHT_TEST_NOWHERE, which is not set"),
    ],
)
def test_a_sink_that_cannot_work_is_refused_and_no_secret_is_told(
    workspace: Workspace, sinks: list[dict[str, str]], words: str
) -> None:
    name_sinks(workspace, *sinks)
    with pytest.raises(BadInput, match=words) as error:
        receivers_of(workspace)
    assert SECRET not in str(error.value)
    assert isinstance(error.value, ProfileError) or "sink 'a'" in str(error.value)


def test_an_address_may_stay_in_the_environment(
    workspace: Workspace, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = workspace.profile.content_hash
    name_sinks(workspace, {"name": "mes", "webhook": "env:TAILSIGHT_TEST_HOOK"})
    assert workspace.profile.content_hash == before, "where decisions go says nothing of models and data"
    monkeypatch.setenv("TAILSIGHT_TEST_HOOK", line.address)
    with Ledger.open(workspace) as ledger:
        put_questions(ledger, workspace.folder, 1)
        answer(ledger, range(1))
    assert done(workspace.folder, "decisions", "export")["delivered"] == 1
    assert len(line.kept) == 1


def test_without_receivers_it_is_said_where_to_name_them() -> None:
    with pytest.raises(BadInput, match=r"name receivers in tailsight\.yaml \(`sinks`\)"):
        sink_of(None, None, None)


THE_DELIVERIES_ALONE = """
import sys, time
from pathlib import Path
from data_contracts.progress import SILENT
from data_contracts.workspace import Workspace
from pipelines.services import DELIVERIES, Ports, running, services_of

workspace = Workspace(Path(sys.argv[1]))
service = next(one for one in services_of(workspace, Ports()) if one.name == DELIVERIES)
with running(workspace, [service], SILENT):
    print("started", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_what_up_starts_delivers_and_ends_with_it_however_it_ends(workspace: Workspace, line: Line) -> None:
    name_sinks(workspace, {"name": "line-3", "csv": "decisions.csv"}, {"name": "mes", "webhook": line.address})
    with Ledger.open(workspace) as ledger:
        put_questions(ledger, workspace.folder, 3)
        for number, end in enumerate((signal.SIGINT, signal.SIGKILL, signal.SIGKILL)):
            with (
                subprocess.Popen(
                    [sys.executable, "-c", THE_DELIVERIES_ALONE, str(workspace.folder)],
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                ) as parent,
            ):
                assert parent.stdout is not None
                assert parent.stdout.readline() == b"started\n"
                answer(ledger, range(number, number + 1))
                until(lambda: len(rows_of(workspace.folder / "decisions.csv")) == number + 1, 120, "it is at work")  # noqa: B023
                until(lambda: len(line.kept) == number + 1, 5, "the other receiver as well")  # noqa: B023
                family = psutil.Process(parent.pid).children(recursive=True)
                assert any("export" in process.cmdline() for process in family)
                assert not any(SECRET in " ".join(process.cmdline()) for process in family)
                parent.send_signal(end)
                parent.wait(60)
                until(lambda: gone(family), 30, f"nothing is left after {end.name}")  # noqa: B023
    log = (workspace.folder / "logs" / "deliveries.log").read_text(encoding="utf-8")
    assert SECRET not in log
    assert "mes: 1 decisions left." in log


@pytest.mark.slow
def test_up_delivers_within_five_seconds(workspace: Workspace, line: Line) -> None:
    name_sinks(workspace, {"name": "line-3", "csv": "decisions.csv"}, {"name": "mes", "webhook": line.address})
    with up(workspace.folder) as running, Ledger.open(workspace) as ledger:
        assert running.report["receivers"] == ["line-3", "mes"]
        put_questions(ledger, workspace.folder, 4)
        answer(ledger, range(1))
        until(
            lambda: len(rows_of(workspace.folder / "decisions.csv")) == len(line.kept) == 1,
            60,
            "deliveries are at work",
        )
        for number in range(1, 4):
            answer(ledger, range(number, number + 1))
            took = within(5, lambda: len(rows_of(workspace.folder / "decisions.csv")) == len(line.kept) == number + 1)  # noqa: B023
            print(f"from the decision to the file and the web address: {took:.2f} s")
        family = running.family()
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(60)
        until(lambda: gone(family), 60, "everything has ended")
