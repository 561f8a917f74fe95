"""Incremental training of a small real network on small real images: what is learned, and what is not forgotten."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.errors import IntegrityError
from domain_models import incremental
from domain_models.backbones import Classifier
from domain_models.checkpoints import load_checkpoint
from domain_models.classifier_growth import columns_of, fit_new_rows, regrown
from domain_models.incremental import (
    Champion,
    Increment,
    IncrementalModel,
    class_counts,
    increment_key,
    learn_increment,
)
from domain_models.incremental_config import CHAMPION_WEIGHTS, incremental_config
from domain_models.inference import predict_logits
from domain_models.linear_probe import LinearProbe, macro_f1
from domain_models.training import train
from domain_models.training_config import TrainingConfig
from domain_models.training_data import LabelledImages, TrainingData
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread

CLASSES = ("across", "along", "neither")
ALL = (*CLASSES, "both")
BASE = SMALL.model_copy(update={"epochs": 12})


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tuning goes on however bad its first epoch was; on these images a new classifier is hard to beat."""
    monkeypatch.setattr(incremental, "REACH", float("inf"))


def stripes(count: int, seed: int, prefix: str, kinds: tuple[int, ...] = (0, 1, 2)) -> LabelledImages:
    """These classes in turn."""
    return striped(np.asarray(kinds)[np.arange(count) % len(kinds)], seed, prefix)


def parts(*images: LabelledImages) -> LabelledImages:
    whole = images[0]
    for more in images[1:]:
        whole = whole.joined(more)
    return whole


@cache
def champion_network() -> tuple[Classifier, TrainingConfig]:
    """Trained once, on labels of which the images 'w0' to 'w5' carry a wrong one."""
    import tempfile

    wrong = stripes(6, 9, "w", (0,))
    wrong = replace(wrong, labels=np.full(6, 2, dtype=np.int64))
    data = TrainingData(CLASSES, parts(stripes(60, 1, "t"), wrong), stripes(24, 2, "v"))
    with tempfile.TemporaryDirectory() as folder:
        return train(data, BASE, Path(folder)).network, BASE


def champion() -> Champion:
    network, _ = champion_network()
    return Champion(network, CLASSES, "run-of-the-champion")


def config(**values: object) -> TrainingConfig:
    network, base = champion_network()
    chosen = incremental_config(base, network, seed=0, device="cpu")
    return TrainingConfig.model_validate(chosen.model_dump() | {"learning_rate": 1e-3, "epochs": 4} | values)


def increment(new: LabelledImages, old: LabelledImages, val: LabelledImages, classes: tuple[str, ...]) -> Increment:
    data = TrainingData(classes, parts(new, old), val)
    changed = np.arange(len(data.train)) < len(new)
    return Increment(data, changed, data.train.weights, class_counts(data.train.labels, len(classes)))


def learn(what: Increment, folder: Path, how: TrainingConfig | None = None) -> IncrementalModel:
    return learn_increment(champion(), what, how or config(), folder / "run", folder / "cache")


def predicted(model: IncrementalModel, images: LabelledImages) -> np.ndarray:
    return predict_logits(model.trained.network, images.images, BASE.preprocessing).argmax(axis=1)


def test_the_last_stage_learns_and_everything_before_it_stays(tmp_path: Path) -> None:
    what = increment(stripes(24, 3, "n"), stripes(30, 1, "t"), stripes(24, 2, "v"), CLASSES)
    model = learn(what, tmp_path)
    before, after = champion_network()[0].body.state_dict(), model.trained.network.body.state_dict()
    for name, value in before.items():
        if name.startswith(("conv1", "bn1", "layer1", "layer2", "layer3")):
            assert torch.equal(after[name], value), name
    assert model.trained.config.weights == CHAMPION_WEIGHTS
    assert model.trained.config.frozen_stages == len(champion_network()[0].stages) - 1
    assert not model.trained.network.training
    if any("fine-tuning is kept" in sentence for sentence in model.trained.sentences):
        assert not torch.equal(after["layer4.0.conv1.weight"], before["layer4.0.conv1.weight"])
        assert torch.equal(after["layer4.0.bn1.running_mean"], before["layer4.0.bn1.running_mean"])


