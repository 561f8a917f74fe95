"""What a person reads after ``compress``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.command_line.figures import interval


def summarise_compress(report: Mapping[str, Any], console: Console) -> None:
    """One row for each model, what was left out and why, and what came of it."""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    say(f"Smaller forms of model version {report['model']}, judged on {report['images']:,} validation images.")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("model")
    for name in ("ms an image", "MB", "macro-F1", "points against it"):
        table.add_column(name, justify="right")
    size = report["target"]["kind"] == "MB"
    for row in sorted(report["rows"], key=lambda row: row["megabytes" if size else "milliseconds"]):
        mark = "▶ " if row["name"] == report["chosen"] else ("· " if row["name"] in report["front"] else "  ")
        ends = row["difference_ci"]
        between = "" if ends is None else f" ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})"
        table.add_row(
            mark + row["name"],
            f"{row['milliseconds']:.2f}",
            f"{row['megabytes']:.1f}",
            f"{row['macro_f1']:.3f}{interval(row['macro_f1_ci'])}",
            f"{100 * row['difference']:+.1f}{between}",
        )
    console.print(table)
    say("▶ chosen; · no other model beats it in both cost and macro-F1.")
    for name, reason in report["left_out"].items():
        say(f"Left out: {name}. {reason}")
    say(report["sentence"])
    if report["remark"]:
        say(report["remark"])
    if report["model_version"] is not None:
        say(f"Registered as candidate {report['model_version']}; `tailsight promote` judges it on the test images.")
    say(f"Page: {report['report']}")
