"""A second look in exact arithmetic: the exact decisions for little more than the fast one's time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain_models.architecture import Architecture
from domain_models.decision_costs import DecisionCosts, weighted_mistakes
from domain_models.model_card import ModelCard
from domain_models.preprocessing import Preprocessing
from domain_models.second_look import TOLERATED, SecondLook, choose_second_look, looking_twice

CHANCE = np.random.default_rng(0)
EXACT = (2.0 * CHANCE.normal(size=(4000, 3))).astype(np.float32)
FAST = (EXACT + 0.05 * CHANCE.normal(size=EXACT.shape)).astype(np.float32)


def card(costs: DecisionCosts | None = None) -> ModelCard:
    architecture = Architecture(backbone="resnet10t", classes=3)
    more = {} if costs is None else {"decision_costs": costs}
    return ModelCard(
        architecture=architecture, classes=("a", "b", "c"), preprocessing=Preprocessing(height=16, width=16), **more
    )


def decided(model: ModelCard, logits: NDArray[np.float32]) -> NDArray[np.int64]:
    return model.decision_costs.predicted(model.probabilities(logits))


def of(logits: NDArray[np.float32], seen: list[int]):  # type: ignore[no-untyped-def]
    """A runtime whose images are numbers of rows."""

    def compute(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = batch.view(np.uint16).reshape(len(batch)).astype(int)
        seen.extend(rows)
        return logits[rows].copy()

    return compute


IMAGES = np.arange(4000, dtype=np.uint16).view(np.uint8).reshape(4000, 1, 1, 2)


def test_decisions_are_the_exact_ones_and_few_images_are_computed_twice() -> None:
    for costs in (None, DecisionCosts.of(weighted_mistakes(np.array([1.0, 2.0, 6.0])))):
        model = card(costs)
        assert (decided(model, FAST) != decided(model, EXACT)).sum() > 10, "fast arithmetic alone changes decisions"
        look = choose_second_look(model, FAST[:1000], EXACT[:1000])
        fast: list[int] = []
        exact: list[int] = []
        compute = looking_twice(of(FAST, fast), of(EXACT, exact), model, look)
        said = np.concatenate([compute(IMAGES[start : start + 16]) for start in range(0, 4000, 16)])
        assert (decided(model, said) != decided(model, EXACT))[:1000].sum() <= 2
        assert (decided(model, said) != decided(model, EXACT))[1000:].mean() <= 2 * TOLERATED
        assert sorted(fast) == list(range(4000))
        assert 0 < len(exact) < 400
        assert abs(len(exact) / 4000 - look.share) < 0.03


def test_without_an_error_nothing_is_computed_twice() -> None:
    look = choose_second_look(card(), EXACT, EXACT)
    assert look == SecondLook(lead=0.0, share=0.0)


def test_the_lead_is_between_the_two_best_by_expected_cost() -> None:
    probabilities = np.array([[0.6, 0.3, 0.1], [0.4, 0.4, 0.2]])
    np.testing.assert_allclose(DecisionCosts().lead(probabilities), [0.3, 0.0], atol=1e-12)
    dear = DecisionCosts.of(weighted_mistakes(np.array([1.0, 2.0, 1.0])))
    # calling it a costs 0.6 + 0.1 in expectation, calling it b 0.6 + 0.1: a toss-up
    np.testing.assert_allclose(dear.lead(probabilities)[0], 0.0, atol=1e-12)
