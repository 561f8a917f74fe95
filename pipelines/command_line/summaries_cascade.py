"""What a person reads after ``cascade``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from pipelines.command_line.figures import figure, percent


def summarise_cascade(report: Mapping[str, Any], console: Console) -> None:
    """Who answers what, what that costs in macro-F1, and what it gains in speed."""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    made = report["cascade"]
    seen = made["validation"]
    if report["reused"]:
        say("This cascade was made before; nothing was done twice.")
    say(
        f"Model version {report['model_version']} is the candidate: version {made['first']} answers where its lead is"
        f" at least {made['threshold']:.3f}, version {made['large']} the rest."
    )
    say(
        f"On {seen['n']:,} validation images the small model answers {percent(seen['share_first'])}; macro-F1 of the"
        f" large one {seen['macro_f1_large']:.3f}, of the small one {seen['macro_f1_first']:.3f}, of the cascade"
        f" {figure(seen, 'macro_f1')}."
    )
    faster = report["images_per_second"] / max(1e-9, report["images_per_second_large"])
    say(
        f"Computing alone on this machine ({report['runtime']}): {report['images_per_second']:.0f} images a second,"
        f" the large model {report['images_per_second_large']:.0f} ({faster:.1f} times)."
    )
    for sentence in report["candidate"]["triage_sentences"]:
        say(sentence)
    say("Next: tailsight evaluate --model candidate, then tailsight promote --by YOU --why REASON")
