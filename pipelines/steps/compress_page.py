"""The page of a compression: what each smaller model costs and loses, as a picture and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from data_contracts.workspace import write_atomically
from domain_models.compression import Choice, CompressionRow, Target, pareto_front
from domain_models.intervals import Interval
from domain_models.pictures.canvas import png
from domain_models.pictures.compression import compression_figure
from domain_models.report import Picture, ReportContent, Section, Table, render_report


def write_page(
    path: Path,
    champion: str,
    dataset_version: str,
    rows: Sequence[CompressionRow],
    target: Target,
    max_loss: float,
    choice: Choice,
    left_out: Mapping[str, str],
) -> Path:
    """Write one self-contained HTML page; returns where.

    Args:
        path: to be written.
        champion: the version that was to become smaller.
        dataset_version: whose validation images judged.
        rows: at least one.
        target: what was asked for.
        max_loss: in points.
        choice: what came of it.
        left_out: what was not made, and why.
    """
    front = {row.name for row in pareto_front(rows, target)}
    table = Table(
        header=("", "model", "computed by", "ms an image", "images a second", "MB", "macro-F1", "against the champion"),
        rows=tuple(
            (
                "chosen" if row.name == choice.chosen else ("front" if row.name in front else ""),
                row.name,
                row.runtime,
                f"{row.milliseconds:.2f}",
                f"{row.images_per_second:.0f}",
                f"{row.megabytes:.1f}",
                f"{row.macro_f1:.3f}{_between(row.macro_f1_ci, 1, '.3f')}",
                f"{100 * row.difference:+.1f}{_between(row.difference_ci, 100, '+.1f')}",
            )
            for row in sorted(rows, key=target.of)
        ),
        numeric=(3, 4, 5, 6, 7),
        caption="macro-F1 on the validation images with 95% intervals; against the champion: points, image by image."
        " front: no other model beats it in both figures.",
    )
    alt = f"macro-F1 on the validation images against {target.kind.value}, and which models no other beats in both"
    picture = Picture(png=png(compression_figure(rows, target, max_loss, choice.chosen)), alt=alt)
    told = (
        f"Asked for: {target.in_words}, at most {max_loss:g} points of macro-F1 lost.",
        "Validation chose among all of these, so the figures of the chosen one are somewhat too good; `promote` judges"
        " it on test images that had no say.",
    )
    sections = [Section(title="Cost and loss", sentences=told, tables=(table,), pictures=(picture,))]
    if left_out:
        reasons = tuple(f"{name}: {reason}" for name, reason in left_out.items())
        sections.append(Section(title="Left out", sentences=reasons))
    content = ReportContent(
        title=f"Smaller forms of model version {champion}",
        subtitle=f"Dataset version {dataset_version}; timed on this machine",
        verdict=choice.sentence,
        verdict_tone="plain" if choice.chosen is None else "good",
        made_at=datetime.now(UTC),
        sections=tuple(sections),
    )
    write_atomically(path, render_report(content))
    return path


def _between(interval: Interval | None, factor: float, form: str) -> str:
    if interval is None:
        return ""
    low, high = (format(factor * end, form) for end in interval)
    return f" ({low} to {high})"
