"""Does the triage rule keep its promise, and at what price? Many re-splits of predictions that were made once.

    python tests/benchmarks/measure_triage.py elpv infrared ham10000 x-sdd     200 re-splits of each

Every labelled image is predicted by a linear classifier that saw neither it nor its group (five folds). Each re-split
sets the rule on one half of the groups and judges it on the other: how often the error of its automatic decisions is
within the limit, and what share of the images the best threshold in hindsight would have decided there. Probabilities
are calibrated on the half that the rule is set on, by cross-fitting. Writes results/triage-SET.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_sets import NAMES, read_set
from embedded_sets import EmbeddedSet, embedded_set
from machine import machine

from data_contracts.profile import Limits
from domain_models.calibration import cross_fitted_probabilities
from domain_models.calibrators import CalibrationKind, fit_kind, fitter
from domain_models.intervals import group_codes
from domain_models.label_audit import out_of_fold_probabilities
from domain_models.triage import fit_triage, measure

HERE = Path(__file__).resolve().parent


def resplit(data: EmbeddedSet, logits: Any, limits: Limits, seed: int) -> dict[str, float | None]:
    """One re-split: the rule's share of automatic decisions, its error, and the share in hindsight."""
    codes = group_codes(data.groups, len(data.labels))
    half = np.random.default_rng(seed).permutation(int(codes.max()) + 1) % 2 == 0
    fitted, judged = np.flatnonzero(half[codes]), np.flatnonzero(~half[codes])
    kind = CalibrationKind.TEMPERATURE
    calibrated = cross_fitted_probabilities(
        logits[fitted], data.labels[fitted], groups=codes[fitted], seed=seed, fit=fitter(kind)
    )
    rule = fit_triage(calibrated, data.labels[fitted], limits, classes=data.classes, groups=codes[fitted])
    new = fit_kind(kind, logits[fitted], data.labels[fitted]).probabilities(logits[judged])
    outcome = measure(new, data.labels[judged], rule, data.classes, groups=codes[judged])
    return {
        "share": outcome.coverage_at_limit,
        "error": outcome.automatic_error,
        "share_in_hindsight": outcome.best_coverage_at_limit,
    }


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="|".join(NAMES))
    parser.add_argument("--resplits", type=int, default=200)
    parser.add_argument("--limit", type=float, default=0.05)
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces", help="of the workspaces")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    limits = Limits(automatic_error=arguments.limit)
    for name in arguments.sets:
        data = embedded_set(read_set(name), arguments.folder / f"{name}-embedded")
        said = out_of_fold_probabilities(data.embeddings, data.labels, data.groups, len(data.classes), seed=0)
        logits = np.log(said.clip(1e-12))
        found = [resplit(data, logits, limits, seed) for seed in range(arguments.resplits)]
        shares, best = (np.asarray([one[key] for one in found], dtype=float) for key in ("share", "share_in_hindsight"))
        kept = sum(1 for one in found if one["error"] is None or one["error"] <= arguments.limit)
        result = {
            "set": name,
            "limit": arguments.limit,
            "confidence": limits.confidence,
            "resplits": len(found),
            "kept": kept,
            "accuracy": float((said.argmax(axis=1) == data.labels).mean()),
            "share": float(shares.mean()),
            "share_in_hindsight": float(best.mean()),
            "share_of_hindsight": float(shares.mean() / best.mean()) if best.mean() else None,
            "machine": machine(),
            "date": date.today().isoformat(),
        }
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / f"triage-{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result), file=sys.stderr)


if __name__ == "__main__":
    main()
