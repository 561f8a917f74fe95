"""Write deploy/CAPACITY.md from results/capacity.json and the assumptions in capacity_plan.py, and from nothing else.

python tests/benchmarks/write_capacity.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capacity_plan import DAYS, Assumptions, Plan, core_seconds, number, planned
from machine import in_words

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MEASURED = HERE / "results" / "capacity.json"
DOCUMENT = ROOT / "deploy" / "CAPACITY.md"


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=MEASURED)
    parser.add_argument("--out", type=Path, default=DOCUMENT)
    arguments = parser.parse_args()
    arguments.out.write_text(document(json.loads(arguments.results.read_text()), Assumptions()), encoding="utf-8")


def document(measured: dict[str, Any], assumed: Assumptions) -> str:
    """The whole page."""
    plans = [planned(measured, assumed, level) for level in assumed.levels]
    parts = [
        "# Capacity",
        "",
        "Made by `python tests/benchmarks/write_capacity.py` from `tests/benchmarks/results/capacity.json`"
        " (`python tests/benchmarks/measure_capacity.py`) and the assumptions named below. Change them in"
        " `capacity_plan.py`, or measure on your machines, and write the page again.",
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
        [f"{name}: read, decoded, prepared", f"{number(kind['decoded_and_prepared_per_core_second'])} images/s"]
        for name, kind in measured["images"].items()
    ]
    rows += [[f"{name}: size", f"{number(kind['bytes_per_image'])} bytes"] for name, kind in measured["images"].items()]
    model = measured["model"]
    rows += [
        [f"{model['backbone']} at {model['side']} px, {runtime}", f"{number(rate)} images/s"]
        for runtime, rate in model["rates"].items()
    ]
    rows += [
        ["images into the ledger, one writer", f"{number(ledger['images_per_second'])} images/s"],
        ["labels into the ledger, one writer", f"{number(ledger['labels_per_second'])} labels/s"],
        ["an image in the ledger, its label", f"{ledger['bytes_per_image']} and {ledger['bytes_per_label']} bytes"],
        [
            f"rows of {scores['classes']} classes written as parts",
            f"{number(scores['rows_written_per_second'])} rows/s",
        ],
        ["logits decided and made rows", f"{number(scores['rows_decided_per_core_second'])} rows/s"],
        ["rows merged into one file", f"{number(scores['rows_merged_per_second'])} rows/s"],
        ["a row in that file", f"{number(scores['bytes_per_row'])} bytes"],
        ["objects read, one at a time", f"{number(storage['read_per_second_one_at_a_time'])} objects/s"],
        [f"objects read, {storage['reads_at_once']} at a time", f"{number(storage['read_per_second'])} objects/s"],
        ["objects listed", f"{number(storage['listed_per_second'])} objects/s"],
        ["files of a folder listed", f"{number(measured['folder_listing_per_second'])} files/s"],
    ]
    said = f"On {in_words(machine)}, {measured['date']}. "
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
        ["images a second, average", *(number(plan.average) for plan in plans)],
        [f"images a second, peak ({assumed.peak:g} times)", *(number(plan.peak) for plan in plans)],
        ["cores at the peak", *(number(plan.cores) for plan in plans)],
        [f"machines of {assumed.cores_per_machine} cores", *(f"{plan.machines:,}" for plan in plans)],
        ["machine-hours a month", *(number(plan.machine_hours) for plan in plans)],
        ["read from storage a month, GB", *(number(plan.read_gb) for plan in plans)],
        ["network at the peak, Gbit/s", *(number(plan.network_gbit) for plan in plans)],
        [f"images kept ({assumed.months_kept:g} months), TB", *(number(plan.kept_tb) for plan in plans)],
        ["score tables a month, GB", *(number(plan.scores_gb) for plan in plans)],
        ["ledger grows a month, GB", *(number(plan.ledger_gb) for plan in plans)],
        ["images reviewed", *(f"{plan.level.reviewed:.2%}" for plan in plans)],
        ["readers' hours a month", *(number(plan.reader_hours) for plan in plans)],
        ["cost of machines a month", *(number(plan.cost_machines) for plan in plans)],
        ["cost of storage a month", *(number(plan.cost_storage) for plan in plans)],
        ["cost of readers a month", *(number(plan.cost_readers) for plan in plans)],
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
            f" ({first.needed}, against {first.given}: {number(first.times)} times). What helps: {first.remedy}.",
            "",
            *_table(
                "resource|needed|one gives|times|when it is short",
                [[need.resource, need.needed, need.given, number(need.times), need.remedy] for need in plan.needs],
            ),
            "",
        ]
    return lines


def _table(columns: str, rows: Sequence[Sequence[str]]) -> list[str]:
    names = columns.split("|")
    return [
        f"| {' | '.join(names)} |",
        f"|{'|'.join(['---'] * len(names))}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


if __name__ == "__main__":
    main()
