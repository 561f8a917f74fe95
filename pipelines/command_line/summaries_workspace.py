"""What a person reads after ``init`` and ``doctor``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

MARKS = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]"}


def summarise_init(report: Mapping[str, Any], console: Console) -> None:
    """Where the workspace is, and the next command."""
    verb = "Made" if report["created"] else "Already there:"
    console.print(f"{verb} the workspace {report['workspace']} with the profile {report['profile']}.", markup=False)
    console.print(f"Read and edit {report['profile_file']}.", markup=False)
    console.print("Next: tailsight ingest IMAGES", markup=False)


def summarise_proposal(report: Mapping[str, Any], console: Console) -> None:
    """What was seen, every proposed line with its reason, and the next command."""
    verb = "Made" if report["created"] else "Already there:"
    console.print(f"{verb} the workspace {report['workspace']} with a profile proposed from the images.", markup=False)
    console.print(f"{report['images']:,} images, {report['looked_at']:,} of them looked at.", markup=False)
    for remark in report["remarks"]:
        console.print(f"Note: {remark}", markup=False, soft_wrap=True)
    for line in report["lines"]:
        value = ", ".join(map(str, line["value"])) if isinstance(line["value"], list) else line["value"]
        console.print(f"  {line['key']}: {'null' if value is None else value}", markup=False, soft_wrap=True)
        console.print(f"      {line['reason']}", style="dim", markup=False, soft_wrap=True)
    if report["nearest"]:
        console.print(f"Nearest shipped profile: {report['nearest']} ({report['nearest_why']}).", markup=False)
    console.print(f"Read and edit {report['profile_file']}.", markup=False, soft_wrap=True)
    console.print(f"Next: {report['next']}", markup=False, soft_wrap=True)


def summarise_up(report: Mapping[str, Any], console: Console) -> None:
    """The addresses, one a line."""
    for name, address in report["addresses"].items():
        console.print(f"{name + ':':<14}{address}", markup=False, highlight=False)
    if report["runs_put_right"]:
        console.print(f"{len(report['runs_put_right'])} runs that a kill left under way were marked as failed.")
    if report["receivers"]:
        console.print(f"Decisions leave as they are made for {', '.join(report['receivers'])}.", markup=False)
    console.print("Sensors and schedules are on. Ctrl-C stops everything.", markup=False)


def summarise_prepared(report: Mapping[str, Any], console: Console) -> None:
    """That the services may start."""
    console.print(f"The databases of {report['workspace']} have the present schema.", markup=False, soft_wrap=True)


def summarise_doctor(report: Mapping[str, Any], console: Console) -> None:
    """One line for each finding, remedies below it."""
    from rich.markup import escape

    for finding in report["findings"]:
        console.print(f"{MARKS[finding['health']]} {finding['name']}: {escape(finding['detail'])}", soft_wrap=True)
        if finding["remedy"]:
            console.print(f"     {escape(finding['remedy'])}", soft_wrap=True)
    console.print("Everything needed works." if report["ok"] else "[red]Something does not work; see FAIL above.[/]")
