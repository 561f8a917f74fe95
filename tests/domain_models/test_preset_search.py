"""The preset ``auto``: small real trainings, a journal on disk, an interruption in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.errors import BadInput
from domain_models import preset_search
from domain_models.linear_probe import macro_f1
from domain_models.preset_search import config_of, search, settings_of
from domain_models.training import train
from domain_models.training_config import LossKind, TrainingConfig
from domain_models.training_data import TrainingData
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread

CLASSES = ("across", "along", "neither")
START = SMALL.model_copy(update={"epochs": 2})
FIXED = ("backbone", "size", "attention", "augmentation")


def data(_: TrainingConfig = START) -> TrainingData:
    kinds = np.arange(45) % 3
    return TrainingData(CLASSES, striped(kinds, 1, "t"), striped(kinds[:21], 2, "v"))


def tried(outcome: preset_search.SearchOutcome) -> list[dict[str, Any]]:
    return [dict(one.settings) for one in outcome.tried]


def test_the_standard_preset_comes_first_and_the_best_on_validation_is_taken(tmp_path: Path) -> None:
    outcome = search(START, data, tmp_path, seconds=1e9, fixed=FIXED, most_trials=4)
    assert len(outcome.tried) == 4
    assert settings_of(START) in tried(outcome)
    finished = [one.macro_f1 for one in outcome.tried if one.macro_f1 is not None]
    assert outcome.tried[0].macro_f1 == max(finished)
    assert "4 configurations were tried" in outcome.sentences[0]
    assert "the standard preset's" in outcome.sentences[0]
    best = train(data(), outcome.config, tmp_path / "again")
    assert macro_f1(best.val_logits.argmax(axis=1), data().val.labels) == pytest.approx(max(finished))
    for settings in tried(outcome):
        assert {name: settings[name] for name in FIXED} == {name: settings_of(START)[name] for name in FIXED}
    longer = search(START, data, tmp_path, seconds=1e9, fixed=FIXED, most_trials=5)
    assert len(longer.tried) == 5
    assert all(settings in tried(longer) for settings in tried(outcome)), "what was tried is not tried again"


def test_what_was_interrupted_is_gone_on_with_and_nothing_is_tried_twice(tmp_path: Path) -> None:
    straight = search(START, data, tmp_path / "straight", seconds=1e9, fixed=FIXED, most_trials=3)
    calls: list[str] = []

    def killed(config: TrainingConfig) -> TrainingData:
        calls.append(config.key)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return data()

    with pytest.raises(KeyboardInterrupt):
        search(START, killed, tmp_path / "killed", seconds=1e9, fixed=FIXED, most_trials=3)
    resumed = search(START, killed, tmp_path / "killed", seconds=1e9, fixed=FIXED, most_trials=3)
    assert calls[2] == calls[1], "the configuration that was under way comes first"
    assert len(calls) == 4
    assert tried(resumed) == tried(straight)
    assert resumed.config == straight.config


def test_where_time_is_short_the_standard_preset_is_all(tmp_path: Path) -> None:
    outcome = search(START, data, tmp_path, seconds=0.001, fixed=FIXED)
    assert tried(outcome) == [settings_of(START)]
    assert outcome.config == START
    assert outcome.sentences[0].endswith("that is the best.")


def test_settings_that_do_not_go_with_the_images_are_passed_over(tmp_path: Path) -> None:
    def refused(config: TrainingConfig) -> TrainingData:
        if config.loss is not START.loss:
            raise BadInput("These images want another loss.")
        return data()

    outcome = search(START, refused, tmp_path, seconds=1e9, fixed=FIXED, most_trials=6)
    assert outcome.config.loss is START.loss
    other = START.model_copy(update={"loss": LossKind.FOCAL})
    with pytest.raises(BadInput, match="No settings could be trained") as caught:
        search(START, lambda _: refused(other), tmp_path / "none", seconds=1e9)
    assert "another loss" in str(caught.value.cause)


def test_a_setting_changes_what_it_names_and_no_more_than_the_profile_allows() -> None:
    usual = settings_of(START)
    assert config_of(START, usual) == START.model_copy(update={"cross_fit_folds": 0})
    weak = config_of(START, usual | {"augmentation": 0.5})
    assert weak.augmentation.rotate_degrees == START.augmentation.rotate_degrees / 2
    assert weak.augmentation.flip_horizontal == START.augmentation.flip_horizontal
    assert max(preset_search.SPACE["augmentation"]) == 1.0
    larger = config_of(START, usual | {"size": 2.0})
    assert (larger.preprocessing.height, larger.preprocessing.width) == (
        2 * START.preprocessing.height,
        2 * START.preprocessing.width,
    )
