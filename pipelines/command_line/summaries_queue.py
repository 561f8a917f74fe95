"""What a person reads after ``queue`` and ``decisions export``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from pipelines.command_line.figures import percent

_REASONS = {
    "low_confidence": "the model is unsure",
    "confused_pair": "between two classes that the model confuses",
    "rare_class": "probably a rare class",
    "novelty": "unlike anything labelled",
    "suspect_label": "the label on file is doubted",
    "conflict": "statements contradict each other",
    "random_audit": "random audit, blind",
    "cold_start": "typical and diverse, before there is a model",
    "disagreement": "two readings differ",
}


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def summarise_queue(report: Mapping[str, Any], console: Console) -> None:
    """What was asked and why, what found no room, what comes next."""
    if report["repeated"]:
        _say(console, "This round was built before, and nothing was said or scored since; nothing was added.")
    model = f"model version {report['model_version']}" if report["model_version"] else "no model yet"
    _say(
        console,
        f"Round {report['round']} ({model}, strategy {report['strategy']}): {report['tasks']:,} tasks, "
        f"{report['hold']:,} that wait and {report['learn']:,} to learn from.",
    )
    for reason, count in sorted(report["by_reason"].items(), key=lambda item: -item[1]):
        _say(console, f"  {count:>6,}  {_REASONS.get(reason, reason)}")
    for pair in report["confused_pairs"][:3]:
        _say(console, f"Confused most: {pair['first']} and {pair['second']} ({percent(pair['share'])} of both).")
    if report["dropped_by_budget"]:
        _say(
            console,
            f"{report['dropped_by_budget']:,} more found no room in the budget of {report['budget']:,} or in the "
            f"readers' week ({report['capacity']:,} images left).",
        )
    if report["images_added"]:
        _say(console, f"{report['images_added']:,} scored images are now known to the ledger, without a label.")
    if report["unreadable"] or report["files_gone"]:
        _say(
            console,
            f"{report['unreadable']:,} scored files cannot be read and {report['files_gone']:,} are gone: "
            "nobody can review these; see the score file.",
        )
    for image_id, reason in list(report["display_failures"].items())[:5]:
        _say(console, f"No picture of {image_id[:12]}…: {reason}")
    _say(console, f"{report['waiting']:,} tasks are open. Next: tailsight review")


def summarise_decisions(report: Mapping[str, Any], console: Console) -> None:
    """What left, and what waits."""
    _say(console, f"{report['delivered']:,} decisions left for {report['sink']}; {report['waiting']:,} wait.")
    _say(console, f"{report['total']:,} decisions in all, {report['published']:,} automatic ones new.")


def summarise_deliveries(report: Mapping[str, Any], console: Console) -> None:
    """What left for each receiver."""
    for one in report["receivers"]:
        _say(console, f"{one['delivered']:,} decisions left for {one['sink']}; {one['waiting']:,} wait.")
