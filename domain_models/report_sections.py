"""Figures turned into parts of a report: what a quality lead reads first, then the detail behind it."""

from __future__ import annotations

from data_contracts.review.agreement import AgreementFigures
from domain_models.evaluation import Evaluation
from domain_models.gate import GateDecision
from domain_models.intervals import Interval
from domain_models.passing import PassOutcome, PassRule
from domain_models.report import Picture, Section, Table, Tile
from domain_models.triage import TriageRule
from domain_models.triage_outcome import TriageOutcome


def headline_tiles(evaluation: Evaluation, outcome: TriageOutcome | None = None) -> tuple[Tile, ...]:
    """The figures to be seen first, each with its interval."""
    calibrated = evaluation.ece <= evaluation.ece_of_a_calibrated_model_p95
    tiles = [
        Tile(label="Accuracy", value=share(evaluation.accuracy), note=between(evaluation.accuracy_ci)),
        Tile(label="Macro-F1", value=f"{evaluation.macro_f1:.3f}", note=between(evaluation.macro_f1_ci, percent=False)),
        Tile(
            label="Balanced accuracy",
            value=share(evaluation.balanced_accuracy),
            note=between(evaluation.balanced_accuracy_ci),
        ),
        Tile(
            label="Calibration error",
            value=f"{evaluation.ece:.3f}",
            note=f"chance alone {evaluation.ece_of_a_calibrated_model:.3f}",
            tone="good" if calibrated else "plain",
        ),
    ]
    if evaluation.escape_rate is not None:
        tiles.append(
            Tile(label="Escapes", value=share(evaluation.escape_rate), note=between(evaluation.escape_rate_ci))
        )
    if evaluation.overkill_rate is not None:
        tiles.append(
            Tile(label="Overkill", value=share(evaluation.overkill_rate), note=between(evaluation.overkill_rate_ci))
        )
    if outcome is not None:
        tiles.append(
            Tile(
                label="Decided automatically",
                value=share(outcome.coverage_at_limit, 0),
                note=f"{outcome.reader_hours_per_1000:.1f} reader hours per 1,000 images",
            )
        )
    return tuple(tiles)


def evaluation_section(evaluation: Evaluation, pictures: tuple[Picture, ...] = ()) -> Section:
    """All figures of one split: a sentence on what it holds, classes one by one, the most confused pairs."""
    sentences = [
        f"Measured on {evaluation.n:,} images"
        + (f" of {evaluation.n_groups:,} groups" if evaluation.n_groups < evaluation.n else "")
        + f" in {len(evaluation.classes)} classes; intervals are 95%"
        + (" and treat a group as one draw." if evaluation.n_groups < evaluation.n else ".")
    ]
    if evaluation.auroc_ovr_macro is not None:
        sentences.append(
            f"Ranking: area under the ROC curve {evaluation.auroc_ovr_macro:.3f} "
            f"({between(evaluation.auroc_ovr_macro_ci, percent=False)}), each class against the rest."
        )
    if evaluation.classes_absent:
        sentences.append(
            f"Without any image here, and left out of the mean figures: {', '.join(evaluation.classes_absent)}."
        )
    rows = tuple(
        (
            name,
            f"{one.n:,}",
            share(one.precision),
            share(one.recall),
            between(one.recall_ci),
            "–" if one.f1 is None else f"{one.f1:.3f}",
        )
        for name, one in evaluation.per_class.items()
    )
    tables = [
        Table(
            header=("Class", "Images", "Precision", "Recall", "95% interval", "F1"), rows=rows, numeric=(1, 2, 3, 4, 5)
        )
    ]
    if evaluation.mean_cost is not None and evaluation.mean_cost_of_cheapest is not None:
        sentences.append(
            f"By the profile's costs an image costs {evaluation.mean_cost:.3f} in the mean as it is predicted, and "
            f"{evaluation.mean_cost_of_cheapest:.3f} where it gets the class that is expected to cost least "
            "(`decide_by: cost` in the profile, from the next training on)."
        )
    if evaluation.operating_points:
        lines = tuple(
            (
                f"{point.threshold:g}",
                share(point.escape_rate),
                between(point.escape_rate_ci),
                share(point.overkill_rate),
                between(point.overkill_rate_ci),
            )
            for point in evaluation.operating_points
        )
        tables.append(
            Table(
                header=("Passes from", "Escapes", "95% interval", "Overkill", "95% interval"),
                rows=lines,
                numeric=(0, 1, 2, 3, 4),
                caption="Where the line between good and bad is drawn: the probability from which on a part passes",
            )
        )
    if evaluation.most_confused:
        pairs = tuple((p.actual, p.predicted, f"{p.count:,}", share(p.share)) for p in evaluation.most_confused)
        tables.append(
            Table(
                header=("Labelled", "Called", "Images", "Of the class"),
                rows=pairs,
                numeric=(2, 3),
                caption="Most confused pairs",
            )
        )
    return Section(title="How well it classifies", sentences=tuple(sentences), tables=tuple(tables), pictures=pictures)


