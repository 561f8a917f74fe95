"""deploy/CAPACITY.md says what was measured, and nothing else."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def writer() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "benchmarks"))
        yield importlib.import_module("write_capacity")


@pytest.fixture(scope="module")
def plan(writer: ModuleType) -> ModuleType:
    """What the writer plans with."""
    return sys.modules[writer.planned.__module__]


def test_the_document_is_what_its_script_writes_from_the_measured_figures(writer: ModuleType) -> None:
    measured = json.loads(writer.MEASURED.read_text())
    assert writer.document(measured, writer.Assumptions()) == writer.DOCUMENT.read_text(encoding="utf-8")


def test_each_level_names_its_first_bottleneck_and_says_that_prices_are_assumed(writer: ModuleType) -> None:
    text = writer.DOCUMENT.read_text(encoding="utf-8")
    assert len(re.findall(r"The first bottleneck: |Nothing is short; nearest to it: ", text)) == 3
    assert "no price is anybody's price list" in text


def test_a_hundred_times_the_images_take_a_hundred_times_the_work(writer: ModuleType, plan: ModuleType) -> None:
    measured = json.loads(writer.MEASURED.read_text())
    assumed = writer.Assumptions()
    small = writer.planned(measured, assumed, plan.Level(10**6, "small", 0.01))
    large = writer.planned(measured, assumed, plan.Level(10**8, "large", 0.01))
    for name in ("peak", "cores", "machine_hours", "read_gb", "scores_gb", "ledger_gb", "reader_hours"):
        assert getattr(large, name) == pytest.approx(100 * getattr(small, name)), name
    assert large.machines >= large.cores / assumed.cores_per_machine
    assert small.peak == pytest.approx(3 * 10**6 / (30 * 86400))


def test_a_slower_model_needs_more_machines_and_more_readers_are_no_bottleneck(writer: ModuleType) -> None:
    measured = json.loads(writer.MEASURED.read_text())
    assumed = writer.Assumptions()
    level = assumed.levels[1]
    slow = json.loads(json.dumps(measured))
    slow["model"]["rates"][assumed.runtime] /= 10
    assert writer.planned(slow, assumed, level).cores > 2 * writer.planned(measured, assumed, level).cores
    many = replace(assumed, readers=1_000_000)
    assert writer.planned(measured, many, level).needs[0].resource != "reviewers' hours"
