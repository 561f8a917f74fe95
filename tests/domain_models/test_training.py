"""Training of a small real network on small real images."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.errors import IntegrityError
from domain_models import linear_probe
from domain_models.calibration import calibrated_nll
from domain_models.checkpoints import load_checkpoint
from domain_models.inference import ImageRows, predict_logits
from domain_models.linear_probe import macro_f1
from domain_models.stage_split import freeze_stages
from domain_models.training import train
from domain_models.training_config import SecondStageKind, TrainingConfig
from domain_models.training_data import LabelledImages, TrainedModel, TrainingData, training_key
from domain_models.training_phases import fresh_network
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread


def stripes(count: int, seed: int, prefix: str) -> LabelledImages:
    """Three classes in turn."""
    return striped(np.arange(count) % 3, seed, prefix)


def noisy(count: int, seed: int, prefix: str) -> LabelledImages:
    """Stripes under so much noise that features nobody trained see little of them."""
    clean = stripes(count, seed, prefix)
    noise = np.random.default_rng(seed + 100).normal(0, 150, clean.images[:].shape)
    pixels = np.clip(clean.images[:] + noise, 0, 255).astype(np.uint8)
    rows = ImageRows(pixels, np.arange(count))
    return LabelledImages(rows, clean.labels, clean.image_ids, clean.groups, clean.weights)


def small_data() -> TrainingData:
    return TrainingData(("across", "along", "neither"), stripes(60, 1, "t"), stripes(24, 2, "v"))


def changed(config: TrainingConfig, **values: object) -> TrainingConfig:
    return TrainingConfig.model_validate(config.model_dump() | values)


def same_weights(a: TrainedModel, b: TrainedModel) -> bool:
    mine, yours = a.network.state_dict(), b.network.state_dict()
    return mine.keys() == yours.keys() and all(torch.equal(mine[k], yours[k]) for k in mine)


def test_the_loss_falls_and_the_network_learns(tmp_path: Path) -> None:
    model = train(small_data(), changed(SMALL, epochs=10), tmp_path)
    losses = model.history["train_loss"].to_numpy()
    assert losses[-1] < 0.8 * losses[0]
    assert macro_f1(model.val_logits.argmax(axis=1), small_data().val.labels) > 0.8
    assert not model.network.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    config = changed(SMALL, epochs=2, augment=True, dropout=0.2, mixup_alpha=0.4, cutmix_alpha=1.0)
    one, two = (train(small_data(), config, tmp_path / name) for name in "ab")
    assert same_weights(one, two)
    assert not same_weights(one, train(small_data(), changed(config, seed=1), tmp_path / "c"))


@pytest.mark.parametrize("cached_views", [0, 3])
def test_frozen_layers_and_their_batch_statistics_do_not_move(tmp_path: Path, cached_views: int) -> None:
    config = changed(SMALL, frozen_stages=3, cached_views=cached_views, epochs=2, augment=True)
    before = fresh_network(config, 3)
    frozen = freeze_stages(before, 3)
    start = {name: value.clone() for name, value in before.body.state_dict().items()}
    after = train(small_data(), config, tmp_path).network.body.state_dict()
    for name, value in start.items():
        if any(name.startswith(f"{path}.") for path in frozen):
            assert torch.equal(after[name], value), name
    assert not torch.equal(after["layer4.0.conv1.weight"], start["layer4.0.conv1.weight"])
    assert not torch.equal(after["layer4.0.bn1.running_mean"], start["layer4.0.bn1.running_mean"])


@pytest.mark.parametrize("second_stage", [SecondStageKind.CLASSIFIER_RETRAINING, SecondStageKind.LOGIT_ADJUSTMENT])
def test_the_second_stage_moves_only_the_classifier(tmp_path: Path, second_stage: SecondStageKind) -> None:
    data = small_data()
    first = train(data, changed(SMALL, epochs=1), tmp_path / "one").network.body.state_dict()
    model = train(data, changed(SMALL, epochs=1, second_stage=second_stage), tmp_path / "two")
    second = model.network.body.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first if not name.startswith("fc."))
    assert any("Second stage" in sentence for sentence in model.sentences)
    if second_stage is SecondStageKind.LOGIT_ADJUSTMENT:
        assert all(torch.equal(first[name], second[name]) for name in first), "probabilities stay what they were"


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path) -> None:
    config = changed(SMALL, epochs=12, early_stopping=2, learning_rate=5e-3)
    model = train(small_data(), config, tmp_path)
    scores = model.history["val_macro_f1"].to_numpy()
    assert len(scores) < 12
    assert scores.max() not in scores[-2:] or scores.argmax() < len(scores) - 2
    assert macro_f1(model.val_logits.argmax(axis=1), small_data().val.labels) == pytest.approx(scores.max())


def test_fine_tuning_that_does_harm_leaves_the_backbone_as_it_was(tmp_path: Path) -> None:
    config = changed(SMALL, probe=True, epochs=1, learning_rate=10.0, warm_up_epochs=0.0, cross_fit_folds=2)
    before = {k: v.clone() for k, v in fresh_network(config, 3).body.state_dict().items()}
    model = train(small_data(), config, tmp_path / "harmed")
    after = model.network.body.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if not k.startswith("fc."))
    assert any("the backbone stays untouched" in sentence for sentence in model.sentences)
    probe = train(small_data(), changed(config, epochs=0), tmp_path / "probe")
    np.testing.assert_array_equal(model.val_logits, probe.val_logits)
    np.testing.assert_array_equal(model.cross_fit.logits, probe.cross_fit.logits)


def test_fine_tuning_that_helps_is_kept_though_the_probe_came_first(tmp_path: Path) -> None:
    data = TrainingData(("across", "along", "neither"), noisy(60, 1, "t"), noisy(60, 2, "v"))
    model = train(data, changed(SMALL, probe=True, epochs=12), tmp_path)
    assert any("fine-tuning is kept" in sentence for sentence in model.sentences)
    assert calibrated_nll(model.val_logits, data.val.labels) < 0.5 * model.history["val_loss"][0]


def test_the_probe_alone_leaves_the_backbone_as_it_is(tmp_path: Path) -> None:
    config = changed(SMALL, probe=True, epochs=0, cross_fit_folds=3)
    before = {k: v.clone() for k, v in fresh_network(config, 3).body.state_dict().items()}
    model = train(small_data(), config, tmp_path)
    after = model.network.body.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if not k.startswith("fc."))
    assert len(model.cross_fit.labels) == 84
    assert model.cross_fit.logits.shape == (84, 3)


def test_cross_fitted_predictions_come_from_models_that_did_not_see_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Labels by chance: only a model that saw an image could know them, if validation did not forbid it to learn them.
    monkeypatch.setattr(linear_probe, "PENALTIES", (1e-3,))
    data = small_data()
    chance = np.random.default_rng(5)
    scrambled = TrainingData(
        data.classes,
        LabelledImages(
            data.train.images, chance.integers(0, 3, 60), data.train.image_ids, data.train.groups, np.ones(60)
        ),
        LabelledImages(data.val.images, chance.integers(0, 3, 24), data.val.image_ids, data.val.groups, np.ones(24)),
    )
    # wide enough features to learn 60 labels by heart
    config = changed(SMALL, backbone="resnet10t", probe=True, epochs=0, cross_fit_folds=4)
    model = train(scrambled, config, tmp_path)
    seen = predict_logits(model.network, scrambled.train.images, config.preprocessing)
    assert (seen.argmax(axis=1) == scrambled.train.labels).mean() > 0.75
    assert (model.cross_fit.logits.argmax(axis=1) == model.cross_fit.labels).mean() < 0.55


def test_folds_of_a_fine_tuned_network_use_its_cached_views(tmp_path: Path) -> None:
    config = changed(SMALL, probe=True, epochs=2, frozen_stages=3, cached_views=2, cross_fit_folds=2, augment=True)
    model = train(small_data(), config, tmp_path)
    assert len(model.cross_fit.labels) == 84
    assert not list(tmp_path.glob("*.views"))


def test_a_run_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    train(small_data(), changed(SMALL, epochs=1), tmp_path)
    with pytest.raises(IntegrityError, match="other settings or other images"):
        train(small_data(), changed(SMALL, epochs=1, learning_rate=0.5), tmp_path)


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {folder!r})
from test_training import SMALL, changed, small_data
from domain_models.training import train
train(small_data(), changed(SMALL, epochs=6, augment=True), Path(sys.argv[1]))
"""


def test_a_training_killed_in_an_epoch_ends_where_an_uninterrupted_one_ends(tmp_path: Path) -> None:

    script = SCRIPT.format(folder=str(Path(__file__).parent))
    run = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, str(run)])
    try:
        deadline = time.monotonic() + 120
        while not (run / "epoch.pt").exists():
            assert process.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    config = changed(SMALL, epochs=6, augment=True)
    reached = load_checkpoint(run / "epoch.pt", training_key(small_data(), config))
    assert reached is not None
    assert 1 <= reached["epoch"] < 6, "killed too late to show anything"
    resumed = train(small_data(), config, run)
    whole = train(small_data(), config, tmp_path / "whole")
    assert same_weights(resumed, whole)
    np.testing.assert_array_equal(resumed.val_logits, whole.val_logits)
    columns = ["epoch", "train_loss", "val_macro_f1", "learning_rate"]
    assert resumed.history[columns].equals(whole.history[columns])
