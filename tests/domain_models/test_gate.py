"""Each rule of the gate passes and fails alone; the same inputs always give the same decision."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from data_contracts.profile import GateSettings
from domain_models.gate import GateDecision, PairedPredictions, judge
from domain_models.gate_rules import REQUIRED_LINEAGE, Rule

CLASSES = ("a", "b", "c")
KNOWN = {"dataset_version": "d-1", "taxonomy_version": 0, "profile_hash": "ff", "run_key": "r"}
LABELS = np.repeat([0, 1, 2], 200)


def stated(predicted: NDArray[np.int64], confidence: float = 0.9) -> NDArray[np.float64]:
    probabilities = np.full((len(predicted), 3), (1 - confidence) / 2)
    probabilities[np.arange(len(predicted)), predicted] = confidence
    return probabilities


def with_errors(*per_class: int) -> NDArray[np.int64]:
    """Predictions with this many errors in each class of 200, spread over the other classes."""
    predicted = LABELS.copy()
    for index, errors in enumerate(per_class):
        rows = np.nonzero(index == LABELS)[0][:errors]
        predicted[rows] = (index + 1 + np.arange(errors) % 2) % 3
    return predicted


def asked(
    candidate: NDArray[np.int64],
    champion: NDArray[np.int64] | None,
    *,
    confidence: float = 0.9,
    lineage: dict[str, object] | None = None,
    settings: GateSettings | None = None,
    groups: NDArray[np.int64] | None = None,
    labels: NDArray[np.int64] = LABELS,
) -> GateDecision:
    return judge(
        PairedPredictions("2", stated(candidate, confidence), KNOWN if lineage is None else lineage),
        None if champion is None else PairedPredictions("1", stated(champion)),
        labels,
        groups,
        CLASSES,
        settings or GateSettings(),
    )


def failed(decision: GateDecision) -> list[tuple[Rule, str | None]]:
    return [(check.rule, check.subject) for check in decision.checks if not check.passed]


def test_a_model_as_good_as_the_champion_passes() -> None:
    decision = asked(with_errors(20, 20, 20), with_errors(20, 20, 20))
    assert decision.passed
    assert failed(decision) == []
    assert [check.rule for check in decision.checks] == [
        Rule.MACRO_F1,
        *[Rule.CLASS_RECALL] * 3,
        Rule.CALIBRATION,
        Rule.LINEAGE,
    ]


def test_a_clearly_better_model_passes() -> None:
    assert asked(with_errors(5, 5, 5), with_errors(30, 30, 30), confidence=0.97).passed


def test_macro_f1_alone_refuses() -> None:
    lenient = GateSettings(recall_tolerance=1.0)
    decision = asked(with_errors(32, 32, 32), with_errors(14, 14, 14), confidence=0.84, settings=lenient)
    assert failed(decision) == [(Rule.MACRO_F1, None)]
    assert "Macro-F1 differs by -0.0" in decision.reasons[0]
    assert decision.checks[0].bound is not None
    assert decision.checks[0].bound < decision.checks[0].value < -0.02  # type: ignore[operator]


def test_the_bound_decides_not_the_estimate() -> None:
    few = np.concatenate([np.arange(0, 35), np.arange(200, 235), np.arange(400, 435)])
    candidate, champion = LABELS.copy(), LABELS.copy()
    candidate[few[[0, 40, 80]]] = (candidate[few[[0, 40, 80]]] + 1) % 3
    champion[few[[1, 41, 81]]] = (champion[few[[1, 41, 81]]] + 1) % 3
    decision = asked(candidate[few], champion[few], labels=LABELS[few], confidence=0.97)
    assert decision.checks[0].value == pytest.approx(0.0, abs=0.01)
    assert failed(decision) == [(Rule.MACRO_F1, None)]


def test_recall_of_one_class_alone_refuses() -> None:
    decision = asked(with_errors(2, 2, 40), with_errors(20, 20, 15), confidence=0.92)
    assert failed(decision) == [(Rule.CLASS_RECALL, "c")]
    assert not decision.passed
    assert "Recall of c differs by -0.125 (0.925 to 0.800, 200 test images)" in decision.reasons[0]


def test_a_loss_of_recall_within_its_tolerance_passes() -> None:
    assert asked(with_errors(10, 10, 24), with_errors(15, 15, 15), confidence=0.92).passed


def test_a_loss_of_recall_within_chance_passes() -> None:
    """Six points lost, yet the two models differ on so many images that chance explains it."""
    candidate, champion = with_errors(0, 0, 0), with_errors(0, 0, 0)
    rows = np.nonzero(LABELS == 2)[0]
    candidate[rows[:46]], champion[rows[46:80]] = 0, 0
    settings = GateSettings(macro_f1_margin=-0.2)
    decision = asked(candidate, champion, settings=settings, confidence=0.92)
    by_class = {check.subject: check for check in decision.checks if check.rule is Rule.CLASS_RECALL}
    assert by_class["c"].value == pytest.approx(-0.06)
    assert by_class["c"].passed


def test_calibration_alone_refuses() -> None:
    decision = asked(with_errors(40, 40, 40), with_errors(40, 40, 40), confidence=0.999)
    assert failed(decision) == [(Rule.CALIBRATION, None)]
    assert "Calibration error 0.199; the limit is 0.050" in decision.reasons[0]


def test_calibration_that_chance_explains_passes() -> None:
    labels = np.array([0, 1, 2] * 4)
    predicted = labels.copy()
    predicted[:2] = (predicted[:2] + 1) % 3
    decision = asked(predicted, None, labels=labels, confidence=0.9)
    check = next(check for check in decision.checks if check.rule is Rule.CALIBRATION)
    assert check.value is not None
    assert check.value > 0.05
    assert check.passed


@pytest.mark.parametrize("missing", REQUIRED_LINEAGE)
@pytest.mark.parametrize("how", ["absent", "none", "empty"])
def test_unknown_lineage_alone_refuses(missing: str, how: str) -> None:
    lineage: dict[str, object] = {name: value for name, value in KNOWN.items() if name != missing}
    if how != "absent":
        lineage[missing] = None if how == "none" else ""
    decision = asked(with_errors(20, 20, 20), with_errors(20, 20, 20), lineage=lineage)
    assert failed(decision) == [(Rule.LINEAGE, None)]
    assert missing in decision.reasons[0]


def test_classes_with_few_test_images_are_named_and_not_gated() -> None:
    keep = np.concatenate([np.arange(200), np.arange(200, 400), np.arange(400, 429)])
    champion, candidate = LABELS[keep].copy(), LABELS[keep].copy()
    candidate[-10:] = 0
    decision = asked(
        candidate, champion, labels=LABELS[keep], settings=GateSettings(macro_f1_margin=-0.5), confidence=0.97
    )
    assert decision.not_gated == ("c",)
    assert decision.passed
    assert decision.reasons[-1] == "Not gated (fewer than 30 test images): c."


def test_a_class_without_test_images_is_not_gated() -> None:
    labels = LABELS[:400]
    decision = asked(labels, labels, labels=labels, confidence=0.99)
    assert decision.passed
    assert decision.not_gated == ("c",)


def test_a_first_champion_faces_absolute_limits_only() -> None:
    decision = asked(with_errors(80, 80, 80), None, confidence=0.6)
    assert decision.passed
    assert decision.champion is None
    assert [check.rule for check in decision.checks] == [
        Rule.MACRO_F1,
        Rule.BALANCED_ACCURACY,
        Rule.CALIBRATION,
        Rule.LINEAGE,
    ]


def test_a_first_champion_must_beat_chance_and_its_own_limit() -> None:
    guess = np.random.default_rng(0).integers(0, 3, 600)
    assert failed(asked(guess, None, confidence=0.36)) == [(Rule.BALANCED_ACCURACY, None)]
    strict = GateSettings(first_minimum_macro_f1=0.8)
    assert failed(asked(with_errors(80, 80, 80), None, confidence=0.6, settings=strict)) == [(Rule.MACRO_F1, None)]


def test_whole_groups_are_drawn_so_that_repeated_images_prove_nothing() -> None:
    few = np.concatenate([np.arange(start, start + 30) for start in (0, 200, 400)])
    candidate, champion = LABELS[few].copy(), LABELS[few].copy()
    for rows, shift in (((0, 31, 62), candidate), ((1, 32, 63), champion)):
        shift[list(rows)] = (shift[list(rows)] + 1) % 3
    many = np.repeat(np.arange(90), 20)
    settings = GateSettings(recall_tolerance=1)
    alone = asked(candidate[many], champion[many], labels=LABELS[few][many], confidence=0.97, settings=settings)
    grouped = asked(
        candidate[many], champion[many], labels=LABELS[few][many], confidence=0.97, settings=settings, groups=many
    )
    assert alone.checks[0].passed
    assert not grouped.checks[0].passed
    assert grouped.n_groups == 90


def test_the_same_inputs_give_the_same_decision_and_stay_untouched() -> None:
    probabilities = stated(with_errors(22, 18, 25))
    before = probabilities.copy()
    first, second = (asked(with_errors(22, 18, 25), with_errors(20, 20, 20)) for _ in range(2))
    assert first == second
    assert np.array_equal(probabilities, before)
    assert GateDecision.model_validate_json(first.model_dump_json()) == first


def test_equal_models_are_rarely_refused_for_a_class() -> None:
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        candidate, champion = (
            np.where(rng.random(600) < 0.9, LABELS, (LABELS + rng.integers(1, 3, 600)) % 3) for _ in range(2)
        )
        decision = judge(
            PairedPredictions("2", stated(candidate), KNOWN),
            PairedPredictions("1", stated(champion)),
            LABELS,
            None,
            CLASSES,
            GateSettings(),
            replicates=500,
        )
        refused += any(rule is Rule.CLASS_RECALL for rule, _ in failed(decision))
    assert refused <= 6


def test_predictions_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        judge(
            PairedPredictions("2", stated(LABELS), KNOWN),
            PairedPredictions("1", stated(LABELS[:10])),
            LABELS,
            None,
            CLASSES,
            GateSettings(),
        )
