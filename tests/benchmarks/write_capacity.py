"""Write deploy/CAPACITY.md from results/capacity.json and the assumptions below, and from nothing else.

python tests/benchmarks/write_capacity.py
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MEASURED = HERE / "results" / "capacity.json"
DOCUMENT = ROOT / "deploy" / "CAPACITY.md"

DAYS, HOURS, SECONDS = 30, 30 * 24, 30 * 24 * 3600
GB, TB = 1e9, 1e12


@dataclass(frozen=True)
class Level:
    """A volume. ``reviewed`` is the share of images that a person looks at: the larger the volume, the less can be."""

    images: int
    name: str
    reviewed: float


@dataclass(frozen=True)
class Assumptions:
    """What is not measured: replace it by what holds where you are. Prices are round numbers, nobody's price list."""

    levels: tuple[Level, ...] = (
        Level(1_000_000, "1 million", 0.05),
        Level(100_000_000, "100 million", 0.01),
        Level(10_000_000_000, "10 billion", 0.0005),
    )
    kind: str = "1024 px JPEG"
    runtime: str = "openvino f32"
    peak: float = 3.0
    cores_per_machine: int = 16
    busy: float = 0.7
    months_kept: float = 3.0
    seconds_per_review: float = 8.0
    reader_hours_per_month: float = 120.0
    readers: int = 10
    storage_tb: float = 100.0
    network_gbit: float = 10.0
    price_machine_hour: float = 0.50
    price_gb_month: float = 0.02
    price_gb_read: float = 0.0
    price_reader_hour: float = 30.0


@dataclass(frozen=True)
class Need:
    """One resource that does not grow by itself: what is needed, what one of it gives, and what to do when it is short.

    ``times`` is how many of it are needed; above 1 it is a bottleneck.
    """

    resource: str
    needed: str
    given: str
    times: float
    remedy: str


@dataclass(frozen=True)
class Plan:
    """What one volume takes. Rates are images per second; ``cores`` and ``machines`` carry the peak."""

    level: Level
    average: float
    peak: float
    cores: float
    machines: int
    machine_hours: float
    read_gb: float
    network_gbit: float
    kept_tb: float
    scores_gb: float
    ledger_gb: float
    reader_hours: float
    cost_machines: float
    cost_storage: float
    cost_readers: float
    needs: tuple[Need, ...]


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=MEASURED)
    parser.add_argument("--out", type=Path, default=DOCUMENT)
    arguments = parser.parse_args()
    arguments.out.write_text(document(json.loads(arguments.results.read_text()), Assumptions()), encoding="utf-8")


def core_seconds(measured: dict[str, Any], assumed: Assumptions) -> float:
    """Seconds of one core that one image takes: read, decoded and prepared; computed; decided and made a row."""
    rates = (
        measured["images"][assumed.kind]["decoded_and_prepared_per_core_second"],
        measured["model"]["rates"][assumed.runtime],
        measured["scores"]["rows_decided_per_core_second"],
    )
    return sum(1 / rate for rate in rates)


def planned(measured: dict[str, Any], assumed: Assumptions, level: Level) -> Plan:
    """What a volume takes, from measured rates and assumptions alone."""
    image_bytes = measured["images"][assumed.kind]["bytes_per_image"]
    average = level.images / SECONDS
    peak = assumed.peak * average
    cores = peak * core_seconds(measured, assumed) / assumed.busy
    machines = math.ceil(cores / assumed.cores_per_machine)
    machine_hours = level.images * core_seconds(measured, assumed) / assumed.busy / assumed.cores_per_machine / 3600
    read_gb = level.images * image_bytes / GB
    kept_tb = assumed.months_kept * level.images * image_bytes / TB
    reviewed = level.images * level.reviewed
    reader_hours = reviewed * assumed.seconds_per_review / 3600
    ledger, scores = measured["ledger"], measured["scores"]
    scores_gb = level.images * scores["bytes_per_row"] / GB
    ledger_gb = reviewed * (ledger["bytes_per_image"] + ledger["bytes_per_label"]) / GB
    return Plan(
        level=level,
        average=average,
        peak=peak,
        cores=cores,
        machines=machines,
        machine_hours=machine_hours,
        read_gb=read_gb,
        network_gbit=peak * image_bytes * 8 / 1e9,
        kept_tb=kept_tb,
        scores_gb=scores_gb,
        ledger_gb=ledger_gb,
        reader_hours=reader_hours,
        cost_machines=machine_hours * assumed.price_machine_hour,
        cost_storage=(kept_tb * TB + scores_gb * GB) / GB * assumed.price_gb_month + read_gb * assumed.price_gb_read,
        cost_readers=reader_hours * assumed.price_reader_hour,
        needs=_needs(measured, assumed, level, peak=peak, cores=cores, kept_tb=kept_tb, reader_hours=reader_hours),
    )


