"""``tailsight train --processes 2``, and the same under torchrun, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.pipelines.commands import TAILSIGHT, TINY_SETTINGS, done, tailsight
from tests.pipelines.up_process import gone, until

SETTINGS = (
    *TINY_SETTINGS,
    "backbone=test_resnet",
    "weights=none",
    "probe=false",
    "batch_size=16",
    "learning_rate=0.003",
)


def words(epochs: int, *more: str) -> tuple[str, ...]:
    settings = (*SETTINGS, f"epochs={epochs}")
    return ("train", "--preset", "quick", *(word for setting in settings for word in ("--set", setting)), *more)


def started(workspace: Path, *more: str) -> subprocess.Popen[str]:
    """A long training by two processes, in its second epoch or later."""
    process = subprocess.Popen(
        [
            TAILSIGHT,
            "--workspace",
            str(workspace),
            *words(500, "--set", "early_stopping=500", "--processes", "2", *more),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: process.poll() is not None or list((workspace / "runs").glob("*/epoch.pt")), 120, "an epoch ends")
    assert process.poll() is None, process.communicate()[1]
    return process


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children(recursive=True)
    assert any("pipelines.training_follower" in one.cmdline() for one in found)
    return found


@pytest.mark.slow
def test_two_processes_train_a_candidate_that_one_process_takes_for_its_own(curated: Path) -> None:
    report = done(curated, *words(2, "--processes", "2", "--profile-run"))
    assert any("2 processes fine-tuned together" in sentence for sentence in report["choices"])
    assert report["profile"]["recorded_steps"] > 0
    assert not list((curated / "cache").glob("training-processes-*"))
    again = done(curated, *words(2))
    assert (again["model_version"], again["reused"]) == (report["model_version"], True)


def test_what_cannot_be_shared_is_refused_before_anything_starts(curated: Path) -> None:
    refused = tailsight(curated, "train", "--preset", "auto", "--processes", "2")
    assert refused.code == 2, refused.stderr
    assert "Preset auto tries settings in one process" in refused.stderr
    assert not (curated / "logs").exists() or not list((curated / "logs").glob("training-process-*"))


@pytest.mark.slow
def test_a_follower_that_is_killed_ends_the_command_with_one_error_and_the_same_command_goes_on(curated: Path) -> None:
    process = started(curated)
    (follower,) = [one for one in below(process) if one.cmdline()[1:3] == ["-m", "pipelines.training_follower"]]
    follower.kill()
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert process.returncode == 1
    assert "Training process 1 has ended" in said
    assert "goes on after the last finished epoch" in said
    assert "Traceback" not in said
    (checkpoint,) = (curated / "runs").glob("*/epoch.pt")
    size = checkpoint.stat().st_mtime_ns
    again = started(curated)
    try:
        until(lambda: checkpoint.stat().st_mtime_ns != size, 60, "it goes on")
    finally:
        everything = below(again)
        os.kill(again.pid, signal.SIGINT)
        _, said = again.communicate(timeout=60)
    assert again.returncode == 130, said
    assert "The same command goes on" in said
    until(lambda: gone(everything), 20, "Ctrl-C leaves no process")


@pytest.mark.slow
def test_a_lead_that_is_killed_leaves_no_process(curated: Path) -> None:
    process = started(curated)
    everything = below(process)
    process.kill()
    process.communicate(timeout=30)
    until(lambda: gone(everything), 30, "all have ended")


@pytest.mark.slow
def test_under_torchrun_the_first_process_runs_the_command_and_the_others_help(curated: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    run = subprocess.run(
        [*torchrun, TAILSIGHT, "--workspace", str(curated), *words(2, "--json")],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert any("2 processes fine-tuned together" in sentence for sentence in report["choices"])
    refused = subprocess.run(
        [*torchrun, TAILSIGHT, "--workspace", str(curated), *words(0, "--set", "probe=true")],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert refused.returncode != 0
    assert "nothing is fine-tuned that several processes could share" in refused.stderr


@pytest.mark.slow
def test_two_processes_reach_the_validation_macro_f1_of_one_within_noise(curated: Path) -> None:
    scores: dict[int, list[float]] = {1: [], 2: []}
    for seed in range(4):
        for processes, found in scores.items():
            # Six epochs are just enough here: with one less, one process reaches 0.5 to 1.0, so a loss would show.
            # Seeds of their own, because a training by one process is taken for the same by two.
            report = done(curated, *words(6, "--seed", str(seed + 10 * processes), "--processes", str(processes)))
            found.append(report["validation"]["macro_f1"])
    # Noise: how far one process is from itself with other seeds; a difference of two means of 4 has sqrt(2/4) of it.
    noise = max(statistics.stdev(scores[1]), 1 / 30)  # one of 30 validation images
    difference = statistics.mean(scores[2]) - statistics.mean(scores[1])
    print({"one": scores[1], "two": scores[2], "noise": noise, "difference": difference})
    assert statistics.mean(scores[1]) > 0.5  # something was learned
    assert abs(difference) < 2 * noise * (2 / 4) ** 0.5
