"""A command loads its libraries, works and ends without searching for garbage that is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_COMMAND = """
import atexit, gc, io
searched = []
gc.callbacks.append(lambda phase, found: searched.append(found["generation"]) if phase == "start" else None)
loose = open({path!r}, "w")
loose.write("what was written")
atexit.register(lambda: print("at exit:", gc.get_freeze_count() > 10_000, len(searched) < 60))
from pipelines.command_line.entry import main
main(["--help"])
"""


def test_a_command_searches_seldom_ends_without_a_search_and_still_does_what_is_due_at_exit(tmp_path: Path) -> None:
    file = tmp_path / "written.txt"
    run = subprocess.run(
        [sys.executable, "-c", _COMMAND.format(path=str(file))], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "at exit: True True"
    assert file.read_text() == "what was written"
