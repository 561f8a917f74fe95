"""The parts of incremental training: what is replayed, what is remembered, what is kept, and which mode is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from domain_models.activation_cache import cached_maps
from domain_models.distillation import remember
from domain_models.replay import HEAVIEST, changed_weight, replay_sample, replay_size
from domain_models.retraining_choice import ChangeFacts, Mode, choose_mode


def facts(**values: object) -> ChangeFacts:
    return ChangeFacts.model_validate({"changed": 50, "training_images": 1000, "months_since_full": 0.5, **values})


def test_few_changes_are_learned_incrementally() -> None:
    choice = choose_mode(facts())
    assert choice.mode is Mode.INCREMENTAL
    assert choice.reasons == (
        "50 of 1,000 training images (5.0%) are new or corrected, at most 30%: the champion is a good place to go on"
        " from.",
        "The last full training was 0.5 months ago.",
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"changed": 301}, "301 of 1,000 training images (30%) are new or corrected, more than 30%."),
        (
            {"new_classes": {"burr": 101, "rust": 3}},
            "The champion's backbone never saw burr (101 training images), more than 10% of the images.",
        ),
        ({"gone_classes": ("pit",)}, "The champion decides for classes that are no more: pit."),
        ({"months_since_full": 2.1}, "The last full training was 2.1 months ago, more than 2."),
        (
            {"champion_readable": False},
            "What the champion was trained on cannot be read any more, so nothing can be compared with it.",
        ),
    ],
)
def test_a_champion_that_is_a_poor_start_makes_it_full_and_says_why(values: dict[str, object], reason: str) -> None:
    choice = choose_mode(facts(**values))
    assert choice.mode is Mode.FULL
    assert choice.reasons == (reason,)


def test_all_reasons_for_a_full_training_are_said() -> None:
    assert len(choose_mode(facts(changed=900, months_since_full=9, gone_classes=("a",))).reasons) == 3


def test_a_new_class_with_few_images_grows_the_classifier() -> None:
    choice = choose_mode(facts(new_classes={"burr": 12}))
    assert choice.mode is Mode.INCREMENTAL
    assert "New classes have few training images yet: burr (12); the classifier grows." in choice.reasons


def test_the_replay_keeps_rare_classes_and_its_weights_stand_for_all_images() -> None:
    labels = np.repeat([0, 1, 2, 3], [6000, 700, 40, 1])
    replay = replay_sample(labels, 500, seed=0)
    drawn = labels[replay.positions]
    assert len(replay.positions) == len(set(replay.positions)) == 500
    assert np.bincount(drawn)[3] == 1
    assert np.bincount(drawn)[2] >= 25
    for index, count in enumerate([6000, 700, 40, 1]):
        assert replay.weights[drawn == index].sum() == pytest.approx(count)
    assert replay.weights.min() >= 1
    np.testing.assert_array_equal(replay.positions, replay_sample(labels, 500, seed=0).positions)
    assert set(replay.positions) != set(replay_sample(labels, 500, seed=1).positions)


def test_where_all_old_images_fit_all_are_seen_again_with_weight_one() -> None:
    replay = replay_sample(np.array([0, 1, 1]), 10, seed=0)
    assert replay.positions.tolist() == [0, 1, 2]
    assert replay.weights.tolist() == [1, 1, 1]
    assert replay_size(changed=5, unchanged=3) == 3
    assert replay_size(changed=5, unchanged=9000) == 256
    assert replay_size(changed=500, unchanged=9000) == 1000
    assert len(replay_sample(np.zeros(0, dtype=np.int64), 10, seed=0).positions) == 0


def test_changed_images_make_a_third_of_the_loss_unless_they_would_weigh_too_much_or_too_little() -> None:
    labels = np.repeat([0, 1], [5000, 1000])
    few, all_old = replay_sample(labels, 600, seed=0), replay_sample(labels, 6000, seed=0)
    for replay in (few, all_old):
        assert changed_weight(1000, replay) == pytest.approx(3.0)
        assert changed_weight(9000, replay) == 1.0
        assert changed_weight(0, replay) == 1.0
    assert changed_weight(10, few) == pytest.approx(10.0)  # as an old one does, which stands for ten
    assert changed_weight(10, all_old) == HEAVIEST


def test_memory_is_zero_where_the_network_still_agrees_and_pulls_it_back_where_not() -> None:
    old = np.array([[2.0, -1.0], [0.0, 1.0], [3.0, 0.0]], dtype=np.float32)
    memory = remember(old, np.array([True, True, False]), np.array([2, 0]))
    agreeing = torch.tensor([[-1.0, 9.0, 2.0], [1.0, -4.0, 0.0], [0.0, 0.0, 3.0]])
    torch.testing.assert_close(memory(agreeing, np.array([0, 1, 2])), torch.zeros(3), atol=1e-6, rtol=0)
    moved = torch.tensor([[1.0, 0.0, -2.0], [1.0, 0.0, -2.0]], requires_grad=True)
    losses = memory(moved, np.array([0, 2]))
    assert losses[0] > 0.1
    assert losses[1] == 0
    losses.sum().backward()
    assert moved.grad is not None
    assert moved.grad[0, 2] < 0 < moved.grad[0, 0]
    assert torch.equal(moved.grad[1], torch.zeros(3))


def test_maps_are_computed_once_even_if_a_kill_tore_the_last_line(tmp_path: Path) -> None:
    asked: list[int] = []

    def compute(positions: np.ndarray) -> np.ndarray:
        asked.extend(int(p) for p in positions)
        return np.stack([np.full((2, 3), p, dtype=np.float16) for p in positions])

    first = cached_maps(tmp_path, ["a", "b", "c"], (2, 3), compute)
    assert (first.computed, sorted(set(asked))) == (3, [0, 1, 2])
    rows = tmp_path / "rows.txt"
    rows.write_text(rows.read_text() + "3 d")  # without a newline: killed while it was written
    with (tmp_path / "maps.bin").open("ab") as maps:
        maps.write(b"half a row")
    asked.clear()
    second = cached_maps(tmp_path, ["c", "d", "a", "e"], (2, 3), compute)
    assert (second.computed, asked) == (2, [1, 3])
    np.testing.assert_array_equal(second.array[second.rows][:, 0, 0], [2, 1, 0, 3])
    third = cached_maps(tmp_path, ["e", "d"], (2, 3), compute)
    assert third.computed == 0
    np.testing.assert_array_equal(third.array[third.rows][:, 1, 2], [3, 1])
