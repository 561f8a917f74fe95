"""Losses by hand, samplers' frequencies, schedule, mixing, augmentation seeds, configuration, cache."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from data_contracts.blobs import Blobs, image_id_of
from data_contracts.errors import BadInput
from data_contracts.input_settings import AugmentationSettings
from domain_models.augmentation import augmented, build_policy
from domain_models.cross_fitting import group_folds
from domain_models.image_cache import build_image_cache
from domain_models.linear_probe import fit_linear_probe
from domain_models.losses import balanced_softmax, cross_entropy, focal, soft_targets
from domain_models.mixing import cutmix, mixup
from domain_models.preprocessing import Preprocessing, ResizeMode, prepare, reduced, to_tensor
from domain_models.presets import DataFacts, Preset, choose
from domain_models.samplers import SAMPLERS
from domain_models.schedules import rate_factor
from domain_models.training_config import SamplerKind, ScheduleKind, TrainingConfig, with_overrides

LOGITS = torch.tensor([[2.0, 0.0, -1.0]])
P = [math.exp(z) / (math.exp(2) + 1 + math.exp(-1)) for z in (2, 0, -1)]


def test_losses_equal_hand_computation() -> None:
    target = torch.tensor([[0.0, 1.0, 0.0]])
    assert cross_entropy(LOGITS, target).item() == pytest.approx(-math.log(P[1]))
    assert focal(LOGITS, target, 2.0).item() == pytest.approx(-((1 - P[1]) ** 2) * math.log(P[1]))
    assert focal(LOGITS, target, 0.0).item() == pytest.approx(-math.log(P[1]))
    counts = [80, 15, 5]
    shifted = [math.exp(z) * n for z, n in zip((2, 0, -1), counts, strict=True)]
    expected = -math.log(shifted[1] / sum(shifted))
    assert balanced_softmax(LOGITS, target, torch.tensor(counts).log()).item() == pytest.approx(expected)
    smooth = soft_targets(torch.tensor([1]), 3, 0.3)
    assert smooth.tolist()[0] == pytest.approx([0.1, 0.8, 0.1])


@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        (SamplerKind.NATURAL, [0.81, 0.16, 0.03]),
        (SamplerKind.CLASS_BALANCED, [1 / 3] * 3),
        (SamplerKind.PROGRESSIVELY_BALANCED, [(0.81 + 1 / 3) / 2, (0.16 + 1 / 3) / 2, (0.03 + 1 / 3) / 2]),
        (SamplerKind.SQUARE_ROOT, [9 / (9 + 4 + math.sqrt(3)), 4 / (9 + 4 + math.sqrt(3)), 0.118]),
    ],
)
def test_samplers_draw_classes_as_often_as_they_say(kind: SamplerKind, shares: list[float]) -> None:
    labels = np.repeat([0, 1, 2], [81, 16, 3])
    drawn = SAMPLERS[kind](labels, np.ones(100), np.random.default_rng(0), 0.5)
    assert len(drawn) == 100
    assert np.bincount(labels[drawn], minlength=3) / 100 == pytest.approx(shares, abs=0.011)
    assert 7 not in SAMPLERS[kind](labels, np.where(np.arange(100) == 7, 0.0, 1.0), np.random.default_rng(0), 0.5)


def test_the_schedule_warms_up_and_falls_along_a_cosine() -> None:
    factors = [rate_factor(s, 110, 10, ScheduleKind.COSINE, 0.1) for s in range(110)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


def test_mixing_blends_images_and_targets_in_the_same_share() -> None:
    images = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    targets, order = torch.eye(2), torch.tensor([1, 0])
    mixed, blended = mixup(images, targets, order, 0.75)
    assert mixed[0].mean().item() == pytest.approx(0.25)
    assert blended[0].tolist() == pytest.approx([0.75, 0.25])
    for centre in ((0.5, 0.5), (0.0, 0.9)):
        mixed, blended = cutmix(images, targets, order, 0.6, centre)
        assert blended[0, 1].item() == pytest.approx(mixed[0].mean().item())


def test_augmentation_follows_seed_epoch_and_image_alone() -> None:
    settings = AugmentationSettings(flip_vertical=True, rotate_quarter_turns=True, noise_probability=0.5)
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    ids = ["a", "b", "c", "d"]
    first = augmented(build_policy(settings, 3), images, ids, 0, 1)
    backwards = augmented(build_policy(settings, 3), images[::-1], ids[::-1], 0, 1)[::-1]
    np.testing.assert_array_equal(first, backwards)
    policy = build_policy(settings, 3)
    assert not np.array_equal(first, augmented(policy, images, ids, 0, 2))
    assert not np.array_equal(first, augmented(policy, images, ids, 1, 1))
    same_pixels = augmented(policy, np.repeat(images[:1], 4, axis=0), ids, 0, 1)
    assert len({view.tobytes() for view in same_pixels}) > 1


@pytest.mark.parametrize("resize", list(ResizeMode))
@pytest.mark.parametrize(("stored", "channels"), [((90, 140), 3), ((90, 140), 1), ((200, 150, 3), 1)])
def test_a_smaller_model_sees_just_what_can_be_made_of_a_larger_ones_pixels(
    resize: ResizeMode, stored: tuple[int, ...], channels: int
) -> None:
    image = np.random.default_rng(0).integers(0, 256, stored, dtype=np.uint8)
    small = Preprocessing(height=48, width=64, channels=channels, resize=resize, reduced_from=(80, 96))
    large = Preprocessing(height=80, width=96, channels=channels, resize=resize)
    assert small.larger() == large
    assert np.array_equal(prepare(image, small), reduced(prepare(image, large), small))
    assert small.pixel_key != small.model_copy(update={"reduced_from": None}).pixel_key
    with pytest.raises(ValueError, match="at least height and width"):
        Preprocessing(height=48, width=64, reduced_from=(40, 96))


def test_grey_and_colour_are_prepared_as_the_specification_says() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (30, 50), dtype=np.uint8)
    for mode in ResizeMode:
        for channels in (1, 3):
            spec = Preprocessing(height=32, width=48, channels=channels, resize=mode)
            out = prepare(grey, spec)
            assert out.shape == (32, 48, channels)
            tensor = to_tensor(out[None], spec)
            assert tensor.shape == (1, 3, 32, 48)
            assert torch.equal(tensor[:, 0], tensor[:, 2])
            assert tensor.abs().max() <= 1.0


def test_settings_are_checked_with_the_nearest_key() -> None:
    config = with_overrides(TrainingConfig(), ["epochs=3", "preprocessing.height=96", "learning_rate=1e-4"])
    assert (config.epochs, config.preprocessing.height, config.learning_rate) == (3, 96, 1e-4)
    with pytest.raises(BadInput, match="did you mean 'learning_rate'"):
        with_overrides(TrainingConfig(), ["lerning_rate=0.1"])
    with pytest.raises(BadInput, match="epochs"):
        with_overrides(TrainingConfig(), ["epochs=many"])


def test_every_preset_chooses_the_same_for_the_same_facts_and_says_why() -> None:
    facts = DataFacts(
        class_counts={"a": 900, "b": 100}, validation_count=200, median_height=150, median_width=200, grey_share=0
    )
    for preset in Preset:
        config, sentences = choose(preset, facts)
        assert (config, sentences) == choose(preset, facts)
        assert config.preprocessing.width > config.preprocessing.height
        assert len(sentences) >= 3


def test_a_probe_recovers_a_linear_rule_and_a_balanced_prior_is_left_out() -> None:
    chance = np.random.default_rng(0)
    features = chance.normal(size=(400, 5)).astype(np.float32)
    labels = (features[:, 0] + 0.1 * chance.normal(size=400) > 0).astype(np.int64)
    probe = fit_linear_probe(features, labels, np.ones(400), 2, penalty=1e-3)
    assert (probe.logits(features).argmax(axis=1) == labels).mean() > 0.95


def test_a_probe_held_to_a_classifier_moves_from_it_only_as_far_as_the_images_ask() -> None:
    chance = np.random.default_rng(5)
    features = chance.normal(2.0, 3.0, (300, 6)).astype(np.float32)
    labels = (features[:, 0] > features[:, 1]).astype(np.int64)
    known = fit_linear_probe(features, labels, np.ones(300), 2, penalty=1e-3)
    others = chance.normal(2.0, 3.0, (200, 6)).astype(np.float32)
    contradicted = (others[:, 2] > 2.0).astype(np.int64)

    def distance(penalty: float) -> float:
        moved = fit_linear_probe(others, contradicted, np.ones(200), 2, penalty=penalty, around=known)
        return float(np.linalg.norm(moved.weight - known.weight))

    assert distance(1e6) < 1e-3 * np.linalg.norm(known.weight)
    assert distance(1e-3) > distance(1e-1) > distance(10.0) > distance(1e6)
    free = fit_linear_probe(others, contradicted, np.ones(200), 2, penalty=1e-3, around=known)
    assert float((free.logits(others).argmax(axis=1) == contradicted).mean()) > 0.95, "what images say is learned"


def test_no_group_is_on_both_sides_of_a_fold() -> None:
    groups = tuple(f"g{i // 3}" for i in range(60))
    folds = group_folds(np.arange(60) % 2, groups, 5, seed=0)
    assert len(folds) == 5
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(60))
    for train, held in folds:
        assert not {groups[i] for i in train} & {groups[i] for i in held}


def test_the_cache_decodes_only_what_is_missing_and_survives_a_torn_journal(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    chance = np.random.default_rng(0)
    items = []
    for number in range(6):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), chance.integers(0, 256, (20, 20, 3), dtype=np.uint8))
        items.append((image_id_of(path.read_bytes()), f"r/{number}.png"))
    blobs, spec = Blobs({"r": folder}), Preprocessing(height=16, width=16)
    first = build_image_cache(tmp_path / "cache", items[:4], blobs, spec)
    wanted = [first.array[first.index[image_id]].copy() for image_id, _ in items[:4]]
    journal = tmp_path / "cache" / spec.pixel_key / "rows.txt"
    journal.write_text(journal.read_text()[:-10])  # killed while writing the fourth line
    (folder / "0.png").unlink()  # cached, so never read again
    again = build_image_cache(tmp_path / "cache", items, blobs, spec)
    assert len(set(again.rows([image_id for image_id, _ in items]).tolist())) == 6
    for (image_id, _), pixels in zip(items[:4], wanted, strict=True):
        np.testing.assert_array_equal(again.array[again.index[image_id]], pixels)
