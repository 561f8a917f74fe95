"""What a model gained over another: by hand, against the gate, and the other way round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data_contracts.profile import GateSettings
from domain_models.gate import PairedPredictions, judge
from domain_models.gate_rules import Rule
from domain_models.paired_gain import paired_gain

labelled = arrays(np.int64, (3, 24), elements=st.integers(0, 2))


def test_by_hand() -> None:
    labels = [0, 0, 0, 0, 1, 1]
    before = [0, 0, 1, 1, 1, 1]  # F1 2/3 (4 of 6) and 2/3 (4 of 6)
    after = [0, 0, 0, 1, 1, 1]  # F1 6/7 and 4/5
    found = paired_gain(labels, before, after, None, 3)
    assert found.macro_f1.before == pytest.approx(2 / 3)
    assert found.macro_f1.after == pytest.approx((6 / 7 + 4 / 5) / 2)
    pit, crack, absent = found.recall
    assert pit is not None
    assert (pit.before, pit.after, pit.gained) == (0.5, 0.75, 0.25)
    assert crack is not None
    assert crack.interval == (0.0, 0.0)
    assert absent is None, "there is no test image of it"


def test_a_model_gains_nothing_over_itself() -> None:
    labels = np.arange(60) % 3
    found = paired_gain(labels, labels[::-1], labels[::-1], np.arange(60) // 2, 3)
    assert (found.macro_f1.gained, found.macro_f1.interval) == (0.0, (0.0, 0.0))
    assert not found.macro_f1.beyond_chance


def test_a_large_gain_on_many_images_is_beyond_chance_and_on_few_groups_is_not() -> None:
    chance = np.random.default_rng(0)
    labels = np.arange(400) % 4
    before = np.where(chance.random(400) < 0.25, (labels + 1) % 4, labels)
    after = np.where(chance.random(400) < 0.10, (labels + 1) % 4, labels)
    assert paired_gain(labels, before, after, None, 4).macro_f1.beyond_chance
    few = paired_gain(labels[:24], before[:24], after[:24], np.arange(24) // 8, 4)
    assert not few.macro_f1.beyond_chance


def test_it_is_what_the_gate_sees() -> None:
    chance = np.random.default_rng(1)
    labels = np.arange(300) % 3
    one, other = (chance.dirichlet(np.ones(3), 300) for _ in range(2))
    found = paired_gain(labels, one.argmax(axis=1), other.argmax(axis=1), None, 3)
    decision = judge(PairedPredictions("2", other), PairedPredictions("1", one), labels, None, "abc", GateSettings())
    seen = next(check for check in decision.checks if check.rule is Rule.MACRO_F1)
    assert seen.value == pytest.approx(found.macro_f1.gained)


@given(labelled)
def test_the_other_way_round_a_gain_is_a_loss(drawn: np.ndarray) -> None:
    labels, one, other = drawn
    there, back = (paired_gain(labels, *pair, None, 3, replicates=60) for pair in ((one, other), (other, one)))
    assert there.macro_f1.gained == pytest.approx(-back.macro_f1.gained)
    assert there.macro_f1.interval is not None
    assert back.macro_f1.interval is not None
    assert there.macro_f1.interval == pytest.approx([-end for end in reversed(back.macro_f1.interval)])
