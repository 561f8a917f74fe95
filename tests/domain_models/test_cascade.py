"""A cascade: the threshold keeps the loss, and its logits give the probabilities of whichever network answered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_contracts.errors import BadInput
from domain_models.calibration import softmax
from domain_models.calibrators import CalibrationKind, fit_kind
from domain_models.cascade import Cascade, cascading, require_reducible
from domain_models.cascade_threshold import TwoModels, choose_threshold, shown_by_validation
from domain_models.decision_costs import DecisionCosts, weighted_mistakes
from domain_models.linear_probe import macro_f1
from domain_models.preprocessing import Preprocessing

LARGE = Preprocessing(height=32, width=32)
SMALL = Preprocessing(height=16, width=16, reduced_from=(32, 32))


def two_models(seed: int, n: int = 300, skill: float = 0.8) -> TwoModels:
    """A large model that is right nine times in ten, and a small one that is surer where it is right."""
    chance = np.random.default_rng(seed)
    labels = chance.choice(3, n, p=(0.6, 0.3, 0.1))
    right = chance.random(n) < skill
    lead = np.round(np.clip(chance.beta(4, 2, n) * np.where(right, 1.0, 0.6), 0, 1), 2)
    first = np.where(right, labels, (labels + 1) % 3)
    large = np.where(chance.random(n) < 0.9, labels, (labels + 1) % 3)
    return TwoModels(lead, first, large, labels, 3, [str(row // 2) for row in range(n)])


@given(st.integers(0, 10_000), st.sampled_from((0.0, 0.01, 0.05, 0.3)))
def test_the_loss_is_kept_at_the_threshold_and_at_every_stricter_one(seed: int, most: float) -> None:
    models = two_models(seed)
    threshold = choose_threshold(models, most, replicates=50)
    if threshold is None:
        return
    whole = macro_f1(models.large, models.labels)
    for stricter in (threshold, *np.unique(models.lead[models.lead > threshold])):
        assert whole - macro_f1(models.decided(float(stricter)), models.labels) <= most + 1e-9
    assert shown_by_validation(models, threshold, most, replicates=50).loss <= most + 1e-9
    assert choose_threshold(models, most, replicates=50) == threshold


@given(st.integers(0, 10_000))
def test_a_larger_loss_never_makes_the_threshold_stricter(seed: int) -> None:
    found = [choose_threshold(two_models(seed), most, replicates=50) for most in (0.0, 0.01, 0.03, 0.1, 1.0)]
    as_numbers = [2.0 if one is None else one for one in found]
    assert as_numbers == sorted(as_numbers, reverse=True)
    assert as_numbers[-1] == 0.0


def test_a_small_model_that_is_surest_where_it_is_wrong_answers_nothing() -> None:
    labels = np.arange(60) % 3
    wrong = (labels + 1) % 3
    assert choose_threshold(TwoModels(np.linspace(1, 0, 60), wrong, labels, labels, 3), 0.005) is None


def test_equal_models_need_no_second_one() -> None:
    labels = np.arange(60) % 3
    assert choose_threshold(TwoModels(np.linspace(1, 0, 60), labels, labels, labels, 3), 0.0) == 0.0


def test_the_bound_breaks_the_loss_on_fresh_images_less_often_than_the_point_estimate() -> None:
    fresh = two_models(10_000, n=40_000)
    whole = macro_f1(fresh.large, fresh.labels)
    broken = {}
    for confidence in (0.01, 0.8):
        found = [choose_threshold(two_models(seed), 0.02, confidence=confidence, replicates=100) for seed in range(30)]
        losses = [0.0 if one is None else whole - macro_f1(fresh.decided(one), fresh.labels) for one in found]
        broken[confidence] = sum(loss > 0.02 for loss in losses)
    assert broken[0.8] < broken[0.01]


CHANCE = np.random.default_rng(1)
TRUTH = CHANCE.integers(0, 3, 200)
FIRST_SAYS = (3 * np.eye(3)[TRUTH] + 1.5 * CHANCE.normal(size=(200, 3))).astype(np.float32)
LARGE_SAYS = (5 * np.eye(3)[TRUTH] + 1.2 * CHANCE.normal(size=(200, 3))).astype(np.float32)
IMAGES = np.zeros((200, 32, 32, 3), dtype=np.uint8) + np.arange(200, dtype=np.uint8)[:, None, None, None]


def of(says: NDArray[np.float32], size: int, seen: list[int]):  # type: ignore[no-untyped-def]
    """A model that knows an image by its brightness, and wants it in one size."""

    def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert batch.shape[1:] == (size, size, 3)
        seen.extend(batch[:, 0, 0, 0].tolist())
        return says[batch[:, 0, 0, 0]].copy()

    return compute


@pytest.mark.parametrize("kind", CalibrationKind)
@pytest.mark.parametrize("threshold", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 6.0)])
def test_the_card_gives_the_calibrated_probabilities_of_whichever_network_answered(
    kind: CalibrationKind, threshold: float, weights: tuple[float, ...] | None
) -> None:
    first = fit_kind(kind, FIRST_SAYS[:, [2, 0, 1]], np.array([1, 2, 0])[TRUTH])
    large = fit_kind(kind, LARGE_SAYS, TRUTH)
    costs = DecisionCosts() if weights is None else DecisionCosts.of(weighted_mistakes(np.asarray(weights)))
    models = TwoModels(np.ones(200), TRUTH, TRUTH, TRUTH, 3)
    cascade = Cascade(
        threshold=threshold, columns=(1, 2, 0), calibration=large, large="1", first="2",
        validation=shown_by_validation(models, 0.5, 0.01, replicates=10),
    )  # fmt: skip
    asked: tuple[list[int], list[int]] = ([], [])
    compute = cascading(
        of(FIRST_SAYS[:, [2, 0, 1]], 16, asked[0]), of(LARGE_SAYS, 32, asked[1]), cascade,
        first_spec=SMALL, first_calibration=first, costs=costs, temperature=large.temperature,
    )  # fmt: skip
    logits, early = compute.answers(IMAGES)
    said = softmax(logits, large.temperature)
    of_first = first.probabilities(FIRST_SAYS[:, [2, 0, 1]])[:, [1, 2, 0]]
    of_large = large.probabilities(LARGE_SAYS)
    np.testing.assert_allclose(said, np.where(early[:, None], of_first, of_large), atol=1e-6)
    assert asked[0] == list(range(200))
    assert asked[1] == np.flatnonzero(~early).tolist()
    if threshold in (0.0, 1.0):
        assert early.all() if threshold == 0.0 else not early.any()
        alone = of_first if threshold == 0.0 else of_large
        assert (costs.predicted(said) == costs.predicted(alone)).all()
    else:
        assert 0.1 < early.mean() < 0.95


def test_pixels_that_cannot_be_made_of_the_large_models_are_refused_with_the_way_to_train() -> None:
    require_reducible(SMALL, LARGE)
    require_reducible(LARGE.model_copy(update={"mean": (0.1, 0.2, 0.3)}), LARGE)
    with pytest.raises(BadInput, match=r"--set preprocessing.reduced_from=\[32,32\]\.$"):
        require_reducible(Preprocessing(height=16, width=16), LARGE)
    with pytest.raises(BadInput, match=r"reduced_from=\[32,32\] --set preprocessing.channels=3\.$"):
        require_reducible(Preprocessing(height=16, width=16, channels=1), LARGE)


def test_the_relative_lead_is_between_nothing_and_all() -> None:
    p = np.random.default_rng(0).dirichlet((0.3, 0.3, 0.3), 500)
    weights = np.array([1.0, 2.0, 6.0])
    lead = DecisionCosts.of(weighted_mistakes(weights)).relative_lead(p)
    ranked = np.sort(weights * p / (p @ weights)[:, None], axis=1)
    np.testing.assert_allclose(lead, ranked[:, -1] - ranked[:, -2], atol=1e-12)
