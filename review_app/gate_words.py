"""What the gate said of a candidate, one sentence for each rule, in the reader's language.

The ledger keeps the gate's own sentences, which are English, and the numbers behind them. A reader of English gets the
sentences as they were recorded; another language is told the same from the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from review_app.texts import Language, Texts

_SIGNED = frozenset({"macro_f1", "mean_cost", "class_recall"})
"""Rules that compare with the champion: their numbers are differences."""


def gate_sentences(report: Mapping[str, Any], texts: Texts) -> list[str]:
    """The reasons of a gate report: the failed rules, or where it agrees, every rule.

    Args:
        report: as a promotion request keeps it: ``passed``, ``reasons``, and usually ``checks`` and ``not_gated``.
        texts: the reader's language.
    """
    recorded = [str(reason) for reason in report.get("reasons", ())]
    checks = [check for check in report.get("checks", ()) if check.get("passed") == report.get("passed")]
    if texts.language is Language.ENGLISH or not checks:
        return recorded
    sentences = [_sentence(check, texts) for check in checks]
    if report.get("not_gated"):
        sentences.append(texts("gate.not_gated", names=", ".join(report["not_gated"])))
    return sentences


def _sentence(check: Mapping[str, Any], texts: Texts) -> str:
    rule, first = str(check.get("rule")), check.get("bound") is None
    key = f"gate.first_{rule}" if first and texts.has(f"gate.first_{rule}") else f"gate.{rule}"
    if rule == "lineage" and not check.get("passed"):
        key = "gate.lineage_unknown"
    if not texts.has(key):  # a rule that is newer than the catalogues
        return str(check.get("sentence", rule))
    form = "{:+.3f}" if rule in _SIGNED and not first else "{:.3f}"
    known = {name: check[name] for name in ("value", "bound", "required") if check.get(name) is not None}
    numbers = {name: form.format(round(number, 3) + 0.0) for name, number in known.items()}  # + 0.0: never "-0.000"
    return texts(key, subject=check.get("subject") or "", **numbers)
