"""Measuring where the time of a training goes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from domain_models.run_profile import Part, RunProfile
from domain_models.training import train
from domain_models.training_data import TrainingData
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread

DATA = TrainingData(("across", "along"), striped(np.arange(40) % 2, 1, "t"), striped(np.arange(12) % 2, 2, "v"))


def test_a_profiled_training_has_the_same_weights_and_says_where_its_time_went(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"augment": True, "dropout": 0.2})
    profile = RunProfile(tmp_path / "run" / "profile.json.gz")
    profiled = train(DATA, config, tmp_path / "run", profile=profile)
    plain = train(DATA, config, tmp_path / "plain")
    mine, yours = profiled.network.state_dict(), plain.network.state_dict()
    assert all(torch.equal(mine[name], yours[name]) for name in mine)

    report = profile.report()
    assert report.recorded_steps == 8
    assert set(report.parts) == {part.value for part in Part}
    assert all(seconds > 0 for seconds in report.parts.values())
    assert sum(report.parts.values()) <= report.seconds
    assert any("conv" in operator.name for operator in report.operators)
    assert [o.seconds for o in report.operators] == sorted((o.seconds for o in report.operators), reverse=True)
    assert report.sentence in profiled.sentences
    assert report.trace is not None
    with gzip.open(report.trace, "rt") as file:
        names = {event.get("name") for event in json.load(file)["traceEvents"]}
    assert {"waiting for inputs", "forward", "backward", "optimiser"} <= names


@pytest.mark.parametrize(("images", "recorded"), [(8, 1), (16, 2), (24, 3), (40, 5)])
def test_a_short_training_is_profiled_as_far_as_it_goes(tmp_path: Path, images: int, recorded: int) -> None:
    train_images = striped(np.arange(images) % 2, 1, "t")
    profile = RunProfile(tmp_path / "profile.json.gz")
    train(
        TrainingData(DATA.classes, train_images, DATA.val),
        SMALL.model_copy(update={"epochs": 1}),
        tmp_path,
        profile=profile,
    )
    assert 1 <= profile.report().recorded_steps <= recorded


def test_a_training_that_was_done_before_has_nothing_to_profile(tmp_path: Path) -> None:
    train(DATA, SMALL, tmp_path)
    profile = RunProfile(tmp_path / "profile.json.gz")
    again = train(DATA, SMALL, tmp_path, profile=profile)
    assert profile.report().trace is None
    assert "nothing was left to learn" in again.sentences[-1]
