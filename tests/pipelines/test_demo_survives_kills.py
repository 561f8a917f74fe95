"""The demo, killed at random moments, ends where an uninterrupted one ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import dataset_versions
from data_contracts.ledger.events import events_frame
from data_contracts.ledger.images import images_frame, occurrences_frame
from data_contracts.ledger.promotions import looks, promotions
from data_contracts.ledger.verify import verify_chain
from data_contracts.review.decisions_out import decisions
from data_contracts.review.tasks import tasks_frame
from data_contracts.workspace import Workspace

TAILSIGHT = str(Path(sys.executable).with_name("tailsight"))
KILLS = 10
SEED = 20


def _demo(workspace: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [TAILSIGHT, "--workspace", str(workspace), "demo", "--quick", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _verb(workspace: Path, *words: str) -> Any:
    run = subprocess.run([TAILSIGHT, "--workspace", str(workspace), *words, "--json"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def _inventory(folder: Path) -> dict[str, Any]:
    """What must be the same whether or not the demo was killed on the way."""
    with Ledger.open(Workspace(folder)) as ledger:
        assert verify_chain(ledger).ok
        events = events_frame(ledger)
        # An image may be asked about in two rounds; no task is answered twice, and no import says the same twice.
        assert not events.duplicated(["subject_id", "action", "label", "task_id"]).any()
        answered = events.dropna(subset=["task_id"])
        assert answered["task_id"].is_unique
        tasks = tasks_frame(ledger)
        return {
            "images": sorted(images_frame(ledger)["image_id"]),
            "occurrences": len(occurrences_frame(ledger)),
            "labels": sorted(zip(events["subject_id"], events["action"], events["label"], strict=True)),
            "tasks": sorted(zip(tasks["subject_id"], tasks["reason"], tasks["state"], strict=True)),
            "decisions": sorted((row.subject_id, row.verdict or "", row.automatic) for row in decisions(ledger)),
            "datasets": len(
                dataset_versions(ledger)
            ),  # a refused gate may be asked again after a kill: which, not how often
            "looked at": sorted({look.model_version for look in looks(ledger)}),
            "promotions": [(event.to_alias, event.model_version, event.override) for event in promotions(ledger)],
        }


@pytest.mark.slow
def test_a_demo_killed_ten_times_ends_where_an_uninterrupted_one_ends(tmp_path: Path) -> None:
    start = time.monotonic()
    whole = _demo(tmp_path / "whole")
    answer, errors = whole.communicate(timeout=900)
    seconds = time.monotonic() - start
    assert whole.returncode == 0, errors

    moments, longest, kills = random.Random(SEED), 0.6, 0
    while kills < KILLS:
        killed = _demo(tmp_path / "killed")
        try:
            killed.communicate(timeout=moments.uniform(0.05, longest) * seconds)
        except subprocess.TimeoutExpired:
            os.killpg(killed.pid, signal.SIGKILL)
            killed.communicate()
            kills += 1
        else:
            longest = max(0.06, longest / 2)  # done already: the rest of the kills meet a finished workspace
    last = _demo(tmp_path / "killed")
    answer_after_kills, errors = last.communicate(timeout=900)
    assert last.returncode == 0, errors
    assert "Traceback" not in errors

    assert _inventory(tmp_path / "killed") == _inventory(tmp_path / "whole")
    assert _verb(tmp_path / "killed", "labels", "verify")["ok"] is True
    before, after = json.loads(answer), json.loads(answer_after_kills)
    assert after["macro_f1_before"] == pytest.approx(before["macro_f1_before"], abs=1e-6)
    versions = _verb(tmp_path / "killed", "models")["versions"]
    assert len(versions) == len(_verb(tmp_path / "whole", "models")["versions"])