def _needs(
    measured: dict[str, Any],
    assumed: Assumptions,
    level: Level,
    *,
    peak: float,
    cores: float,
    kept_tb: float,
    reader_hours: float,
) -> tuple[Need, ...]:
    ledger, scores, storage = measured["ledger"], measured["scores"], measured["storage"]
    image_bytes = measured["images"][assumed.kind]["bytes_per_image"]
    team = assumed.readers * assumed.reader_hours_per_month
    into_ledger = peak * level.reviewed
    one_writer = 1 / (1 / ledger["images_per_second"] + 1 / ledger["labels_per_second"])
    one_driver = 1 / (1 / scores["rows_written_per_second"] + 1 / scores["rows_merged_per_second"])
    network = peak * image_bytes * 8 / 1e9
    needs = [
        Need(
            "reviewers' hours",
            f"{_number(reader_hours)} hours a month",
            f"{_number(team)} hours of {assumed.readers} readers",
            reader_hours / team,
            "a higher limit for automatic decisions, review by group, or more readers",
        ),
        Need(
            "processors of one machine",
            f"{_number(cores)} cores",
            f"{assumed.cores_per_machine} cores",
            cores / assumed.cores_per_machine,
            "`score --engine ray` on several machines",
        ),
        Need(
            "storage for images",
            f"{_number(kept_tb)} TB kept",
            f"{_number(assumed.storage_tb)} TB of one file server",
            kept_tb / assumed.storage_tb,
            "S3-compatible storage, fewer months kept, or only what was reviewed kept",
        ),
        Need(
            "network of one machine",
            f"{_number(network)} Gbit/s",
            f"{_number(assumed.network_gbit)} Gbit/s",
            network / assumed.network_gbit,
            "several machines that read for themselves, beside the storage",
        ),
        Need(
            "listing objects, one command",
            f"{_number(peak)} a second",
            f"{_number(storage['listed_per_second'])} a second",
            peak / storage["listed_per_second"],
            "one prefix for each line and hour, each scored as a batch of its own, by several commands",
        ),
        Need(
            "writing rows, one command",
            f"{_number(peak)} a second",
            f"{_number(one_driver)} a second",
            peak / one_driver,
            "several commands, each for a batch of its own",
        ),
        Need(
            "the ledger's one writer",
            f"{_number(into_ledger)} a second",
            f"{_number(one_writer)} a second",
            into_ledger / one_writer,
            "one workspace, and so one ledger, for each line or site",
        ),
    ]
    return tuple(sorted(needs, key=lambda need: -need.times))


