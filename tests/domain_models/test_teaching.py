"""Knowledge distillation in a full training: the formula, who is asked how often, and what is learned."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_contracts.errors import BadInput
from domain_models.distillation import at_class_shares, taught
from domain_models.inference import predict_logits
from domain_models.teacher import Teacher
from domain_models.training import train
from domain_models.training_config import LossKind, TrainingConfig
from domain_models.training_data import TrainingData
from domain_models.training_phases import fresh_network
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread

CLASSES = ("across", "along", "neither")
TAUGHT = TrainingConfig.model_validate(SMALL.model_dump() | {"teacher": {"model": "1", "content": "c" * 64}})


def data(teacher_logits: np.ndarray[Any, np.dtype[np.float32]] | None = None) -> TrainingData:
    return TrainingData(CLASSES, striped(np.arange(60) % 3, 1, "t"), striped(np.arange(24) % 3, 2, "v"), teacher_logits)


def two_classes(said: list[list[float]] | None, labels: list[int]) -> TrainingData:
    part = striped(np.asarray(labels), 1, "t")
    logits = None if said is None else np.asarray(said, dtype=np.float32)
    return TrainingData(("across", "along"), part, striped(np.array([0, 1]), 2, "v"), logits)


def config_of(**teacher: float) -> TrainingConfig:
    return TrainingConfig.model_validate(TAUGHT.model_dump() | {"teacher": {"model": "1", **teacher}})


def test_the_loss_is_the_squared_temperature_times_the_divergence_of_softened_answers() -> None:
    strong = 2 * math.log(3.0)
    memory = taught(two_classes([[strong, 0.0], [0.0, strong]], [0, 1]), config_of(temperature=2.0, share=3.0))
    assert memory is not None
    # softened by 2 the teacher says 3/4 and 1/4, and a network that knows nothing one half each
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    logits = torch.zeros((1, 2), requires_grad=True)
    loss = memory(logits, np.array([0]))
    assert loss.item() == pytest.approx(3 * 2**2 * by_hand, rel=1e-5)
    # Hinton et al., eq. 2: the slope is (q - p) / T, which the squared temperature makes T (q - p)
    loss.sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[3 * 2 * (0.5 - 0.75), 3 * 2 * (0.5 - 0.25)]]))


def test_a_teacher_that_names_rare_classes_too_often_is_brought_back_to_the_shares_of_the_labels() -> None:
    labels, weights = np.array([0, 0, 0, 1]), np.ones(4)
    # one that says nothing is left with saying how frequent the classes are
    moved = at_class_shares(np.zeros((4, 2), dtype=np.float32), labels, weights)
    torch.testing.assert_close(torch.softmax(torch.from_numpy(moved), dim=1), torch.tensor([[0.75, 0.25]] * 4))
    chance = np.random.default_rng(1)
    logits = chance.normal(0, 2, (200, 4)).astype(np.float32) + np.array([0, 1, 4, 9], dtype=np.float32)
    labels, weights = chance.choice(3, 200, p=[0.7, 0.2, 0.1]), chance.uniform(0, 1, 200)
    moved = at_class_shares(logits, labels, weights)
    said = torch.softmax(torch.from_numpy(moved[:, :3].astype(np.float64)), dim=1).numpy()
    shares = np.bincount(labels, weights=weights, minlength=3) / weights.sum()
    np.testing.assert_allclose((weights / weights.sum()) @ said, shares, atol=1e-4)
    np.testing.assert_array_equal(moved[:, 3], logits[:, 3])  # no label names it
    np.testing.assert_allclose(at_class_shares(moved, labels, weights), moved, atol=1e-3)  # once is enough


def test_where_the_loss_shifts_the_network_by_the_shares_the_teacher_is_shifted_as_much() -> None:
    data = two_classes([[0.0, 0.0]] * 4, [0, 0, 0, 1])
    balanced = config_of(temperature=1.0).model_copy(update={"loss": LossKind.BALANCED_SOFTMAX})
    memory = taught(data, balanced)
    assert memory is not None
    # the teacher knows only how frequent the classes are, and that is what the loss adds by itself
    torch.testing.assert_close(memory(torch.zeros((4, 2)), np.arange(4)), torch.zeros(4), atol=1e-5, rtol=0)


def test_a_teacher_without_answers_and_answers_without_a_teacher_are_defects() -> None:
    assert taught(two_classes(None, [0, 1]), SMALL) is None
    with pytest.raises(ValueError, match="or neither"):
        taught(two_classes(None, [0, 1]), config_of())
    with pytest.raises(ValueError, match="or neither"):
        taught(two_classes([[0.0, 1.0], [1.0, 0.0]], [0, 1]), SMALL)


def teacher_of(network: Any, classes: tuple[str, ...] = CLASSES) -> Teacher:
    return Teacher("model version 7", network, classes, SMALL.preprocessing, "c" * 64)


def test_a_teacher_is_asked_about_each_image_once_and_answers_in_the_order_of_the_pupils_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = fresh_network(SMALL, 3), striped(np.arange(60) % 3, 1, "t")
    torch.nn.init.normal_(network.classifier.weight)
    ids, first = images.image_ids, np.arange(40)
    order = ("neither", "across", "along")
    teacher = teacher_of(network)
    asked: list[int] = []
    forward = type(network).forward

    def counted(self: Any, inputs: torch.Tensor) -> torch.Tensor:
        asked.append(len(inputs))
        return forward(self, inputs)

    monkeypatch.setattr(type(network), "forward", counted)
    teacher.logits(images.images.subset(first), ids[:40], order, tmp_path)
    assert sum(asked) == 40
    said = teacher.logits(images.images, ids, order, tmp_path)
    assert sum(asked) == 60
    whole = predict_logits(network, images.images, SMALL.preprocessing)
    np.testing.assert_allclose(said, whole[:, [2, 0, 1]], rtol=2e-3, atol=2e-3)


def test_a_teacher_of_other_classes_is_refused_by_name(tmp_path: Path) -> None:
    images = striped(np.arange(3), 1, "t")
    teacher = teacher_of(fresh_network(SMALL, 3), ("across", "along", "rust"))
    with pytest.raises(BadInput, match="does not know 'neither' and it decides for 'rust' as well"):
        teacher.logits(images.images, images.image_ids, CLASSES, tmp_path)


@pytest.mark.slow
def test_a_pupil_learns_what_only_the_teacher_says(tmp_path: Path) -> None:
    # The labels never say how alike two classes are; this teacher finds everything that is not class 0 half 1, half 2.
    plain = data()
    said = np.where((plain.train.labels == 0)[:, None], [[4.0, 0, 0]], [[0.0, 4, 4]]).astype(np.float32)
    config = TAUGHT.model_copy(
        update={"epochs": 8, "teacher": TAUGHT.teacher.model_copy(update={"share": 10.0, "temperature": 1.0})}
    )
    pupil = train(data(said), config, tmp_path / "taught")
    alone = train(plain, SMALL.model_copy(update={"epochs": 8}), tmp_path / "alone")
    others = plain.val.labels != 0

    def apart(logits: np.ndarray[Any, np.dtype[np.float32]]) -> float:
        return float(np.abs(logits[others, 1] - logits[others, 2]).mean())

    assert apart(pupil.val_logits) < 0.5 * apart(alone.val_logits)


def test_a_taught_training_that_was_killed_ends_where_an_uninterrupted_one_ends(tmp_path: Path) -> None:
    said = np.random.default_rng(3).normal(size=(60, 3)).astype(np.float32)

    class Killed(Exception):
        pass

    def kill(row: Any) -> None:
        if row["epoch"] == 2:
            raise Killed

    config = TAUGHT.model_copy(update={"augment": True})
    with pytest.raises(Killed):
        train(data(said), config, tmp_path / "killed", after_epoch=kill)
    resumed = train(data(said), config, tmp_path / "killed")
    whole = train(data(said), config, tmp_path / "whole")
    np.testing.assert_array_equal(resumed.val_logits, whole.val_logits)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"mixup_alpha": 0.2}, "mixed images"), ({"epochs": 0, "probe": True}, "nothing would learn")],
)
def test_settings_under_which_a_teacher_could_not_teach_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TrainingConfig.model_validate(TAUGHT.model_dump() | change)


def test_fold_models_have_no_teacher_and_it_is_said(tmp_path: Path) -> None:
    config = TAUGHT.model_copy(update={"epochs": 1, "cross_fit_folds": 2})
    model = train(data(np.zeros((60, 3), dtype=np.float32)), config, tmp_path)
    assert any("fold models behind the triage thresholds have no teacher" in one for one in model.sentences)
    assert len(model.cross_fit.labels) == 84
