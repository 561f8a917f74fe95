"""What a person reads after the verbs of ``tailsight labels``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console


def _counts(report: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key.replace('_', ' ')} {value:,}"
        for key, value in report.items()
        if isinstance(value, int) and not isinstance(value, bool)
    )


def _listed(report: Mapping[str, Any], key: str, console: Console, shown: int = 10) -> None:
    items = report.get(key) or []
    if items:
        console.print(f"{key.replace('_', ' ').capitalize()} ({len(items):,}):", markup=False)
    for item in items[:shown]:
        text = ", ".join(f"{k} {v}" for k, v in item.items() if v is not None) if isinstance(item, Mapping) else item
        console.print(f"  {text}", markup=False, soft_wrap=True)
    if len(items) > shown:
        console.print(f"  ... and {len(items) - shown:,} more; --json lists all.", markup=False)


def summarise_import(report: Mapping[str, Any], console: Console) -> None:
    """Counts, then the rows that could not be used."""
    console.print(f"Labels imported: {_counts(report)}.", markup=False)
    for key in ("errors", "label_errors", "conflicts"):
        if isinstance(report.get(key), list):
            _listed(report, key, console)


def summarise_export(report: Mapping[str, Any], console: Console) -> None:
    """Where the file is, and how many rows it has."""
    console.print(f"Labels exported: {_counts(report)}.", markup=False)
    for key in ("file", "path"):
        if key in report:
            console.print(f"File: {report[key]}", markup=False, soft_wrap=True)


def summarise_history(report: Mapping[str, Any], console: Console) -> None:
    """One line for each event, the oldest first."""
    events = report.get("events") or report.get("history") or []
    console.print(f"{report.get('image_id', 'Image')}: {len(events)} events", markup=False, soft_wrap=True)
    for event in events:
        note = f" ({event['note']})" if event.get("note") else ""
        words = (event["at"], event["who"], event["action"], event.get("label") or "", f"[{event['source']}]{note}")
        console.print(f"  {'  '.join(words)}", markup=False, soft_wrap=True)


def summarise_verify(report: Mapping[str, Any], console: Console) -> None:
    """That the chain holds, or where it does not."""
    if report["ok"]:
        console.print(f"The chain verifies: {_counts(report)}.", markup=False)
    else:
        console.print("The chain does NOT verify:", style="bold red")
        for problem in report.get("problems", []):
            console.print(f"  {problem}", markup=False, soft_wrap=True)


def summarise_readers(report: Mapping[str, Any], console: Console) -> None:
    """What several readers say together, then the readers as far as this person may see them."""
    many = f"{report['subjects']:,} images or groups were read independently by at least two people"
    if not report["judged"]:
        console.print(f"{many}; under {report['fewest']}, nothing is said of readers.", markup=False, soft_wrap=True)
        return
    console.print(f"{many}, {report['unanimous']:,} of them unanimously.", markup=False, soft_wrap=True)
    for one in report["readers"]:
        between = "" if one["quality_ci"] is None else " ({:.3f} to {:.3f})".format(*one["quality_ci"])
        said = f"  {one['reader']}: quality {one['quality']:.3f}{between}, agrees with the consensus in"
        answers = "" if one["answers"] is None else f", {one['answers']:,} answers"
        console.print(f"{said} {one['agreement_with_consensus']:.0%}{answers}", markup=False, soft_wrap=True)
    if report["withheld"]:
        console.print(
            f"  {report['withheld']} more: whose figures these are would be plain, so they are not shown.",
            markup=False,
            soft_wrap=True,
        )
    found = report["contradictions"]
    if found:
        console.print(
            f"{len(found):,} images have another label than their readers say together; `tailsight queue` asks about "
            "them as conflicts.",
            markup=False,
            soft_wrap=True,
        )
        _listed(report, "contradictions", console)
