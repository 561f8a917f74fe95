"""`tailsight up`: three pages answer, and nothing outlives the command."""

from __future__ import annotations

import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.pipelines.commands import tailsight
from tests.pipelines.up_process import gone, until, up


def test_three_pages_answer_and_ctrl_c_leaves_no_process_behind(promoted: Path) -> None:
    with up(promoted) as running:
        assert set(running.report["addresses"]) == {"Dagster", "MLflow", "Review app"}
        for address in running.report["addresses"].values():
            with urllib.request.urlopen(address, timeout=20) as page:
                assert page.status == 200
        family = running.family()
        assert len(family) >= 4
        second = tailsight(promoted, "up", "--json")
        assert second.code == 1
        assert "already at work" in second.stderr
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0
        until(lambda: gone(family), 20, "every process that up started has ended")


@pytest.mark.slow  # test_attached_child.py sees the same of one service
def test_a_killed_up_takes_its_services_with_it(promoted: Path) -> None:
    with up(promoted) as running:
        family = running.family()
        running.process.kill()
        running.process.wait(10)
        until(lambda: gone(family), 60, "every process that the killed up had started has ended")


def test_a_port_in_use_is_named_before_anything_starts(promoted: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = tailsight(promoted, "up", "--port", str(port), "--json")
    assert answer.code == 2
    assert f"Port {port} is in use." in answer.stderr
