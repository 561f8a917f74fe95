"""Self-supervised pretraining: the loss by hand, learning, kills, the gain, and the file that carries it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_contracts.errors import BadInput, IntegrityError
from domain_models.backbones import backbone_state, build_network, normalisation
from domain_models.pretrained_weights import Gain, PretrainedRecord, read_record, save_pretrained
from domain_models.pretraining import pretrain
from domain_models.pretraining_config import PretrainingConfig, PretrainingKind
from domain_models.pretraining_gain import compared, measure_gain
from domain_models.pretraining_methods import METHODS, nt_xent
from domain_models.training_config import with_overrides
from domain_models.training_data import TrainingData, UnlabelledImages
from domain_models.training_phases import architecture_of, fresh_network
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread


def images_of(count: int, seed: int = 7) -> UnlabelledImages:
    images = striped(np.arange(count) % 3, seed, "p")
    return UnlabelledImages(images.images, images.image_ids, images.groups)


def config_of(method: PretrainingKind = PretrainingKind.SIMCLR, **training: Any) -> PretrainingConfig:
    return PretrainingConfig(
        method=method, training=SMALL.model_copy(update={"epochs": 3, "batch_size": 12, **training}), projection=16
    )


def test_the_loss_is_that_of_finding_the_other_view_among_all_others() -> None:
    east, north = [1.0, 0.0], [0.0, 1.0]
    views = torch.tensor([east, north])
    # Each view has one of cosine 1 (its partner) and two of cosine 0 to choose from.
    by_hand = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert nt_xent(views, views, 0.5).item() == pytest.approx(by_hand, rel=1e-6)
    # Partners at right angles: a view has its partner at 0, one other at 1 and one at 0.
    crossed = nt_xent(views, views.flip(0), 0.5).item()
    assert crossed == pytest.approx(-math.log(1 / (math.exp(2) + 2)), rel=1e-6)
    assert crossed == pytest.approx(by_hand + 2, rel=1e-6)


def test_the_loss_knows_directions_only_and_not_which_view_came_first() -> None:
    chance = torch.Generator().manual_seed(3)
    first, second = (torch.randn((5, 4), generator=chance) for _ in range(2))
    loss = nt_xent(first, second, 0.2)
    torch.testing.assert_close(nt_xent(7 * first, second / 3, 0.2), loss)
    torch.testing.assert_close(nt_xent(second, first, 0.2), loss)
    # views that say nothing: every choice among the 2 * 5 - 1 others is as good
    assert nt_xent(torch.ones((5, 4)), torch.ones((5, 4)), 0.2).item() == pytest.approx(math.log(9), rel=1e-5)


class Killed(Exception):
    pass


def kill_after_two(row: Any) -> None:
    if row["epoch"] == 2:
        raise Killed


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_moves_the_backbone_and_loses_nothing_to_a_kill(
    method: PretrainingKind, tmp_path: Path
) -> None:
    config = config_of(method, epochs=4)
    before = fresh_network(config.training, 2).state_dict()
    with pytest.raises(Killed):
        pretrain(images_of(36), config, tmp_path / "killed", after_epoch=kill_after_two)
    resumed = pretrain(images_of(36), config, tmp_path / "killed")
    whole = pretrain(images_of(36), config, tmp_path / "whole")
    mine, yours = resumed.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(mine[name], yours[name]) for name in yours)
    losses = [row["loss"] for row in whole.history]
    assert [row["loss"] for row in resumed.history] == losses
    assert losses[-1] < losses[0]
    assert not torch.equal(yours["body.layer1.0.conv1.weight"], before["body.layer1.0.conv1.weight"])
    other = pretrain(images_of(36), config_of(method, epochs=4, seed=1), tmp_path / "other")
    assert [row["loss"] for row in other.history] != losses


def test_frozen_stages_stay_as_they_are(tmp_path: Path) -> None:
    config = config_of(frozen_stages=2, epochs=1)
    before = fresh_network(config.training, 2).state_dict()
    after = pretrain(images_of(24), config, tmp_path).network.state_dict()
    assert torch.equal(after["body.layer1.0.conv1.weight"], before["body.layer1.0.conv1.weight"])
    assert not torch.equal(after["body.layer4.0.conv1.weight"], before["body.layer4.0.conv1.weight"])


def test_other_images_in_the_same_folder_are_refused_and_one_image_is_too_few(tmp_path: Path) -> None:
    pretrain(images_of(24), config_of(epochs=1), tmp_path)
    with pytest.raises(IntegrityError, match="other settings or other images"):
        pretrain(images_of(27), config_of(epochs=1), tmp_path)
    with pytest.raises(BadInput, match="There are 1 images to learn from"):
        pretrain(images_of(1), config_of(), tmp_path / "one")


def test_a_gain_has_an_interval_that_counts_groups_and_not_images() -> None:
    truth = np.arange(60) % 3
    wrong = np.where(np.arange(60) < 20, (truth + 1) % 3, truth)
    alone, in_six = [str(i) for i in range(60)], [str(i // 10) for i in range(60)]
    none = compared(truth, wrong, wrong, alone, 3, seed=0)
    assert (none.difference, none.difference_ci, none.shown) == (0.0, (0.0, 0.0), False)
    gain = compared(truth, wrong, truth, alone, 3, seed=0)
    assert gain.after == 1.0
    assert gain.difference == pytest.approx(1.0 - gain.before)
    assert gain.shown
    assert "It helps on these images" in gain.sentence
    grouped = compared(truth, wrong, truth, in_six, 3, seed=0)
    assert (grouped.images, grouped.groups) == (60, 6)
    assert np.diff(grouped.difference_ci) > 1.5 * np.diff(gain.difference_ci)
    assert not grouped.shown  # two of six groups differ: it may be chance
    assert "has not been shown to help" in grouped.sentence
    harm = compared(truth, truth, wrong, alone, 3, seed=0)
    assert harm.difference == -gain.difference
    assert "It does harm" in harm.sentence


def test_features_that_tell_the_classes_apart_are_worth_more_than_noise() -> None:
    data = TrainingData(("a", "b", "c"), striped(np.arange(60) % 3, 1, "t"), striped(np.arange(60) % 3, 2, "v"))
    chance = np.random.default_rng(0)

    def features(signal: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        train, val = (
            (signal * np.eye(3)[part.labels] + chance.normal(0, 1, (60, 3))).astype(np.float32)
            for part in (data.train, data.val)
        )
        return train, val

    assert measure_gain(features(0.0), features(3.0), data).shown
    assert not measure_gain(features(1.0), features(1.0), data).shown


def record_with(**values: Any) -> PretrainedRecord:
    gain = Gain(before=0.5, after=0.6, difference=0.1, difference_ci=(-0.02, 0.2), images=40, groups=30)
    usual = {"method": "simclr", "backbone": "test_resnet", "weights": "none", "mean": (0.1,) * 3, "std": (0.2,) * 3}
    more = {"epochs": 3, "images": 36, "dataset_version": "d-1", "gain": gain}
    return PretrainedRecord.model_validate(usual | more | values)


def test_a_weights_file_carries_its_gain_and_gives_the_backbone_back(tmp_path: Path) -> None:
    learned = pretrain(images_of(24), config_of(epochs=1), tmp_path).network
    path = tmp_path / "weights.safetensors"
    save_pretrained(path, backbone_state(learned), record_with())
    assert read_record(str(path)) == record_with()
    assert normalisation("test_resnet", str(path)) == ((0.1,) * 3, (0.2,) * 3)
    config = with_overrides(SMALL, [f"weights={path}"])
    assert config.preprocessing.mean == (0.1, 0.1, 0.1)
    network = build_network(architecture_of(config, 5), config.weights).eval()
    example = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network.embed(example), learned.embed(example))
    assert network.classifier.out_features == 5
    said = record_with().sentence("weights.safetensors")
    assert "from weights 'none'" in said
    assert "+0.100 (-0.020 to +0.200; 40 images in 30 groups)" in said
    assert "has not been shown to help" in said


def test_weights_of_elsewhere_have_no_record_and_a_damaged_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    assert read_record("bundled") is None
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00nothing of the kind")
    assert read_record(str(damaged)) is None
    with pytest.raises(BadInput, match="cannot be read"):
        build_network(architecture_of(SMALL, 3), str(damaged))
