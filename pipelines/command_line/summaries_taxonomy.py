"""What a person reads after the verbs of ``tailsight taxonomy``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

_DONE = {"rename": "Renamed", "merge": "Merged", "split": "Split"}


def summarise_change(report: Mapping[str, Any], console: Console) -> None:
    """What was changed, what it does to the labels, the classes as they stand, and how to take it back."""
    sources, into = ", ".join(report["sources"]), ", ".join(report["into"])
    console.print(f"{_DONE[report['kind']]} {sources} into {into}: taxonomy version {report['version']}.", markup=False)
    effects = {
        "relabelled": "images mean another class name now",
        "waiting": "images are unlabelled now and wait for a person",
        "settled": "images have a label again",
    }
    for key, words in effects.items():
        if report[key]:
            console.print(f"{report[key]:,} {words}.", markup=False)
    for item in report["classes"]:
        known_as = f" (also {', '.join(item['aliases'])})" if item["aliases"] else ""
        console.print(f"  {item['index']:>3}  {item['name']}{known_as}: {item['images']:,} images", markup=False)
    for item in report["retired"]:
        console.print(
            f"  {item['index']:>3}  {item['name']}: {item['kind']} into {', '.join(item['into'])}", markup=False
        )
    for sentence in report["sentences"]:
        console.print(sentence, markup=False, soft_wrap=True)
    console.print(f"To take it back: {report['undo']} --by WHO --why TEXT", markup=False, soft_wrap=True)
    console.print("Next: tailsight curate", markup=False)
