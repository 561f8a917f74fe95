"""How many images at once: the fastest setting if it clearly is; measured once, and again when its file is damaged."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from domain_models import throughput
from domain_models.architecture import Architecture
from domain_models.compute import Compute, Threads
from domain_models.model_card import ModelCard
from domain_models.preprocessing import Preprocessing
from domain_models.runtimes import Runtime
from domain_models.throughput import Throughput, kept, measured, usual

CARD = ModelCard(
    architecture=Architecture(backbone="resnet10t", classes=2),
    classes=("a", "b"),
    preprocessing=Preprocessing(height=16, width=16),
)

IMAGES = np.zeros((4, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "SECONDS_EACH", 0.05)


class Machine:
    """A runtime that takes 4 ms for each batch and, beyond 8 images, ever longer for each of them.

    Args:
        steady: it takes as long for each image instead, so that all batches are alike.
    """

    def __init__(self, *, steady: bool = False) -> None:
        self.steady = steady
        self.opened: list[Threads] = []
        self.running = 0
        self.most_at_once = 0
        self.lock = threading.Lock()

    def open(self, threads: Threads) -> Compute:
        self.opened.append(threads)

        def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            with self.lock:
                self.running += 1
                self.most_at_once = max(self.most_at_once, self.running)
            slower = 0.0005 * max(0, len(batch) - 8) * len(batch) / 8
            time.sleep(0.002 * len(batch) if self.steady else 0.004 + slower)
            with self.lock:
                self.running -= 1
            return np.zeros((len(batch), 2), dtype=np.float32)

        return compute


def test_the_fastest_setting_is_chosen_and_as_many_batches_run_at_once_as_it_says() -> None:
    machine = Machine()
    found = measured(machine.open, IMAGES, cores=2, batches=(1, 8, 64))
    assert (found.batch, found.at_once) == (8, 2)
    assert found.images_per_second is not None
    assert 1000 < found.images_per_second < 4000, "two batches of 8 in 4 ms are 4000 a second"
    assert machine.most_at_once == 2
    assert machine.opened == [Threads(2, 2), Threads(2, 1)]


def test_the_usual_setting_stays_where_no_other_is_clearly_faster() -> None:
    found = measured(Machine(steady=True).open, IMAGES, cores=2, batches=(8, 4, 16))
    assert (found.batch, found.at_once) == (8, 2)


def test_it_is_measured_once_for_each_machine_and_model(tmp_path: Path) -> None:
    machine = Machine()
    first = kept(tmp_path, "openvino", CARD, 2, machine.open, lambda: IMAGES)
    opened = len(machine.opened)
    assert kept(tmp_path, "openvino", CARD, 2, machine.open, lambda: IMAGES) == first
    assert len(machine.opened) == opened
    kept(tmp_path, "openvino-bf16", CARD, 2, machine.open, lambda: IMAGES)
    assert len(machine.opened) == 2 * opened
    (file, _) = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    file.write_text("{half a fi")
    kept(tmp_path, "openvino", CARD, 2, machine.open, lambda: IMAGES)
    assert len(machine.opened) == 3 * opened
    assert Throughput.model_validate_json(file.read_text()).batch in (4, 8, 16)


def test_without_measuring_each_core_takes_small_batches() -> None:
    assert usual(Runtime.OPENVINO, 4) == Throughput(batch=8, at_once=4)


def test_threads_share_the_cores() -> None:
    assert [Threads(8, at_once).of_each for at_once in (1, 2, 3, 8, 16)] == [8, 4, 2, 1, 1]
