"""What the standard preset makes of the size and the profile of a data set."""

from __future__ import annotations

import pytest

from data_contracts.input_settings import AugmentationSettings
from domain_models.architecture import Mirror
from domain_models.presets import DataFacts, Preset, choose
from domain_models.training_config import SecondStageKind
from domain_models.training_phases import architecture_of

FLIPS = AugmentationSettings(flip_horizontal=True, flip_vertical=True)
NO_FLIPS = AugmentationSettings(flip_horizontal=False, flip_vertical=False)


def facts(train: int, *, validation: int = 400, augmentation: AugmentationSettings = FLIPS) -> DataFacts:
    rare = train // 10
    return DataFacts(
        class_counts={"common": train - rare, "rare": rare},
        validation_count=validation,
        median_height=300,
        median_width=300,
        grey_share=1.0,
        augmentation=augmentation,
    )


def test_few_images_teach_the_last_stage_more_images_the_whole_network() -> None:
    few, some, many = (choose(Preset.STANDARD, facts(count))[0] for count in (900, 2000, 8000))
    assert (few.frozen_stages > 0, some.frozen_stages, many.frozen_stages) == (True, 0, 0)
    assert few.cached_views > 0
    assert (few.preprocessing.height, some.preprocessing.height, many.preprocessing.height) == (160, 160, 144)
    assert (few.probe, some.probe, many.probe) == (True, True, False)
    assert some.epochs > many.epochs
    assert all(one.second_stage is SecondStageKind.LOGIT_ADJUSTMENT for one in (few, some, many))


@pytest.mark.parametrize("count", [50, 900, 2000, 60_000])
def test_the_average_spans_about_an_epoch_and_never_less_than_twenty_steps(count: int) -> None:
    config, _ = choose(Preset.STANDARD, facts(count))
    span = 1 / (1 - config.average_decay)
    assert span == pytest.approx(max(20, count / config.batch_size))


def test_it_looks_at_the_mirror_image_only_where_the_profile_allows_a_flip() -> None:
    twice, sentences = choose(Preset.STANDARD, facts(2000))
    once, others = choose(Preset.STANDARD, facts(2000, augmentation=NO_FLIPS))
    assert architecture_of(twice, 2).mirror is Mirror.HALF_TURN
    assert architecture_of(once, 2).mirror is Mirror.NONE
    assert any("mirror image" in sentence for sentence in sentences)
    assert not any("mirror image" in sentence for sentence in others)


@pytest.mark.parametrize("preset", [Preset.QUICK, Preset.STANDARD])
def test_unequal_classes_are_rebalanced_and_equal_ones_are_not(preset: Preset) -> None:
    config, sentences = choose(preset, facts(2000))
    assert config.second_stage is SecondStageKind.LOGIT_ADJUSTMENT
    assert any("rebalanced" in sentence for sentence in sentences)
    even = facts(2000).model_copy(update={"class_counts": {"a": 1000, "b": 1000}})
    config, sentences = choose(preset, even)
    assert config.second_stage is SecondStageKind.NONE
    assert not any("rebalanced" in sentence for sentence in sentences)
