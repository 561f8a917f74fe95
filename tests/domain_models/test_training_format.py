"""The number format of training: measured where it pays, kept, and taken only where it is clearly faster."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from domain_models import training_format
from domain_models.architecture import AttentionKind
from domain_models.preprocessing import Preprocessing
from domain_models.training_config import Precision, TrainingConfig
from domain_models.training_format import TrainingRates, in_fastest_format, training_rates

CONFIG = TrainingConfig(
    backbone="resnet10t",
    weights="none",
    preprocessing=Preprocessing(height=32, width=32),
    batch_size=4,
    epochs=10,
    precision=Precision.FASTEST,
)
USUAL = CONFIG.model_copy(update={"precision": Precision.AUTO})
LONG = 4 * training_format.FEWEST_STEPS // CONFIG.epochs
"""Images that make a training just long enough."""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[TrainingConfig]:
    """A processor that knows bf16 and is 1.5 times as fast in it; what was measured."""
    seen: list[TrainingConfig] = []

    def rates(config: TrainingConfig, classes: int) -> TrainingRates:
        assert classes == 3
        seen.append(config)
        return TrainingRates(fp32=40, bf16=60)

    monkeypatch.setattr(training_format, "computes_bf16", lambda: True)
    monkeypatch.setattr(training_format, "training_rates", rates)
    return seen


def test_the_faster_format_is_taken_said_and_measured_once(tmp_path: Path, measured: list[TrainingConfig]) -> None:
    found, sentence = in_fastest_format(CONFIG, 3, LONG, tmp_path)
    assert found == CONFIG.model_copy(update={"precision": Precision.BF16})
    assert sentence is not None
    assert "60 images a second instead of 40" in sentence
    assert in_fastest_format(CONFIG, 3, LONG, tmp_path)[0] == found
    assert len(measured) == 1
    in_fastest_format(CONFIG.model_copy(update={"attention": AttentionKind.CBAM}), 3, LONG, tmp_path)
    assert len(measured) == 2, "another network has its own rates"
    for file in tmp_path.iterdir():
        file.write_text("{half a fi")
    assert in_fastest_format(CONFIG, 3, LONG, tmp_path)[0] == found
    assert len(measured) == 3, "a damaged file is measured again"


@pytest.mark.parametrize(
    ("changed", "images"),
    [({}, LONG - 4), ({"device": "cuda"}, LONG), ({"epochs": 0}, LONG)],
    ids=["short", "on a GPU", "nothing is fine-tuned"],
)
def test_where_measuring_would_not_pay_the_usual_format_stays(
    tmp_path: Path, measured: list[TrainingConfig], changed: dict[str, object], images: int
) -> None:
    found = in_fastest_format(CONFIG.model_copy(update=changed), 3, images, tmp_path)
    assert found == (USUAL.model_copy(update=changed), None)
    assert not measured


@pytest.mark.parametrize("said", [Precision.AUTO, Precision.FP32, Precision.BF16])
def test_what_is_said_by_hand_or_by_a_preset_stays(
    tmp_path: Path, measured: list[TrainingConfig], said: Precision
) -> None:
    config = CONFIG.model_copy(update={"precision": said})
    assert in_fastest_format(config, 3, LONG, tmp_path) == (config, None)
    assert not measured


def test_a_processor_without_16_bit_floats_is_not_asked(
    tmp_path: Path, measured: list[TrainingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_format, "computes_bf16", lambda: False)
    assert in_fastest_format(CONFIG, 3, LONG, tmp_path) == (USUAL, None)
    assert not measured


def test_a_gain_within_noise_changes_nothing(
    tmp_path: Path, measured: list[TrainingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_format, "training_rates", lambda *_: TrainingRates(fp32=40, bf16=43))
    assert in_fastest_format(CONFIG, 3, LONG, tmp_path) == (USUAL, None)


def test_both_formats_are_timed_on_the_real_network_and_chance_stays_as_it_was() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    rates = training_rates(CONFIG.model_copy(update={"frozen_stages": 1}), classes=3)
    assert rates.fp32 > 1
    assert rates.bf16 > 1
    assert torch.equal(torch.random.get_rng_state(), before)
