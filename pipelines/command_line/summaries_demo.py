"""The demo's last page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.panel import Panel

from pipelines.command_line.figures import figure, percent, percent_interval


def summarise_demo(report: Mapping[str, Any], console: Console) -> None:
    """What came out, what it means, and what a person should know and do next."""
    command = f"tailsight --workspace {report['workspace']}"
    lines = [
        f"{report['images']:,} real images: {report['labelled']:,} labelled, {report['production']:,} as production.",
        f"Model version {report['champion']} is the champion. On {report['test_images']:,} test images it never saw:",
        f"  macro-F1           {figure(report, 'macro_f1_before')}",
        f"  accuracy           {figure(report, 'accuracy')}",
        f"  calibration (ECE)  {report['ece']:.3f}; a perfectly calibrated model would show "
        f"{report['ece_of_a_calibrated_model']:.3f}",
        *_gate_lines(report),
        f"A production batch of {report['batch_rows']:,} images was scored:",
        f"  {percent(report['share_automatic'])} decided automatically; promised error at most "
        f"{percent(report['error_limit'])}, expected {percent(report['expected_error'])}"
        f"{percent_interval(report['expected_error_ci'])}",
        f"  experts disagree with {report['automatic_wrong']:,} of {report['automatic']:,} automatic decisions "
        f"({percent(report['automatic_error'])}{percent_interval(report['automatic_error_ci'])})",
        f"  {report['review']:,} images are for a person: about {report['reader_hours']:.1f} reader hours",
        f"{report['seconds']:.0f} seconds, peak memory {report['peak_memory_mb']:,} MB.",
        "",
        "What to know: the images name no module, so cells of one module may lie in train and test; read the test",
        "figures as optimistic. They are CC BY-NC-SA 4.0: not for commercial use.",
        "",
        f"Read the report:    {report['report']}",
        f"See the models:     {command} models",
        f"Score another day:  {command} score {report['next_batch']} --out day2.parquet",
        "Your own images:    tailsight --workspace line4 init --profile generic",
    ]
    console.print(Panel("\n".join(lines), title="Tailsight demo", title_align="left", expand=False), soft_wrap=False)


def _gate_lines(report: Mapping[str, Any]) -> list[str]:
    if not report["gate_overridden"]:
        return []
    refusals = [f"    {reason}" for reason in report["gate_reasons"]]
    return ["  The gate REFUSED this model; the demo overrode it to show the rest, and the ledger says so:", *refusals]
