"""The gate's reasons and the figures of Progress, in words of the reader's language."""

from __future__ import annotations

from typing import Any

import pytest

from domain_models.gate_rules import Rule
from review_app import quantities
from review_app.gate_words import gate_sentences
from review_app.texts import Language, Texts

ENGLISH, CHINESE = Texts(Language.ENGLISH), Texts(Language.CHINESE)


def _report(*checks: dict[str, Any], passed: bool = True, **fields: Any) -> dict[str, Any]:
    reasons = [f"recorded: {check['rule']}" for check in checks]
    return {"passed": passed, "checks": list(checks), "reasons": reasons, "not_gated": []} | fields


def _check(rule: str, **fields: Any) -> dict[str, Any]:
    found = {"rule": rule, "passed": True, "value": 0.035, "bound": -0.0121, "required": -0.02, "subject": None}
    return found | {"sentence": f"recorded: {rule}"} | fields


def test_english_reads_what_was_recorded() -> None:
    assert gate_sentences(_report(_check("macro_f1")), ENGLISH) == ["recorded: macro_f1"]


def test_chinese_is_told_the_same_numbers() -> None:
    (said,) = gate_sentences(_report(_check("macro_f1")), CHINESE)
    assert "+0.035" in said
    assert "-0.012" in said
    assert "-0.020" in said
    assert "{" not in said


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("bound", [None, 0.1])
def test_every_rule_of_the_gate_has_words_in_every_language(rule: Rule, bound: float | None) -> None:
    for texts in (ENGLISH, CHINESE):
        assert texts.has(f"gate.{rule.value}")
    (said,) = gate_sentences(_report(_check(rule.value, bound=bound, subject="pit")), CHINESE)
    assert "recorded" not in said
    assert "{" not in said.replace("{bound}", "") or bound is None  # the gate gives every number that its rule has


def test_no_difference_has_no_sign_of_a_loss() -> None:
    (said,) = gate_sentences(_report(_check("macro_f1", bound=-0.0002)), CHINESE)
    assert "-0.000" not in said


def test_a_refusal_says_what_failed_and_nothing_else() -> None:
    checks = (_check("macro_f1"), _check("class_recall", passed=False, subject="pit"))
    (said,) = gate_sentences(_report(*checks, passed=False), CHINESE)
    assert said.startswith("pit")


def test_classes_that_were_not_gated_are_named() -> None:
    said = gate_sentences(_report(_check("macro_f1"), not_gated=["pit", "crack"]), CHINESE)
    assert "pit, crack" in said[-1]


def test_a_rule_newer_than_the_catalogues_is_told_as_recorded() -> None:
    assert gate_sentences(_report(_check("latency")), CHINESE) == ["recorded: latency"]


def test_a_report_without_checks_is_told_as_recorded() -> None:
    assert gate_sentences({"passed": True, "reasons": ["better."]}, CHINESE) == ["better."]


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (None, "–", "–"),
        (59, "0 min", "0 分钟"),
        (49 * 60, "49 min", "49 分钟"),
        (3 * 3600 + 60, "3 h 1 min", "3 小时 1 分"),
        (50 * 3600, "2 d 2 h", "2 天 2 小时"),
    ],
)
def test_an_age_is_written_in_the_readers_language(seconds: float | None, english: str, chinese: str) -> None:
    assert (quantities.age(seconds, ENGLISH), quantities.age(seconds, CHINESE)) == (english, chinese)


def test_hours_seconds_and_shares_are_rounded_to_a_tenth() -> None:
    assert quantities.hours(0.53, CHINESE) == "0.5 小时"
    assert quantities.seconds(7.26, ENGLISH) == "7.3 s"
    assert quantities.seconds(None, ENGLISH) == "–"
    assert quantities.share(0.3167) == "31.7 %"