def test_an_old_class_of_which_no_new_image_came_is_not_forgotten(tmp_path: Path) -> None:
    # Everything new is of one class; two old images of each other class are all that is seen again.
    what = increment(stripes(40, 3, "n", (0,)), stripes(6, 1, "t"), stripes(24, 2, "v"), CLASSES)
    test = stripes(60, 77, "x")
    before = predict_logits(champion().network, test.images, BASE.preprocessing).argmax(axis=1)
    after = predicted(learn(what, tmp_path), test)
    assert macro_f1(before, test.labels) > 0.9
    assert macro_f1(after, test.labels) > macro_f1(before, test.labels) - 0.05


def test_corrections_are_learned_though_the_champion_knew_the_wrong_label_by_heart(tmp_path: Path) -> None:
    corrected = stripes(6, 9, "w", (0,))
    wrong = predict_logits(champion().network, corrected.images, BASE.preprocessing).argmax(axis=1)
    what = increment(corrected, stripes(30, 1, "t"), stripes(24, 2, "v"), CLASSES)
    assert (predicted(learn(what, tmp_path), corrected) == 0).mean() >= max(0.8, (wrong == 0).mean())


def test_a_new_class_is_learned_beside_the_old_ones(tmp_path: Path) -> None:
    val = parts(stripes(24, 2, "v"), stripes(8, 12, "u", (3,)))
    what = increment(stripes(16, 3, "n", (3,)), stripes(30, 1, "t"), val, ALL)
    model = learn(what, tmp_path)
    test = parts(stripes(60, 77, "x"), stripes(20, 78, "y", (3,)))
    assert model.trained.network.architecture.classes == 4
    assert model.trained.val_logits.shape == (32, 4)
    answer = predicted(model, test)
    assert (answer[60:] == 3).mean() > 0.8
    assert macro_f1(answer, test.labels) > 0.85


def test_a_champion_whose_backbone_never_learned_gets_a_new_classifier_only(tmp_path: Path) -> None:
    network, base = champion_network()
    still = incremental_config(base.model_copy(update={"epochs": 0, "probe": True}), network, seed=0, device="cpu")
    assert (still.epochs, still.frozen_stages, still.cached_views) == (0, 0, 0)
    what = increment(stripes(24, 3, "n"), stripes(30, 1, "t"), stripes(24, 2, "v"), CLASSES)
    model = learn(what, tmp_path, TrainingConfig.model_validate(still.model_dump()))
    before, after = network.body.state_dict(), model.trained.network.body.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("fc."))
    assert macro_f1(predicted(model, stripes(60, 77, "x")), stripes(60, 77, "x").labels) > 0.9


def test_calibration_rests_on_what_the_stored_network_says(tmp_path: Path) -> None:
    what = increment(stripes(24, 3, "n"), stripes(30, 1, "t"), stripes(24, 2, "v"), CLASSES)
    model = learn(what, tmp_path)
    full = predict_logits(model.trained.network, what.data.val.images, BASE.preprocessing)
    np.testing.assert_allclose(model.trained.val_logits, full, atol=0.05)


@pytest.mark.usefixtures("patient")
def test_the_second_retraining_computes_only_new_images(tmp_path: Path) -> None:
    val, old = stripes(24, 2, "v"), stripes(30, 1, "t")
    how = config()
    first = learn_increment(
        champion(), increment(stripes(9, 3, "n"), old, val, CLASSES), how, tmp_path / "one", tmp_path / "cache"
    )
    assert first.maps_computed == first.maps_wanted == 24 + 30 + 9 * how.cached_views
    heir = Champion(first.trained.network, CLASSES, "run-of-the-heir")
    new = stripes(6, 4, "m")
    second = learn_increment(heir, increment(new, old, val, CLASSES), how, tmp_path / "two", tmp_path / "cache")
    assert second.maps_computed == 6 * how.cached_views
    again = learn_increment(heir, increment(new, old, val, CLASSES), how, tmp_path / "three", tmp_path / "cache")
    assert again.maps_computed == 0
    np.testing.assert_array_equal(again.trained.val_logits, second.trained.val_logits)
    other = config(preprocessing=BASE.preprocessing.model_copy(update={"mean": (0.4, 0.4, 0.4)}))
    anew = learn_increment(heir, increment(new, old, val, CLASSES), other, tmp_path / "four", tmp_path / "cache")
    assert anew.maps_computed == anew.maps_wanted