def triage_section(
    rule: TriageRule,
    outcome: TriageOutcome | None = None,
    pictures: tuple[Picture, ...] = (),
    passing: PassRule | None = None,
    passed: PassOutcome | None = None,
) -> Section:
    """What is decided without a person, how wrong that is, and what is left to read."""
    sentences = list(rule.sentences)
    if outcome is not None and outcome.automatic_error is not None:
        sentences.append(
            f"On images that the rule was not set on, {share(outcome.coverage_at_limit, 0)} are decided alone and "
            f"{share(outcome.automatic_error)} of those are wrong ({between(outcome.automatic_error_ci)})."
        )
    if passing is not None:
        sentences += passing.sentences
    if passed is not None and passed.escape_rate_of_rule is not None:
        sentences.append(
            f"On images that the rule was not set on, {share(passed.escape_rate_of_rule)} of the bad parts pass "
            f"({between(passed.escape_rate_of_rule_ci)}) and {share(passed.overkill_rate_of_rule)} of the good ones "
            "do not."
        )
    return Section(title="What it decides alone", sentences=tuple(sentences), pictures=pictures)


def gate_section(decision: GateDecision) -> Section:
    """Every rule of the gate with what was seen."""
    against = f"champion {decision.champion}" if decision.champion else "no champion yet"
    rows = tuple(("passed" if check.passed else "FAILED", check.sentence) for check in decision.checks)
    sentences = [
        f"Version {decision.candidate} against {against}, on {decision.n:,} test images: "
        + ("passed." if decision.passed else "refused.")
    ]
    if decision.not_gated:
        sentences.append(f"Too few test images to judge: {', '.join(decision.not_gated)}.")
    return Section(
        title="The gate", sentences=tuple(sentences), tables=(Table(header=("Rule", "What was seen"), rows=rows),)
    )


def people_section(figures: AgreementFigures) -> Section | None:
    """How far people can be believed: with one another, against the model, and after they have seen it.

    ``None`` where nothing of that is known yet.
    """
    sentences = []
    if figures.kappa is not None and figures.kappa_low is not None and figures.kappa_high is not None:
        sentences.append(
            f"Two people read the same {figures.pairs:,} without seeing the model: Cohen's kappa "
            f"{figures.kappa:.2f} ({figures.kappa_low:.2f} to {figures.kappa_high:.2f}; 1 is perfect, 0 is chance)."
        )
    if figures.shown:
        sentences.append(
            f"Of {figures.shown:,} answers given in sight of the model's, {figures.overridden:,} differ from it "
            f"({share(figures.override_rate)})."
        )
    if figures.second_events:
        sentences.append(
            f"Once the model was shown, {figures.changed:,} of {figures.second_events:,} second answers differ from "
            f"the first: {figures.wrong_to_right:,} changed wrong to right, {figures.right_to_wrong:,} right to wrong, "
            f"{figures.wrong_to_wrong:,} one wrong class to another; of {figures.changed_truth_unknown:,} nobody knows "
            "the truth (an adjudication or a reference such as histology or teardown)."
        )
    return Section(title="How people read", sentences=tuple(sentences)) if sentences else None


def share(value: float | None, digits: int = 1) -> str:
    """A share as a percentage, or a dash where it is undefined."""
    return "–" if value is None else f"{value:.{digits}%}"


def between(interval: Interval | None, *, percent: bool = True) -> str:
    """An interval in words, or that there is none."""
    if interval is None:
        return "no interval"
    low, high = interval
    return f"{low:.1%} to {high:.1%}" if percent else f"{low:.3f} to {high:.3f}"
