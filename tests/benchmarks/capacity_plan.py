"""What so many images a month take, by measured rates and assumptions: cores, machines, cost, what is short first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

DAYS, SECONDS = 30, 30 * 24 * 3600
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
            f"{number(reader_hours)} hours a month",
            f"{number(team)} hours of {assumed.readers} readers",
            reader_hours / team,
            "a higher limit for automatic decisions, review by group, or more readers",
        ),
        Need(
            "processors of one machine",
            f"{number(cores)} cores",
            f"{assumed.cores_per_machine} cores",
            cores / assumed.cores_per_machine,
            "`score --engine ray` on several machines",
        ),
        Need(
            "storage for images",
            f"{number(kept_tb)} TB kept",
            f"{number(assumed.storage_tb)} TB of one file server",
            kept_tb / assumed.storage_tb,
            "S3-compatible storage, fewer months kept, or only what was reviewed kept",
        ),
        Need(
            "network of one machine",
            f"{number(network)} Gbit/s",
            f"{number(assumed.network_gbit)} Gbit/s",
            network / assumed.network_gbit,
            "several machines that read for themselves, beside the storage",
        ),
        Need(
            "listing objects, one command",
            f"{number(peak)} a second",
            f"{number(storage['listed_per_second'])} a second",
            peak / storage["listed_per_second"],
            "one prefix for each line and hour, each scored as a batch of its own, by several commands",
        ),
        Need(
            "writing rows, one command",
            f"{number(peak)} a second",
            f"{number(one_driver)} a second",
            peak / one_driver,
            "several commands, each for a batch of its own",
        ),
        Need(
            "the ledger's one writer",
            f"{number(into_ledger)} a second",
            f"{number(one_writer)} a second",
            into_ledger / one_writer,
            "one workspace, and so one ledger, for each line or site",
        ),
    ]
    return tuple(sorted(needs, key=lambda need: -need.times))


def number(value: float) -> str:
    """Three figures that count, thousands separated."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    rounded = round(value, 2 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.{digits}f}"
