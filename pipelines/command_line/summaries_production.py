"""What a person reads after ``score`` and ``serve``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from pipelines.command_line.figures import percent, percent_interval


def summarise_score(report: Mapping[str, Any], console: Console) -> None:
    """What share is decided without a person, how wrong that may be, and what is left for people."""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    again = " (scored before; nothing was computed twice)" if report["reused"] else ""
    say(f"Scored {report['rows']:,} files with model version {report['model_version']}{again}: {report['out']}")
    say(f"Computed by {report['computed_by']}")
    for remark in report["remarks"]:
        say(remark)
    if report.get("answered_early") is not None:
        say(f"{report['answered_early']:,} were answered by the small model of the cascade alone.")
    if report["errors"]:
        say(f"{report['errors']:,} files could not be read; each has a row that says why.")
    say(
        f"{percent(report['share_automatic'])} are decided automatically; expected error among them "
        f"{percent(report['expected_error'])}{percent_interval(report['expected_error_ci'])}."
    )
    say(f"{report['review']:,} are for people to look at: about {report['reader_hours']:.1f} reader hours.")
    for reason, count in list(report["reasons"].items())[:5]:
        say(f"  {count:,}  {reason}")


def summarise_serving(report: Mapping[str, Any], console: Console) -> None:
    """Say where the server answers, and with what."""
    plural = "s" if report["workers"] > 1 else ""
    console.print(
        f"Model version {report['model_version']} answers at {report['address']} "
        f"({report['runtime']}, {report['workers']} worker{plural}; Ctrl-C stops it).",
        markup=False,
        soft_wrap=True,
    )
    asked = "Who asks needs an API key." if report["asks_for_keys"] else "Nobody is asked for an API key."
    console.print(f"{asked} `curl -F image=@FILE {report['address']}/v1/predict`", markup=False, soft_wrap=True)


def summarise_new_key(report: Mapping[str, Any], console: Console) -> None:
    """Show a key, this once."""
    console.print(f"The key of {report['name']}, which is shown this once:", markup=False)
    console.print(report["key"], markup=False, soft_wrap=True)
    console.print(f"Its hash is in {report['keys_file']}.", markup=False, soft_wrap=True)
