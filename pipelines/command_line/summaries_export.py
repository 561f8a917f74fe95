"""What a person reads after ``export``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from pipelines.command_line.figures import percent


def summarise_export(report: Mapping[str, Any], console: Console) -> None:
    """What it computes with, how far it agrees with the network, and where it is."""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    parity = report["parity"]
    say(
        f"Model version {report['model_version']} as {report['format']} {report['precision']}: {report['arithmetic']};"
        f" {report['size_bytes'] / 1e6:.1f} MB, {percent(report['size_of_fp32'])} of the fp32 graph."
    )
    say(
        f"Parity gate passed on {parity['images']} validation images: {percent(parity['agreement'])} of predicted"
        f" classes agree with the network; macro-F1 {parity['macro_f1_network']:.3f} and"
        f" {parity['macro_f1_artefact']:.3f};"
        f" probabilities differ by {parity['largest_probability_difference']:.3g} at most."
    )
    say(f"Attached to the model version: {report['artefact']}")
    if report["copied_to"]:
        say(f"Copied to {report['copied_to']}")
