"""What a person reads after ``ingest`` and ``curate``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

SHOWN = 10


def summarise_ingest(report: Mapping[str, Any], console: Console) -> None:
    """Counts, then what was set aside and why."""
    console.print(
        f"Added {report['added']:,} images ({report['already_known']:,} known already, {report['duplicates']:,} exact "
        f"duplicates, {report['near_duplicates']:,} near-duplicates, {report['unlabelled']:,} without a label) in "
        f"{report['seconds']:.1f} s.",
        markup=False,
        soft_wrap=True,
    )
    if report["conflicts"]:
        console.print(f"{report['conflicts']:,} conflicts between labels; they are kept for review.", markup=False)
    for name, line in (
        ("quarantined", lambda item: f"{item['path']}: {item['reason']}"),
        ("label_errors", _label_error),
    ):
        items = report[name]
        if items:
            console.print(f"{name.replace('_', ' ').capitalize()} ({len(items):,}):", markup=False)
            for item in items[:SHOWN]:
                console.print(f"  {line(item)}", markup=False, soft_wrap=True)
            if len(items) > SHOWN:
                console.print(f"  ... and {len(items) - SHOWN:,} more; --json lists all.", markup=False)
    for warning in report.get("warnings", []):
        console.print(f"Note: {warning}", markup=False, soft_wrap=True)
    if report["added"] or report["already_known"]:
        console.print("Next: tailsight curate", markup=False)


def _label_error(item: Mapping[str, Any]) -> str:
    place = f"row {item['row']}" if item["row"] is not None else "folder"
    nearest = f" (nearest: {item['nearest']})" if item["nearest"] else ""
    return f"{place}, {item['value']!r}{nearest}: {item['reason']}"


def summarise_curate(report: Mapping[str, Any], console: Console) -> None:
    """The split per class, and what follows from the counts."""
    splits = report["splits"]
    table = Table("class", *splits, title=f"Dataset version {report['dataset_version']}", title_justify="left")
    for name in sorted({name for counts in splits.values() for name in counts}):
        table.add_row(name, *(f"{counts.get(name, 0):,}" for counts in splits.values()))
    console.print(table)
    for sentence in report.get("sentences", []):
        console.print(sentence, markup=False, soft_wrap=True)
    console.print(f"Leaks between splits: {report['leaks_found']}.", markup=False)
    console.print("Next: tailsight train", markup=False)