def test_what_a_full_training_computed_of_frozen_stages_is_not_computed_again(tmp_path: Path) -> None:
    val, old, new = stripes(24, 2, "v"), stripes(30, 1, "t"), stripes(9, 3, "n")
    stages = len(champion_network()[0].stages) - 1
    base = TrainingConfig.model_validate(
        BASE.model_dump() | {"frozen_stages": stages, "cached_views": 2, "augment": True, "epochs": 2}
    )
    data = TrainingData(CLASSES, old, val)
    trained = train(data, base, tmp_path / "full", activations=tmp_path / "cache")
    how = incremental_config(base, trained.network, seed=0, device="cpu")
    heir = Champion(trained.network, CLASSES, "full")
    model = learn_increment(heir, increment(new, old, val, CLASSES), how, tmp_path / "run", tmp_path / "cache")
    assert model.maps_computed == model.maps_wanted - len(val) - len(old)
    anew = learn_increment(heir, increment(new, old, val, CLASSES), how, tmp_path / "other", tmp_path / "empty")
    assert anew.maps_computed == anew.maps_wanted
    np.testing.assert_allclose(model.trained.val_logits, anew.trained.val_logits, atol=0.05)  # float16 maps, rounded


@pytest.mark.parametrize("mirrored_view", [False, True])
@pytest.mark.parametrize("cached_views", [0, 2])
def test_of_old_images_that_only_the_classifier_sees_a_full_training_leaves_all_that_is_needed(
    tmp_path: Path, cached_views: int, mirrored_view: bool
) -> None:
    val, old, new = stripes(24, 2, "v"), stripes(30, 1, "t"), stripes(9, 3, "n")
    stages = (len(champion_network()[0].stages) - 1) if cached_views else 0
    base = TrainingConfig.model_validate(
        BASE.model_dump()
        | {"frozen_stages": stages, "cached_views": cached_views, "epochs": 2, "mirrored_view": mirrored_view}
    )
    trained = train(TrainingData(CLASSES, old, val), base, tmp_path / "full", activations=tmp_path / "cache")
    told = predict_logits(trained.network, val.images, base.preprocessing)
    np.testing.assert_allclose(trained.val_logits, told, atol=0.05)
    how = incremental_config(base, trained.network, seed=0, device="cpu")
    heir = Champion(trained.network, CLASSES, "full")
    what = increment(new, old, val, CLASSES)
    weights = what.fine_tuning_weights.copy()
    weights[len(new) + 10 :] = 0
    what = replace(what, fine_tuning_weights=weights)
    model = learn_increment(heir, what, how, tmp_path / "run", tmp_path / "cache")
    views = len(new) * (how.cached_views - 1) if len(model.trained.history) > 2 else 0
    assert model.maps_wanted == len(val) + len(new) + 10 + views
    anew = learn_increment(heir, what, how, tmp_path / "other", tmp_path / "empty")
    assert anew.maps_computed == anew.maps_wanted == len(val) + len(new) + len(old) + views
    told = predict_logits(model.trained.network, val.images, base.preprocessing)
    np.testing.assert_allclose(model.trained.val_logits, told, atol=0.05)
    np.testing.assert_allclose(model.trained.val_logits, anew.trained.val_logits, atol=0.02)
    later = learn_increment(heir, what, how, tmp_path / "later", tmp_path / "empty")
    assert (later.maps_computed, later.maps_wanted) == (0, model.maps_wanted)


