"""A command does nothing at its start and its end that nobody waits for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from domain_models.device import compute_device

_COUNTS_SEARCHES = """
import atexit, gc
searched = []
gc.callbacks.append(lambda phase, found: searched.append(found["generation"]) if phase == "start" else None)
loose = open({path!r}, "w")
loose.write("what was written")
atexit.register(lambda: print("at exit:", gc.get_freeze_count() > 10_000, len(searched) < 60))
from pipelines.command_line.entry import main
main(["--help"])
"""

_NAMES_LIBRARIES = """
import atexit, sys
from pipelines.command_line.entry import main
heavy = {{"torch", "timm", "sklearn", "scipy.stats", "scipy.optimize", "albumentations"}}
atexit.register(lambda: print("loaded:", sorted(heavy & set(sys.modules))))
main({words!r})
"""


def _python(program: str) -> subprocess.CompletedProcess[str]:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run


def test_a_command_seldom_searches_for_garbage_and_not_at_its_end_but_what_is_due_at_exit_is_done(
    tmp_path: Path,
) -> None:
    file = tmp_path / "written.txt"
    run = _python(_COUNTS_SEARCHES.format(path=str(file)))
    assert run.stdout.splitlines()[-1] == "at exit: True True"
    assert file.read_text() == "what was written"


@pytest.mark.skipif(compute_device() != "cpu", reason="with a GPU, scoring computes by torch")
def test_scoring_loads_nothing_that_only_training_needs(promoted: Path, new_images: Path, tmp_path: Path) -> None:
    words = ["--workspace", str(promoted), "score", str(new_images), "--out", str(tmp_path / "s.parquet"), "--json"]
    assert _python(_NAMES_LIBRARIES.format(words=words)).stdout.splitlines()[-1] == "loaded: []"
