"""FixMatch with distribution alignment: its formulas by hand, what it may never do, and that a kill loses nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.input_settings import AugmentationSettings
from domain_models import fine_tuning
from domain_models.augmentation import strong_settings, weak_settings
from domain_models.batches import AugmentedImages
from domain_models.inference import ImageRows, predict_logits
from domain_models.pool_learning import WINDOW, PoolLearner, aligned, target_shares
from domain_models.training import train
from domain_models.training_config import LossKind, TrainingConfig
from domain_models.training_data import TrainedModel, TrainingData, UnlabelledImages, training_key
from domain_models.training_phases import fresh_network
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread

CLASSES = ("across", "along", "neither")


def config_with(**pool: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(
        SMALL.model_dump() | {"augment": True, "epochs": 3, "pool": {"ratio": 2, "threshold": 0.5, **pool}}
    )


def pool_of(count: int, groups: tuple[str, ...] | None = None) -> UnlabelledImages:
    images = striped(np.arange(count) % 3, 7, "p")
    return UnlabelledImages(images.images, images.image_ids, groups or images.groups)


def data(pool: UnlabelledImages | None, train_count: int = 30) -> TrainingData:
    return TrainingData(
        CLASSES, striped(np.arange(train_count) % 3, 1, "t"), striped(np.arange(24) % 3, 2, "v"), pool=pool
    )


def learner(pool: UnlabelledImages, config: TrainingConfig, labels: list[int] | None = None) -> PoolLearner:
    known = np.asarray(labels or [0, 1, 2], dtype=np.int64)
    return PoolLearner(pool, known, np.ones(len(known)), 3, config, inputs_are_maps=False)


def test_alignment_divides_by_what_is_said_on_average_and_multiplies_by_how_often_it_should_be() -> None:
    said = torch.tensor([[0.8, 0.2]])
    got = aligned(said, torch.tensor([0.9, 0.1]), torch.tensor([0.7, 0.3]))
    first, second = 0.8 * 0.7 / 0.9, 0.2 * 0.3 / 0.1
    torch.testing.assert_close(got, torch.tensor([[first, second]]) / (first + second))
    torch.testing.assert_close(aligned(said, torch.tensor([0.6, 0.4]), torch.tensor([0.6, 0.4])), said)


def test_the_shares_are_those_of_the_labels_to_a_power_and_none_for_a_class_without_labels() -> None:
    labels, weights = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([1.0, 1, 1, 1, 1, 0, 0])
    torch.testing.assert_close(target_shares(labels, weights, 4, 1.0), torch.tensor([0.8, 0.2, 0.0, 0.0]))
    torch.testing.assert_close(target_shares(labels, weights, 4, 0.5), torch.tensor([2 / 3, 1 / 3, 0.0, 0.0]))
    torch.testing.assert_close(target_shares(labels, weights, 4, 0.0), torch.tensor([0.5, 0.5, 0.0, 0.0]))


def test_the_loss_is_the_cross_entropy_of_the_sure_ones_over_all_that_could_have_been() -> None:
    pool = learner(pool_of(6), config_with(alignment=False, threshold=0.6, weight=3.0))
    pool.begin(1, 3, 1)
    weak = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]])
    pool._wanted = pool.pseudo_labels(weak)
    assert pool._wanted[0].tolist() == [0, 0, 2]
    assert pool._wanted[1].tolist() == [True, False, True]
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6]]))
    # two images with a label, ratio 2: four could have taught
    assert pool.loss(logits, 2).item() == pytest.approx(3 * (-math.log(0.5) - math.log(0.6)) / 4, rel=1e-6)
    assert pool.row() == {
        "pool_images": 3.0,
        "pool_share_sure": pytest.approx(2 / 3),
        "pool_loss": pytest.approx(3 * (-math.log(0.5) - math.log(0.6)) / 4, rel=1e-6),
    }


def test_what_is_said_on_average_is_the_mean_of_the_last_batches_and_helps_the_class_that_is_rarely_named() -> None:
    pool = learner(pool_of(6), config_with(threshold=0.5), [0, 1, 2])
    for _ in range(WINDOW + 5):
        labels, _ = pool.pseudo_labels(torch.tensor([[0.8, 0.15, 0.05], [0.5, 0.3, 0.2]]))
    assert pool.state().shape == (WINDOW, 3)
    torch.testing.assert_close(pool.state().mean(dim=0), torch.tensor([0.65, 0.225, 0.125]))
    # 0.5 / 0.65 is less than 0.3 / 0.225 and than 0.2 / 0.125
    assert labels.tolist() == [0, 2]


def test_a_loss_that_shifts_logits_by_the_frequencies_is_shifted_back_before_anything_is_believed(
    tmp_path: Path,
) -> None:
    config = config_with(alignment=False, threshold=0.6).model_copy(update={"loss": LossKind.BALANCED_SOFTMAX})
    network = fresh_network(config, 3)  # its classifier is zero: it says nothing
    pool = learner(pool_of(4), config, [0] * 8 + [1, 2])
    pool.begin(1, 4, 1)
    pool.inputs(network, network, 0)
    assert pool._wanted is not None
    assert pool._wanted[0].tolist() == [0, 0, 0, 0]
    assert pool._wanted[1].all()


@pytest.mark.parametrize("size", [5, 100])
def test_an_epoch_sees_an_image_at_most_once_and_at_most_so_many_to_a_labelled_one(size: int) -> None:
    pool = learner(pool_of(size), config_with())
    pool.begin(1, 30, 4)
    first = np.concatenate(pool._parts)
    assert len(first) == len(set(first)) == min(size, 60)
    pool.begin(2, 30, 4)
    assert not np.array_equal(first, np.concatenate(pool._parts))
    pool.begin(1, 30, 4)
    assert np.array_equal(first, np.concatenate(pool._parts))


settings = st.builds(
    AugmentationSettings,
    **{name: st.booleans() for name in ("flip_horizontal", "flip_vertical", "rotate_quarter_turns")},
    **{name: st.sampled_from([0.0, 0.05, 0.3]) for name in ("scale", "translate", "brightness", "contrast")},
    rotate_degrees=st.sampled_from([0.0, 10.0, 180.0]),
    hue_saturation=st.sampled_from([0.0, 0.2]),
    **{name: st.sampled_from([0.0, 0.1, 1.0]) for name in ("blur_probability", "noise_probability")},
    erase_probability=st.sampled_from([0.0, 0.5]),
)


@given(allowed=settings, factor=st.floats(1, 10))
def test_no_view_does_what_the_profile_forbids(allowed: AugmentationSettings, factor: float) -> None:
    strong, weak = strong_settings(allowed, factor).model_dump(), weak_settings(allowed).model_dump()
    for name, value in allowed.model_dump().items():
        assert bool(strong[name]) == bool(value)
        assert strong[name] >= value
        assert weak[name] in (0, value)
        assert isinstance(value, bool) <= (strong[name] == value)


def test_a_flip_that_the_profile_forbids_never_happens_to_an_image_that_is_learned() -> None:
    arrow = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    arrow[:, :, :8] = 255  # bright on the left
    only_light = dict.fromkeys(AugmentationSettings.model_fields, 0) | {"brightness": 0.3, "contrast": 0.3}
    config = config_with(strength=2.0).model_copy(
        update={"augmentation": AugmentationSettings.model_validate(only_light)}
    )
    pool = learner(UnlabelledImages(ImageRows(arrow, np.arange(1)), ("a",), ("a",)), config)
    network = fresh_network(config, 3)
    looks = []
    for epoch in range(1, 30):
        pool.begin(epoch, 1, 1)
        looks.append(pool.inputs(network, network, 0)[0])
    assert len({float(look.mean()) for look in looks}) > 10  # changed
    assert all(look[:, :, :8].mean() >= look[:, :, 8:].mean() for look in looks)  # and never turned round


def same(one: TrainedModel, two: TrainedModel) -> bool:
    mine, yours = one.network.state_dict(), two.network.state_dict()
    return all(torch.equal(mine[name], yours[name]) for name in mine)


class Killed(Exception):
    pass


def kill_after_two(row: Any) -> None:
    if row["epoch"] == 2:
        raise Killed


@pytest.mark.parametrize("frozen", [{}, {"frozen_stages": 3, "cached_views": 2}])
def test_a_training_that_was_killed_goes_on_with_what_the_network_said_before(
    tmp_path: Path, frozen: dict[str, int]
) -> None:
    config = config_with().model_copy(update={"dropout": 0.2, **frozen})
    given = data(pool_of(20))
    with pytest.raises(Killed):
        train(given, config, tmp_path / "killed", after_epoch=kill_after_two)
    resumed = train(given, config, tmp_path / "killed")
    whole = train(given, config, tmp_path / "whole")
    assert same(resumed, whole)
    columns = ["train_loss", "pool_images", "pool_share_sure", "pool_loss"]
    assert resumed.history[columns].equals(whole.history[columns])
    assert (resumed.history["pool_images"] == 20).all()
    assert resumed.history["pool_share_sure"].between(0, 1).all()
    alone = train(data(None), config_with(ratio=0).model_copy(update={"dropout": 0.2, **frozen}), tmp_path / "alone")
    assert not same(alone, whole)


@pytest.mark.slow
def test_the_network_grows_sure_of_images_without_a_label_and_right_about_them(tmp_path: Path) -> None:
    config = config_with(threshold=0.6).model_copy(update={"epochs": 8})
    pool = pool_of(45)
    model = train(data(pool, 60), config, tmp_path)
    sure = model.history["pool_share_sure"].to_numpy()
    assert sure[-1] > sure[0] + 0.3
    said = predict_logits(model.network, pool.images, config.preprocessing).argmax(axis=1)
    assert (said == np.arange(45) % 3).mean() > 0.9


def test_no_fold_model_learns_from_an_image_of_a_group_that_it_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = data(None)
    # every training image has two unlabelled ones beside it in its group
    groups = tuple(name for name in labelled.train.groups for _ in range(2))
    given = data(pool_of(60, groups))
    seen: list[tuple[set[str], set[str]]] = []
    everything = labelled.train.joined(labelled.val)

    class Watched(PoolLearner):
        def __init__(self, pool: UnlabelledImages, labels: Any, weights: Any, *more: Any, **named: Any) -> None:
            super().__init__(pool, labels, weights, *more, **named)
            if len(weights) == len(everything):
                held = {everything.groups[i] for i in np.flatnonzero(weights == 0)}
                seen.append((set(pool.groups), held))

    monkeypatch.setattr(fine_tuning, "PoolLearner", Watched)
    model = train(given, config_with().model_copy(update={"epochs": 1, "cross_fit_folds": 3}), tmp_path)
    assert len(seen) == 3
    for pool_groups, held in seen:
        assert pool_groups
        assert not pool_groups & held
        assert pool_groups == set(groups) - held
    assert any("of no group that it is asked about" in one for one in model.sentences)


@pytest.mark.parametrize("frozen", [{}, {"frozen_stages": 3, "cached_views": 2}])
def test_a_pool_of_fewer_images_than_batches_is_spread_over_some_of_them(
    tmp_path: Path, frozen: dict[str, int]
) -> None:
    config = config_with().model_copy(update={"epochs": 1, **frozen})
    model = train(data(pool_of(2)), config, tmp_path)
    assert model.history["pool_images"].tolist() == [2.0]


def test_a_pool_that_reaches_into_validation_is_a_defect() -> None:
    with pytest.raises(ValueError, match="by which choices are made"):
        data(pool_of(2, ("v3", "elsewhere")))


def test_another_pool_is_another_training() -> None:
    config = config_with()
    assert training_key(data(pool_of(4)), config) != training_key(data(pool_of(5)), config)
    assert training_key(data(pool_of(4)), config) != training_key(data(None), config)


@pytest.mark.parametrize("change", [{"epochs": 0, "probe": True}, {"augment": False}])
def test_settings_under_which_a_pool_could_not_teach_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"pool\.ratio needs"):
        TrainingConfig.model_validate(config_with().model_dump() | change)


def test_weak_views_flip_and_shift_and_change_no_light() -> None:
    images = striped(np.arange(3), 1, "t")
    config = config_with().model_copy(
        update={"augmentation": weak_settings(AugmentationSettings(translate=0.0, flip_horizontal=True))}
    )
    source = AugmentedImages(images.images, images.image_ids, config)
    plain, seen = source.inputs(np.arange(3), 0), [source.inputs(np.arange(3), epoch) for epoch in range(1, 9)]
    for view in seen:
        for one, original in zip(view, plain, strict=True):
            assert torch.equal(one, original) or torch.equal(one, original.flip(2))
