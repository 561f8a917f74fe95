"""What a person reads after ``retrain``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from pipelines.command_line.figures import figure


def summarise_retrain(report: Mapping[str, Any], console: Console) -> None:
    """What changed, what was done about it and why, and what came out on validation."""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    for reason in report["reasons"]:
        say(reason)
    if report["model_version"] is None:
        say(f"The champion stays model version {report['champion']}; nothing was trained.")
        return
    changes = report["changes"]
    if changes is not None:
        train = changes["train"]
        say(
            f"Training images since model version {report['champion']}: {train['new']:,} new, "
            f"{train['corrected']:,} corrected, {train['removed']:,} taken away, {train['unchanged']:,} unchanged."
        )
    candidate = report["candidate"]
    if report["reused"]:
        say("The same was learned before; nothing was done twice.")
    say(f"Model version {report['model_version']} is the candidate ({report['mode']}, {report['seconds']:.0f} s).")
    validation = candidate["validation"]
    say(
        f"On {validation['n']:,} validation images: macro-F1 {figure(validation, 'macro_f1')}, "
        f"accuracy {figure(validation, 'accuracy')}."
    )
    for sentence in candidate["triage_sentences"]:
        say(sentence)
    say("Next: tailsight promote --by YOU --why REASON")
