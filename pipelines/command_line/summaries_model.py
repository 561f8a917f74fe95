"""What a person reads after the verbs about models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.command_line.figures import figure, interval, percent


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def summarise_train(report: Mapping[str, Any], console: Console) -> None:
    """What was chosen and why, what came out on validation, what triage will do."""
    if report["reused"]:
        _say(console, "This data set, configuration and seed were trained before; nothing was done twice.")
        for sentence in report["choices"]:
            _say(console, sentence)
    _say(console, f"Model version {report['model_version']} is the candidate ({report['seconds']:.0f} s).")
    validation = report["validation"]
    _say(
        console,
        f"On {validation['n']:,} validation images: macro-F1 {figure(validation, 'macro_f1')}, "
        f"accuracy {figure(validation, 'accuracy')}.",
    )
    for sentence in report["triage_sentences"]:
        _say(console, sentence)
    if report["profile"] is not None:
        _say_profile(report["profile"], console)
    _say(console, "Next: tailsight evaluate --model candidate, then tailsight promote --by YOU --why REASON")


def _say_profile(profile: Mapping[str, Any], console: Console) -> None:
    """A short table of the parts of the loop and one of operators."""
    if not profile["recorded_steps"]:
        _say(console, "Nothing was left to learn, so nothing was profiled; another --seed learns anew.")
        return
    rest = profile["seconds"] - sum(profile["parts"].values())
    parts = Table("where the time went", "seconds", "share")
    for name, seconds in (*profile["parts"].items(), ("everything else", rest)):
        parts.add_row(name, f"{seconds:.2f}", percent(seconds / profile["seconds"]))
    console.print(parts)
    operators = Table(f"operators in {profile['recorded_steps']} recorded steps", "calls", "seconds of their own")
    for one in profile["operators"]:
        operators.add_row(one["name"], str(one["calls"]), f"{one['seconds']:.3f}")
    console.print(operators)
    _say(console, f"Trace, for Perfetto or chrome://tracing: {profile['trace']}")


def summarise_pretrain(report: Mapping[str, Any], console: Console) -> None:
    """What it learned from, what that was worth, and how to use it."""
    if report["reused"]:
        _say(console, "These images and settings were pretrained on before; nothing was done twice.")
    for sentence in report["sentences"]:
        _say(console, sentence)
    _say(console, f"Weights: {report['weights']} ({report['seconds']:.0f} s)")
    if report["helps"]:
        _say(console, f"Next: tailsight train --set weights={report['weights']}")
    else:
        _say(console, f"Not advised; if you want to all the same: tailsight train --set weights={report['weights']}")


def summarise_evaluate(report: Mapping[str, Any], console: Console) -> None:
    """The main figures, then each class."""
    _say(
        console,
        f"Model version {report['model_version']} on {report['n']:,} images "
        f"({report['split']} of {report['dataset_version']}), with 95% intervals:",
    )
    names = {
        "macro_f1": "macro-F1",
        "balanced_accuracy": "balanced accuracy",
        "accuracy": "accuracy",
        "auroc_ovr_macro": "AUROC (one against the rest)",
        "ece": "calibration error (ECE)",
        "nll": "log loss",
        "escape_rate": "escape rate",
        "overkill_rate": "overkill rate",
    }
    for key, name in names.items():
        if report.get(key) is not None:
            extra = (
                f"; a perfectly calibrated model would show {report['ece_of_a_calibrated_model']:.3f}"
                if key == "ece"
                else ""
            )
            _say(console, f"  {name:30s} {figure(report, key)}{extra}")
    _say(
        console,
        f"  {'decided automatically':30s} {percent(report['coverage_at_limit'])}, leaving "
        f"{report['reader_hours_per_1000']:.1f} reader hours per 1,000 images",
    )
    for remark in report.get("remarks", ()):
        _say(console, remark)
    table = Table("class", "images", "precision", "recall (95% interval)", "F1")
    for name, one in report["per_class"].items():
        recall = "-" if one["recall"] is None else f"{one['recall']:.3f}{interval(one['recall_ci'])}"
        table.add_row(name, f"{one['n']:,}", _short(one["precision"]), recall, _short(one["f1"]))
    console.print(table)
    for pair in report.get("most_confused", [])[:3]:
        _say(
            console, f"{pair['count']} of {pair['actual']} were called {pair['predicted']} ({percent(pair['share'])})."
        )


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def summarise_promote(report: Mapping[str, Any], console: Console) -> None:
    """What the gate said, and what follows."""
    for reason in report["reasons"]:
        _say(console, f"  {reason}")
    version = report["model_version"]
    if report["already_champion"]:
        _say(console, f"Model version {version} is the champion already.")
    elif report["promoted"]:
        how = " although the gate refused; this is recorded as an override" if report["override"] else ""
        _say(console, f"Model version {version} is now the champion{how}.")
        _say(console, "Next: tailsight score IMAGES --out scores.parquet")
    else:
        _say(console, f"The gate refuses model version {version}; the champion stays {report['previous'] or 'none'}.")
        _say(console, "Improve the model, or take the responsibility with --override --why REASON.")


def summarise_rollback(report: Mapping[str, Any], console: Console) -> None:
    """Which champion is back."""
    _say(console, f"Model version {report['model_version']} is champion again, instead of {report['previous']}.")


def summarise_models(report: Mapping[str, Any], console: Console) -> None:
    """A table of versions, the newest first."""
    if not report["versions"]:
        _say(console, "There are no models yet. Next: tailsight train")
        return
    table = Table("version", "aliases", "macro-F1 (validation)", "accuracy", "preset", "data set", "made")
    for entry in report["versions"]:
        table.add_row(
            entry["version"],
            ", ".join(entry["aliases"]),
            _short(entry["macro_f1"]),
            _short(entry["accuracy"]),
            (entry["preset"] or "") + (" (cascade)" if entry.get("cascade") else ""),
            entry["dataset_version"] or "",
            entry["created_at"][:16].replace("T", " "),
        )
    console.print(table)


def summarise_report(report: Mapping[str, Any], console: Console) -> None:
    """Where the page is, and what the model gained over its predecessor."""
    _say(console, f"The report on model version {report['model_version']}: {report['report']}")
    learned = report.get("learned")
    if learned:
        interval = learned["macro_f1_gained_ci"]
        between = "" if interval is None else " (95% {:+.3f} to {:+.3f})".format(*interval)
        counts = f"{learned['corrected']:,} corrected and {learned['new']:,} new labels"
        changed = f"together they changed macro-F1 by {learned['macro_f1_gained']:+.3f}{between}"
        _say(console, f"Since model version {learned['predecessor']} it learned {counts}; {changed}.")