def test_fine_tuning_that_is_out_of_reach_of_the_classifier_ends_after_one_epoch(tmp_path: Path) -> None:
    what = increment(stripes(9, 3, "n"), stripes(30, 1, "t"), stripes(24, 2, "v"), CLASSES)
    model = learn(what, tmp_path, config(learning_rate=0.3))
    rows = model.trained.history
    assert len(rows[rows["phase"] == "fine_tuning"]) == 1
    assert model.maps_wanted == 9 + 30 + 24, "augmented views are for later epochs"
    (sentence,) = [sentence for sentence in model.trained.sentences if "log-loss" in sentence]
    assert sentence.endswith("the backbone stays as it is. Fine-tuning was given up after one epoch.")
    before, after = champion_network()[0].body.state_dict(), model.trained.network.body.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("fc."))
    again = learn(what, tmp_path, config(learning_rate=0.3))
    np.testing.assert_array_equal(again.trained.val_logits, model.trained.val_logits)


def test_a_run_folder_of_another_increment_is_refused(tmp_path: Path) -> None:
    learn(increment(stripes(9, 3, "n"), stripes(30, 1, "t"), stripes(24, 2, "v"), CLASSES), tmp_path)
    with pytest.raises(IntegrityError, match="other settings or other images"):
        learn(increment(stripes(6, 4, "m"), stripes(30, 1, "t"), stripes(24, 2, "v"), CLASSES), tmp_path)


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from domain_models import incremental
incremental.REACH = float("inf")
sys.path.insert(0, {folder!r})
from test_incremental import CLASSES, config, increment, learn, stripes
learn(increment(stripes(24, 3, "n"), stripes(60, 1, "t"), stripes(24, 2, "v"), CLASSES), Path(sys.argv[1]),
      config(epochs=8))
"""


@pytest.mark.usefixtures("patient")
def test_a_retraining_killed_in_an_epoch_ends_where_an_uninterrupted_one_ends(tmp_path: Path) -> None:
    script = SCRIPT.format(folder=str(Path(__file__).parent))
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "killed")])
    checkpoint = tmp_path / "killed" / "run" / "epoch.pt"
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists():
            assert process.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    what = increment(stripes(24, 3, "n"), stripes(60, 1, "t"), stripes(24, 2, "v"), CLASSES)
    how = config(epochs=8)
    reached = load_checkpoint(checkpoint, increment_key(champion(), what, how))
    assert reached is not None
    assert 1 <= reached["epoch"] < 8
    resumed, whole = learn(what, tmp_path / "killed", how), learn(what, tmp_path / "whole", how)
    mine, yours = resumed.trained.network.state_dict(), whole.trained.network.state_dict()
    assert all(torch.equal(mine[name], yours[name]) for name in mine)
    assert resumed.maps_computed <= 24 * (how.cached_views - 1), "nothing of before the kill but views not yet begun"


def test_a_regrown_network_says_of_old_classes_what_it_said(tmp_path: Path) -> None:
    network, _ = champion_network()
    images = torch.rand((4, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    twin = regrown(network, CLASSES, ("neither", "both", "across"))
    with torch.inference_mode():
        before, after = network(images), twin(images)
    torch.testing.assert_close(after[:, [0, 2]], before[:, [2, 0]])
    assert torch.equal(after[:, 1], torch.zeros(4))
    old, new = columns_of(CLASSES, ("neither", "both", "across"))
    assert (old.tolist(), new.tolist()) == ([0, 2], [2, 0])


def test_only_the_rows_of_new_classes_are_fitted() -> None:
    chance = np.random.default_rng(3)
    labels = np.arange(90) % 3
    features = (chance.normal(0, 0.3, (90, 5)) + np.eye(5)[labels]).astype(np.float32)
    known = LinearProbe(
        np.eye(3, 5, dtype=np.float32) * np.array([[4], [4], [0]], dtype=np.float32), np.zeros(3, "f"), 0
    )
    fitted = fit_new_rows(known, np.array([2]), features, labels, np.ones(90))
    np.testing.assert_array_equal(fitted.weight[:2], known.weight[:2])
    assert (fitted.logits(features).argmax(axis=1) == labels).mean() > 0.9
    assert (known.logits(features).argmax(axis=1) == labels).mean() < 0.8
