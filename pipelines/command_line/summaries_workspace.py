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


def summarise_doctor(report: Mapping[str, Any], console: Console) -> None:
    """One line for each finding, remedies below it."""
    from rich.markup import escape

    for finding in report["findings"]:
        console.print(f"{MARKS[finding['health']]} {finding['name']}: {escape(finding['detail'])}", soft_wrap=True)
        if finding["remedy"]:
            console.print(f"     {escape(finding['remedy'])}", soft_wrap=True)
    console.print("Everything needed works." if report["ok"] else "[red]Something does not work; see FAIL above.[/]")
