"""Inputs prepared while the network learns: the same ones, in the same order, and nothing left running."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from domain_models.batches import AugmentedImages
from domain_models.inputs_ahead import inputs_ahead
from domain_models.training import train
from domain_models.training_data import TrainingData
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread

PARTS = np.array_split(np.arange(20), 5)


class Noted:
    """Batches that say what was asked of them, and fail at one."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.asked: list[int] = []
        self._fails_at = fails_at

    def inputs(self, positions: NDArray[np.int64], epoch: int) -> Tensor:
        self.asked.append(int(positions[0]))
        if positions[0] == self._fails_at:
            raise OSError("the disk is gone")
        return torch.from_numpy(positions) * epoch


def no_thread_is_left() -> bool:
    return not any(thread.name.startswith("inputs-ahead") for thread in threading.enumerate())


def test_batches_come_in_order_and_look_as_without_a_thread() -> None:
    images = striped(np.arange(20) % 3, 1, "t")
    source = AugmentedImages(images.images, images.image_ids, SMALL.model_copy(update={"augment": True}))
    with inputs_ahead(source, PARTS, 3) as prepared:
        found = list(prepared)
    assert len(found) == len(PARTS)
    for one, positions in zip(found, PARTS, strict=True):
        assert torch.equal(one, source.inputs(positions, 3))
    assert no_thread_is_left()


def test_the_next_batch_is_prepared_while_one_is_in_use_and_no_more_than_allowed() -> None:
    source = Noted()
    with inputs_ahead(source, PARTS, 1, ahead=2) as prepared:
        next(prepared)
        deadline = time.monotonic() + 10
        while len(source.asked) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert source.asked == [0, 4, 8]


def test_an_error_in_the_thread_reaches_whoever_asks_for_its_batch() -> None:
    with inputs_ahead(Noted(fails_at=8), PARTS, 1) as prepared:
        assert [int(next(prepared)[0]) for _ in range(2)] == [0, 4]
        with pytest.raises(OSError, match="the disk is gone"):
            next(prepared)
    assert no_thread_is_left()


def test_nothing_is_left_running_when_training_ends_early() -> None:
    source = Noted()

    def interrupted() -> None:
        with inputs_ahead(source, PARTS, 1) as prepared:
            next(prepared)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert no_thread_is_left()
    assert len(source.asked) < len(PARTS)


def test_an_image_that_cannot_be_augmented_ends_the_training_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = TrainingData(("across", "along"), striped(np.arange(40) % 2, 1, "t"), striped(np.arange(8) % 2, 2, "v"))
    whole = AugmentedImages.inputs

    def failing(self: AugmentedImages, positions: NDArray[np.int64], epoch: int) -> Tensor:
        if epoch == 2:
            raise OSError("the disk is gone")
        return whole(self, positions, epoch)

    monkeypatch.setattr(AugmentedImages, "inputs", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        train(data, SMALL, tmp_path)
    assert no_thread_is_left()
    monkeypatch.undo()
    assert len(train(data, SMALL, tmp_path).history) == SMALL.epochs  # goes on from the checkpoint
