"""Each method for long tails does what its paper says, on cases small enough to compute by hand."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from domain_models.architecture import HeadKind
from domain_models.attention import EfficientChannelAttention
from domain_models.calibration import softmax
from domain_models.class_weights import class_weights
from domain_models.decision_costs import DecisionCosts, weighted_mistakes
from domain_models.decision_weights import choose_decision_weights
from domain_models.heads import COSINE_SCALE
from domain_models.inference import predict_logits
from domain_models.linear_probe import LinearProbe, macro_f1
from domain_models.losses import LOSSES, arcface, ldam, ldam_margins
from domain_models.samplers import SAMPLERS
from domain_models.schedules import CYCLES, FIRST_OF_CYCLE, RISE, rate_factor
from domain_models.training import train
from domain_models.training_config import (
    LossKind,
    ReweightingKind,
    SamplerKind,
    ScheduleKind,
    SecondStageKind,
    TrainingConfig,
)
from domain_models.training_data import LabelledImages, TrainedModel, TrainingData
from domain_models.training_phases import classifier_of
from domain_models.two_stage import INDIFFERENCE, SECOND_STAGES, choose_rebalanced, expected_figures
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread

COUNTS = np.array([80, 15, 5])
TARGET = torch.tensor([[0.0, 1.0, 0.0]])


def softmax_loss(logits: list[float], true: int) -> float:
    return -logits[true] + math.log(sum(math.exp(z) for z in logits))


def test_the_adjusted_loss_adds_the_log_class_frequencies() -> None:
    config = TrainingConfig(loss=LossKind.LOGIT_ADJUSTED, adjustment=1.5)
    loss = LOSSES[config.loss](config, torch.from_numpy(COUNTS))
    shifted = [z + 1.5 * math.log(n / 100) for z, n in zip((2.0, 0.0, -1.0), COUNTS, strict=True)]
    assert loss(torch.tensor([[2.0, 0.0, -1.0]]), TARGET).item() == pytest.approx(softmax_loss(shifted, 1))
    plain = TrainingConfig(loss=LossKind.LOGIT_ADJUSTED, adjustment=0.0)
    unchanged = LOSSES[plain.loss](plain, torch.from_numpy(COUNTS))
    assert unchanged(torch.tensor([[2.0, 0.0, -1.0]]), TARGET).item() == pytest.approx(softmax_loss([2, 0, -1], 1))


def test_ldam_asks_a_larger_margin_of_rare_classes() -> None:
    margins = ldam_margins(torch.tensor([16, 1, 81]), 0.5)
    assert margins.tolist() == pytest.approx([0.25, 0.5, 0.5 / 3])
    cosines = torch.tensor([[0.2, 0.6, 0.1]])
    loss = ldam(30 * cosines, TARGET, margins, 30.0)
    assert loss.item() == pytest.approx(softmax_loss([6.0, 30 * (0.6 - 0.5), 3.0], 1), rel=1e-5)


def test_arcface_widens_the_angle_to_the_true_class() -> None:
    loss = arcface(30 * torch.tensor([[0.2, 0.6, 0.1]]), TARGET, 0.5, 30.0)
    moved = math.cos(math.acos(0.6) + 0.5)
    assert loss.item() == pytest.approx(softmax_loss([6.0, 30 * moved, 3.0], 1), rel=1e-4)
    values = [
        arcface(30 * torch.tensor([[0.0, cosine, 0.0]]), TARGET, 0.5, 30.0).item()
        for cosine in np.linspace(-1, 0.9, 39)
    ]
    assert all(worse > better for worse, better in itertools.pairwise(values)), "also where angle and margin pass pi"


def test_effective_numbers_lie_between_alike_and_inverse_frequency() -> None:
    config = TrainingConfig(reweighting=ReweightingKind.EFFECTIVE_NUMBER, effective_number_beta=0.9)
    weights = class_weights(COUNTS, config, 0.0)
    raw = [(1 - 0.9) / (1 - 0.9**n) for n in COUNTS]
    scale = 100 / sum(n * w for n, w in zip(COUNTS, raw, strict=True))
    assert weights.tolist() == pytest.approx([scale * w for w in raw])
    assert (weights * COUNTS).sum() == pytest.approx(100), "images weigh 1 in the mean"
    inverse = class_weights(COUNTS, TrainingConfig(reweighting=ReweightingKind.INVERSE_FREQUENCY), 0.0)
    assert (inverse * COUNTS).tolist() == pytest.approx([100 / 3] * 3)
    nearly = TrainingConfig(reweighting=ReweightingKind.EFFECTIVE_NUMBER, effective_number_beta=1 - 1e-7)
    assert class_weights(COUNTS, nearly, 0.0).tolist() == pytest.approx(inverse.tolist(), rel=1e-3)
    assert class_weights(np.array([7, 0]), config, 0.0)[0] == pytest.approx(1.0), (
        "a class without images weighs nothing"
    )


def test_deferred_reweighting_begins_late() -> None:
    config = TrainingConfig(reweighting=ReweightingKind.INVERSE_FREQUENCY, reweighting_from=0.8)
    assert class_weights(COUNTS, config, 0.79).tolist() == [1, 1, 1]
    assert class_weights(COUNTS, config, 0.8)[2] > 6


def test_progressive_balancing_goes_from_natural_to_balanced() -> None:
    labels = np.repeat([0, 1, 2], COUNTS)
    sampler = SAMPLERS[SamplerKind.PROGRESSIVELY_BALANCED]
    shares = [
        np.bincount(labels[sampler(labels, np.ones(100), np.random.default_rng(0), done)], minlength=3) / 100
        for done in (0.0, 0.5, 1.0)
    ]
    assert shares[0].tolist() == pytest.approx([0.8, 0.15, 0.05], abs=0.011)
    assert shares[2].tolist() == pytest.approx([1 / 3] * 3, abs=0.011)
    assert shares[1].tolist() == pytest.approx(((shares[0] + shares[2]) / 2).tolist(), abs=0.021)


def test_one_cycle_rises_then_falls() -> None:
    factors = [rate_factor(s, 101, 0, ScheduleKind.ONE_CYCLE, 0.01) for s in range(101)]
    top = round(100 * RISE)
    assert (factors[0], factors[top], factors[-1]) == pytest.approx((FIRST_OF_CYCLE, 1.0, 0.01))
    assert all(a < b for a, b in itertools.pairwise(factors[: top + 1]))
    assert all(a > b for a, b in itertools.pairwise(factors[top:]))


def test_warm_restarts_begin_anew_after_cycles_that_double() -> None:
    steps = 7 * 20 + 1
    factors = [rate_factor(s, steps, 0, ScheduleKind.WARM_RESTARTS, 0.01) for s in range(steps)]
    starts = [s for s in range(1, steps) if factors[s] > factors[s - 1]]
    assert starts == [20, 60]
    assert len(starts) == CYCLES - 1
    assert [factors[s] for s in (0, 20, 60)] == pytest.approx([1.0] * 3)
    assert factors[-1] == pytest.approx(0.01)


def test_tau_normalisation_takes_away_the_length_of_class_weights() -> None:
    known = LinearProbe(np.array([[3, 4], [0, 1]], dtype=np.float32), np.array([1, -1], dtype=np.float32), 0.1)
    features, labels, weights = np.eye(2, dtype=np.float32), np.array([0, 1]), np.ones(2)
    none, half, whole = SECOND_STAGES[SecondStageKind.TAU_NORMALISATION](known, features, labels, weights, (0, 0.5, 1))
    np.testing.assert_allclose(none.classifier.weight, known.weight)
    np.testing.assert_allclose(half.classifier.weight, known.weight / np.sqrt([[5], [1]]), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(whole.classifier.weight, axis=1), [1, 1], rtol=1e-6)
    assert not whole.classifier.bias.any()


def test_expected_figures_are_the_true_ones_where_probabilities_are_certain() -> None:
    truth, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    f1, recall = expected_figures(predicted, np.eye(3)[truth])
    assert f1 == pytest.approx(macro_f1(predicted, truth))
    assert recall == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    halves = np.full((2, 2), 0.5)  # one right in expectation, of two given to class 0 and one expected of each class
    assert expected_figures(np.array([0, 0]), halves) == pytest.approx(((2 * 1 / (2 + 1) + 0) / 2, 0.5))


def test_the_strength_is_chosen_for_rare_classes_where_that_costs_nothing() -> None:
    chance = np.random.default_rng(0)
    labels = chance.choice(3, 4000, p=COUNTS / COUNTS.sum()).astype(np.int64)
    centres = 1.2 * np.eye(3)
    features = (centres[labels] + chance.normal(0, 1, (4000, 3))).astype(np.float32)
    prior = np.log(COUNTS / COUNTS.sum())
    bayes = LinearProbe(centres.astype(np.float32), (prior - 0.72).astype(np.float32), 0.0)  # |x - c|^2 / 2
    every = SECOND_STAGES[SecondStageKind.LOGIT_ADJUSTMENT](bayes, features, labels, np.ones(4000), None)
    choice = choose_rebalanced(bayes, every, features[:2000], labels[:2000])
    assert choice.strength is not None
    assert choice.after[0] > choice.before[0]
    assert choice.after[1] > choice.before[1]
    reached = {
        one.strength: macro_f1(one.classifier.logits(features[2000:]).argmax(axis=1), labels[2000:]) for one in every
    }
    assert reached[choice.strength] > max(reached.values()) - 4 * INDIFFERENCE
    assert choice.after[0] == pytest.approx(reached[choice.strength], abs=0.04)
    alone = choose_rebalanced(bayes, every[:1], features[:2000], labels[:2000])
    assert alone.strength is None
    assert alone.classifier is bayes

    logits = bayes.logits(features)
    found = choose_decision_weights(logits[:2000], labels[:2000], COUNTS, groups=np.arange(2000) // 2)
    assert found.weights is not None
    assert found.strength is not None
    assert abs(found.strength - choice.strength) <= 0.25
    np.testing.assert_allclose(found.weights, (COUNTS.max() / COUNTS) ** found.strength)
    weighed = DecisionCosts.of(weighted_mistakes(found.weights)).predicted(softmax(logits[2000:]))
    assert macro_f1(weighed, labels[2000:]) > max(reached.values()) - 4 * INDIFFERENCE
    assert f"kept (strength {found.strength:g})" in found.sentence
    even = choose_decision_weights(logits[:2000], labels[:2000], np.full(3, 100))
    assert (even.weights, even.strength) == (None, None)


def test_learned_scales_leave_directions_and_help_the_rare_class() -> None:
    chance = np.random.default_rng(0)
    labels = np.repeat([0, 1], [190, 10])
    features = (chance.normal(0, 0.6, (200, 2)) + np.eye(2)[labels]).astype(np.float32)
    known = LinearProbe(np.array([[4, 0], [0, 0.5]], dtype=np.float32), np.zeros(2, dtype=np.float32), 0.1)
    scale = SECOND_STAGES[SecondStageKind.LEARNABLE_WEIGHT_SCALING]
    (scaled,) = scale(known, features, labels, np.ones(200), (1e-3,))
    assert (scaled.classifier.weight[known.weight == 0] == 0).all()
    frequent, seldom = scaled.classifier.weight[0, 0] / 4, scaled.classifier.weight[1, 1] / 0.5
    assert seldom > frequent, "the rare class is scaled up against the frequent one"
    rare = labels == 1
    before, after = (c.logits(features[rare]).argmax(axis=1).mean() for c in (known, scaled.classifier))
    assert after > before
    (held,) = scale(known, features, labels, np.ones(200), (1e6,))
    np.testing.assert_allclose(held.classifier.weight, known.weight, atol=1e-3)


@pytest.mark.parametrize(("channels", "size"), [(16, 3), (64, 3), (256, 5), (512, 5), (1280, 5)])
def test_efficient_channel_attention_looks_at_so_many_neighbours(channels: int, size: int) -> None:
    gate = EfficientChannelAttention(channels)
    assert gate.conv.kernel_size == (size,)
    features = torch.rand((2, channels, 3, 3))
    torch.testing.assert_close(gate(features), features)
    with torch.no_grad():
        gate.conv.weight[0, 0, size // 2] = 1.0
    pooled = features.mean((2, 3), keepdim=True)
    torch.testing.assert_close(gate(features), features * 2 * torch.sigmoid(pooled))


CLASSES = ("across", "along", "neither")
BASE = SMALL.model_copy(update={"epochs": 10, "learning_rate": 3e-3})


def stripes(seed: int, *counts: int) -> LabelledImages:
    """So many of each class."""
    return striped(np.repeat(np.arange(len(counts)), counts), seed, f"{seed}-")


def trained(folder: Path, **settings: object) -> TrainedModel:
    config = TrainingConfig.model_validate(BASE.model_dump() | settings)
    return train(TrainingData(CLASSES, stripes(1, 40, 20, 8), stripes(2, 10, 10, 10)), config, folder)


METHODS: dict[str, dict[str, object]] = {
    "class weights": {"reweighting": "inverse_frequency"},
    "class-balanced focal": {"loss": "focal", "reweighting": "effective_number"},
    "deferred re-weighting": {"reweighting": "inverse_frequency", "reweighting_from": 0.6},
    "logit-adjusted loss": {"loss": "logit_adjusted"},
    "cosine head": {"head": "cosine"},
    "LDAM-DRW": {"loss": "ldam", "head": "cosine", "reweighting": "effective_number", "reweighting_from": 0.6},
    "ArcFace": {"loss": "arcface", "head": "cosine", "margin": 0.2},
    "progressively balanced": {"sampler": "progressively_balanced"},
    "deferred re-sampling": {"later_sampler": "class_balanced", "later_sampler_from": 0.6},
    "balanced first": {"sampler": "class_balanced", "later_sampler": "natural", "later_sampler_from": 0.5},
    "one cycle": {"schedule": "one_cycle", "warm_up_epochs": 0},
    "warm restarts": {"schedule": "warm_restarts"},
    "efficient channel attention": {"attention": "efficient_channel"},
    "tau-normalisation": {"second_stage": "tau_normalisation"},
    "learnable weight scaling": {"second_stage": "learnable_weight_scaling"},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_network_learns_a_long_tail_with_each_method(tmp_path: Path, method: str) -> None:
    model = trained(tmp_path, **METHODS[method])
    test = stripes(3, 20, 20, 20)
    predicted = predict_logits(model.network, test.images, BASE.preprocessing).argmax(axis=1)
    assert macro_f1(predicted, test.labels) > 0.8


def test_a_cosine_network_compares_directions(tmp_path: Path) -> None:
    model = trained(tmp_path, head="cosine", epochs=4)
    np.testing.assert_allclose(np.linalg.norm(classifier_of(model.network).weight, axis=1), 1.0, rtol=1e-5)
    images = torch.rand((5, 3, 32, 32))
    with torch.inference_mode():
        features, logits = model.network.embed(images), model.network(images)
    torch.testing.assert_close(features.norm(dim=1), torch.full((5,), COSINE_SCALE))
    assert float(logits.abs().max()) <= COSINE_SCALE + 1e-3
    assert model.network.architecture.head is HeadKind.COSINE


def test_losses_about_angles_need_a_cosine_head_and_whole_images() -> None:
    with pytest.raises(ValidationError, match="needs head=cosine"):
        TrainingConfig(loss=LossKind.LDAM)
    with pytest.raises(ValidationError, match="mixed images have two"):
        TrainingConfig(loss=LossKind.ARCFACE, head=HeadKind.COSINE, mixup_alpha=0.2)