def document(measured: dict[str, Any], assumed: Assumptions) -> str:
    """The whole page."""
    plans = [planned(measured, assumed, level) for level in assumed.levels]
    parts = [
        "# Capacity",
        "",
        "Made by `python tests/benchmarks/write_capacity.py` from `tests/benchmarks/results/capacity.json`"
        " (`python tests/benchmarks/measure_capacity.py`) and the assumptions named below. Change them at the top of"
        " the script, or measure on your machines, and write the page again.",
        "",
        "## What was measured",
        "",
        *_measured(measured),
        "",
        "## What is assumed",
        "",
        *_assumed(measured, assumed),
        "",
        "## What it takes",
        "",
        *_takes(plans, assumed),
        "",
        "## What is short first",
        "",
        "How many of each resource a level needs at its peak, one being what a single machine, process, server or team"
        " gives. Above 1 it is a bottleneck, and the largest is the first.",
        "",
        *_shortages(plans),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _measured(measured: dict[str, Any]) -> list[str]:
    machine, ledger, scores, storage = (measured[key] for key in ("machine", "ledger", "scores", "storage"))
    rows = [
        [f"{name}: read, decoded, prepared", f"{_number(kind['decoded_and_prepared_per_core_second'])} images/s"]
        for name, kind in measured["images"].items()
    ]
    rows += [
        [f"{name}: size", f"{_number(kind['bytes_per_image'])} bytes"] for name, kind in measured["images"].items()
    ]
    model = measured["model"]
    rows += [
        [f"{model['backbone']} at {model['side']} px, {runtime}", f"{_number(rate)} images/s"]
        for runtime, rate in model["rates"].items()
    ]
    rows += [
        ["images into the ledger, one writer", f"{_number(ledger['images_per_second'])} images/s"],
        ["labels into the ledger, one writer", f"{_number(ledger['labels_per_second'])} labels/s"],
        ["an image in the ledger, its label", f"{ledger['bytes_per_image']} and {ledger['bytes_per_label']} bytes"],
        [
            f"rows of {scores['classes']} classes written as parts",
            f"{_number(scores['rows_written_per_second'])} rows/s",
        ],
        ["logits decided and made rows", f"{_number(scores['rows_decided_per_core_second'])} rows/s"],
        ["rows merged into one file", f"{_number(scores['rows_merged_per_second'])} rows/s"],
        ["a row in that file", f"{_number(scores['bytes_per_row'])} bytes"],
        ["objects read, one at a time", f"{_number(storage['read_per_second_one_at_a_time'])} objects/s"],
        [f"objects read, {storage['reads_at_once']} at a time", f"{_number(storage['read_per_second'])} objects/s"],
        ["objects listed", f"{_number(storage['listed_per_second'])} objects/s"],
        ["files of a folder listed", f"{_number(measured['folder_listing_per_second'])} files/s"],
    ]
    said = f"On {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, {measured['date']}. "
    said += (
        "Images and models: one core, by processor time. The storage is a test server on the same cores, so a stand-in."
    )
    said += " It does not say what other storage gives, so reading is no row among what is short."
    return [said, *([measured["remark"]] if "remark" in measured else []), "", *_table("what|figure", rows)]


def _assumed(measured: dict[str, Any], assumed: Assumptions) -> list[str]:
    shares = ", ".join(f"{level.reviewed:.2%} of {level.name}" for level in assumed.levels)
    return [
        "None of this is measured, and **no price is anybody's price list: they are round numbers to be replaced**.",
        "",
        f"- Images are the measured {assumed.kind} files; the model is the one above by {assumed.runtime}, and looks"
        " once (`standard` looks twice where a mirror image is harmless: twice the model's time).",
        f"- The busiest hour brings {assumed.peak:g} times the average of {DAYS} days of 24 hours.",
        f"- A machine has {assumed.cores_per_machine} cores like the measured one, {assumed.busy:.0%} busy at the peak;"
        " cores add up, because parts are independent; tested with two nodes on one machine, not measured.",
        f"- Only images that a person looks at enter the ledger, each with one label: {shares}.",
        f"- A review takes {assumed.seconds_per_review:g} seconds; {assumed.readers} readers give"
        f" {assumed.reader_hours_per_month:g} hours a month each.",
        f"- Images are kept for {assumed.months_kept:g} months, one file server holds {assumed.storage_tb:g} TB, one"
        f" machine's network carries {assumed.network_gbit:g} Gbit/s.",
        f"- Prices: {assumed.price_machine_hour:.2f} for a machine-hour, {assumed.price_gb_month:.3f} for a GB kept for"
        f" a month, {assumed.price_gb_read:.3f} for a GB read, {assumed.price_reader_hour:.2f} for a reader's hour, in"
        " any one currency. Machines are paid for the hours that they compute.",
        f"- One image takes {core_seconds(measured, assumed) * 1000:.1f} ms of a core.",
    ]


def _takes(plans: Sequence[Plan], assumed: Assumptions) -> list[str]:
    rows = [
        ["images a second, average", *(_number(plan.average) for plan in plans)],
        [f"images a second, peak ({assumed.peak:g} times)", *(_number(plan.peak) for plan in plans)],
        ["cores at the peak", *(_number(plan.cores) for plan in plans)],
        [f"machines of {assumed.cores_per_machine} cores", *(f"{plan.machines:,}" for plan in plans)],
        ["machine-hours a month", *(_number(plan.machine_hours) for plan in plans)],
        ["read from storage a month, GB", *(_number(plan.read_gb) for plan in plans)],
        ["network at the peak, Gbit/s", *(_number(plan.network_gbit) for plan in plans)],
        [f"images kept ({assumed.months_kept:g} months), TB", *(_number(plan.kept_tb) for plan in plans)],
        ["score tables a month, GB", *(_number(plan.scores_gb) for plan in plans)],
        ["ledger grows a month, GB", *(_number(plan.ledger_gb) for plan in plans)],
        ["images reviewed", *(f"{plan.level.reviewed:.2%}" for plan in plans)],
        ["readers' hours a month", *(_number(plan.reader_hours) for plan in plans)],
        ["cost of machines a month", *(_number(plan.cost_machines) for plan in plans)],
        ["cost of storage a month", *(_number(plan.cost_storage) for plan in plans)],
        ["cost of readers a month", *(_number(plan.cost_readers) for plan in plans)],
    ]
    return _table("|".join(["images a month", *(plan.level.name for plan in plans)]), rows)


def _shortages(plans: Sequence[Plan]) -> list[str]:
    lines = []
    for plan in plans:
        first = plan.needs[0]
        is_short = first.times > 1
        word = "The first bottleneck" if is_short else "Nothing is short; nearest to it"
        lines += [
            f"**{plan.level.name[0].upper()}{plan.level.name[1:]} a month.** {word}: {first.resource}"
            f" ({first.needed}, against {first.given}: {_number(first.times)} times). What helps: {first.remedy}.",
            "",
            *_table(
                "resource|needed|one gives|times|when it is short",
                [[need.resource, need.needed, need.given, _number(need.times), need.remedy] for need in plan.needs],
            ),
            "",
        ]
    return lines


def _number(value: float) -> str:
    """Three figures that count, thousands separated."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    rounded = round(value, 2 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.{digits}f}"


def _table(columns: str, rows: Sequence[Sequence[str]]) -> list[str]:
    names = columns.split("|")
    return [
        f"| {' | '.join(names)} |",
        f"|{'|'.join(['---'] * len(names))}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


if __name__ == "__main__":
    main()
