"""What a person reads after ``simulate`` and ``backbones``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.command_line.figures import percent


def summarise_simulation(report: Mapping[str, Any], console: Console) -> None:
    """Labels needed for each target and strategy, and where the curves are."""
    who = "a classifier on kept embeddings" if report["learner"] == "probe" else "a model, retrained as labels came,"
    _say(
        console,
        f"Dataset version {report['dataset_version']}, split {report['seeds']} times: {who} "
        f"of all {report['images']:,} training images has macro-F1 {report['full_macro_f1']:.3f} on the test images.",
    )
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("reach")
    table.add_column("strategy")
    table.add_column("labels", justify="right")
    table.add_column("share of what random needs", justify="right")
    for item in report["needed"]:
        share = "" if item["share_of_random"] is None else percent(item["share_of_random"])
        if item["share_ci"] is not None:
            low, high = item["share_ci"]
            share += f" ({percent(low)} to {percent(high)})"
        name = item["strategy"].replace("_", " ")
        table.add_row(f"{percent(item['target'])} of it", name, f"{item['labels']:,.0f}", share)
    console.print(table)
    _say(
        console,
        "Shares are geometric means over the splits with their 95% intervals. Validation labels are not counted: every "
        "strategy has them.",
    )
    _say(console, f"Curves: {report['picture']}")
    _say(console, f"Table:  {report['table']}")


def summarise_backbones(report: Mapping[str, Any], console: Console) -> None:
    """One row for each backbone, what was left out, and where the page is."""
    _say(console, f"Dataset version {report['dataset_version']}, input {report['width']}×{report['height']} px.")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("backbone")
    table.add_column("weights")
    for name in ("MB", "ms an image", "images a second", "macro-F1"):
        table.add_column(name, justify="right")
    for row in report["rows"]:
        worth = "not pretrained" if row["macro_f1"] is None else f"{row['macro_f1']:.3f}"
        speed = f"{row['milliseconds']:.1f}", f"{row['images_per_second']:,.0f}"
        table.add_row(row["backbone"], row["weights"], f"{row['megabytes']:.1f}", *speed, worth)
    console.print(table)
    for name, reason in report["left_out"].items():
        _say(console, f"Not measured: {name}. {reason}")
    _say(console, "macro-F1: of a linear classifier on the features as they come, on the validation images.")
    _say(console, f"Page: {report['report']}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
