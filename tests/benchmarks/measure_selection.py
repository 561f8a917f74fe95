"""How many labels each strategy needs, as a share of what random choice needs: `tailsight simulate` on real sets.

    python tests/benchmarks/measure_selection.py elpv infrared ham10000 x-sdd      ten splits of each, then the table

For each seed the set is split anew by group into 64% training, 16% validation and 20% test images. Writes
results/selection-SET.json; workspaces stay in --folder: a killed run goes on there.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

from benchmark_sets import NAMES, read_set
from embedded_sets import curated_set
from machine import machine

from domain_models.selection.strategies import StrategyName
from pipelines.command_line.context import progress_on_stderr
from pipelines.steps.simulate import SimulateRequest, simulate

HERE = Path(__file__).resolve().parent
STRATEGIES = (
    StrategyName.MIX,
    StrategyName.MARGIN,
    StrategyName.ENTROPY,
    StrategyName.CLUSTERED_MARGIN,
    StrategyName.BADGE,
    StrategyName.COLD_START,
)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="|".join(NAMES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--strategies", nargs="*", default=[name.value for name in STRATEGIES], metavar="NAME")
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces", help="of the workspaces")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    for name in arguments.sets:
        workspace = curated_set(read_set(name), arguments.folder / f"{name}-embedded", 0)
        request = SimulateRequest(strategies=tuple(arguments.strategies), seeds=arguments.seeds)
        report = simulate(workspace, request, progress_on_stderr())
        found = report.model_dump(mode="json", exclude={"picture", "table"})
        found |= {"set": name, "machine": machine(), "date": date.today().isoformat()}
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / f"selection-{name}.json").write_text(json.dumps(found) + "\n")
        print(json.dumps({"set": name, "needed": found["needed"]}, indent=1), file=sys.stderr)


if __name__ == "__main__":
    main()
