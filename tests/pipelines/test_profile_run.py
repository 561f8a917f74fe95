"""``tailsight train --profile-run`` in a real workspace."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.pipelines.commands import TINY, done, tailsight

ONE_EPOCH = (*TINY, "--set", "epochs=1", "--set", "backbone=test_resnet", "--set", "weights=none")


@pytest.mark.slow
def test_a_profiled_training_says_where_the_time_went_and_is_the_training_that_it_is_without(curated: Path) -> None:
    told = tailsight(curated, "train", *ONE_EPOCH, "--profile-run")
    assert told.code == 0, told.stderr
    for part in ("waiting for inputs", "forward", "backward", "optimiser", "validation", "everything else"):
        assert part in told.stdout
    assert "recorded steps" in told.stdout
    (trace,) = (curated / "runs").glob("*/profile.json.gz")
    assert trace.name in told.stdout.replace("\n", "")
    with gzip.open(trace, "rt") as file:
        assert len(json.load(file)["traceEvents"]) > 100

    again = done(curated, "train", *ONE_EPOCH)
    assert (again["reused"], again["profile"]) == (True, None)
    assert any(sentence.startswith("Profile: of ") for sentence in again["choices"])
    nothing = tailsight(curated, "train", *ONE_EPOCH, "--profile-run")
    assert "Nothing was left to learn, so nothing was profiled" in nothing.stdout
