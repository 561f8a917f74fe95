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
    arms = report["arms"]
    lines = [
        f"{report['images']:,} real images: {report['labelled']:,} labelled, {report['production']:,} as production.",
        f"{report['planted_errors']} of the labels were made wrong on purpose; "
        f"{report['planted_errors_found']} of them are right by now.",
        "",
        f"On {report['judging_images']:,} images that nobody asked or trained on, by what the experts truly said:",
        f"  first champion      macro-F1 {figure(report, 'macro_f1_before')}, accuracy {report['accuracy_before']:.3f}",
        f"  after review        macro-F1 {figure(report, 'macro_f1_after')}, accuracy {report['accuracy_after']:.3f}",
        f"  calibration (ECE)   {report['ece']:.3f}; a perfectly calibrated model would show "
        f"{report['ece_of_a_calibrated_model']:.3f} (first champion)",
        f"The worth of {arms['answers']} answers, on kept embeddings over {arms['seeds']} seeds:",
        f"  before {arms['before']:.3f}; review {figure(arms, 'review')}; random {figure(arms, 'random')}",
        f"  review minus random {figure(arms, 'gain')}",
        *_round_lines(report),
        *_gate_lines(report),
        f"A production batch of {report['batch_rows']:,} images was scored by the first champion:",
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
        f"Answer the {report['waiting']:,} tasks that wait:  {command} review",
        f"Read the report:    {report['report']}",
        f"See the models:     {command} models",
        "Your own images:    tailsight --workspace line4 init --from-images DIR",
    ]
    console.print(Panel("\n".join(lines), title="Tailsight demo", title_align="left", expand=False), soft_wrap=False)


def _round_lines(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for outcome in report["rounds"]:
        learned = f"model version {outcome['model_version']}" if outcome["model_version"] else "nothing new"
        verdict = "promoted" if outcome["promoted"] else "not promoted: " + " ".join(outcome["gate_reasons"][:1])
        lines.append(f"Round {outcome['number']}: {outcome['answered']} answers, {learned}, {verdict}")
    if report["incremental_training_seconds"] is not None:
        lines.append(
            f"Incremental training {report['incremental_training_seconds']:.0f} s, "
            f"full {report['full_training_seconds']:.0f} s."
        )
    return lines


def _gate_lines(report: Mapping[str, Any]) -> list[str]:
    if not report["gate_overridden"]:
        return []
    refusals = [f"    {reason}" for reason in report["gate_reasons"]]
    return ["  The gate REFUSED this model; the demo overrode it to show the rest, and the ledger says so:", *refusals]
