"""Does the triage rule keep its promise, and at what price? Many re-splits of predictions that were made once.

    python tests/benchmarks/measure_triage.py elpv infrared ham10000 x-sdd     200 re-splits of each
    python tests/benchmarks/measure_triage.py elpv --trained                   of the standard preset's models
    python tests/benchmarks/measure_triage.py elpv --folds                     of its fold models

Every labelled image is predicted by a linear classifier that saw neither it nor its group (five folds). With
``--trained`` the validation and test images are predicted by the models that ``make bench-accuracy`` has trained (one
of each seed, in turn). With ``--folds`` the training and validation images are predicted by the fold models that the
preset sets its rule on where there are few images: each by one that saw neither it nor its group. Each re-split sets
the rule on one half of the groups and judges it on the other: how often the error of its automatic decisions is within
the limit, and what share of the images the best threshold in hindsight would have decided there. Probabilities are
calibrated on the half that the rule is set on, by cross-fitting. Writes results/triage-SET.json,
results/triage-SET-trained.json or results/triage-SET-folds.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from benchmark_sets import NAMES, read_set
from embedded_sets import curated_set, embedded_set
from machine import machine
from numpy.typing import NDArray

from data_contracts.errors import BadInput
from data_contracts.profile import Limits
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.calibration import cross_fitted_probabilities, softmax
from domain_models.calibrators import CalibrationKind, fit_kind, fitter
from domain_models.decision_costs import EQUAL_COSTS, DecisionCosts
from domain_models.intervals import group_codes
from domain_models.label_audit import out_of_fold_probabilities
from domain_models.model_card import read_card
from domain_models.training import train as train_network
from domain_models.triage import fit_triage
from domain_models.triage_outcome import measure
from pipelines.command_line.context import progress_on_stderr
from pipelines.steps.dataset import load_dataset
from pipelines.steps.learning_data import learning_data
from pipelines.steps.predictions import predict_split
from pipelines.steps.registry import open_registry
from pipelines.steps.train import TrainRequest, plan, run_key, train

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Told:
    """Images with their labels, and what was said of them.

    Attributes:
        classes: k names.
        labels: int64 [n].
        groups: n components.
        logits: float64 [n, k].
        costs: what mistakes count when the class to predict is chosen.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: list[str]
    logits: NDArray[np.float64]
    costs: DecisionCosts = EQUAL_COSTS


def told_by_a_probe(name: str, folder: Path) -> Told:
    """All labelled images of a set, each by a linear classifier that saw neither it nor its group."""
    data = embedded_set(read_set(name), folder / f"{name}-embedded")
    said = out_of_fold_probabilities(data.embeddings, data.labels, data.groups, len(data.classes), seed=0)
    return Told(data.classes, data.labels, data.groups, np.log(said.clip(1e-12)))


def told_by_the_preset(name: str, folder: Path, seed: int) -> Told:
    """The validation and test images of a split, by the model that the accuracy bench has trained there."""
    workspace, progress = Workspace((folder / f"{name}-standard-{seed}").absolute()), progress_on_stderr()
    dataset, manifest = load_dataset(workspace)
    request = TrainRequest(preset="standard", overrides=("cross_fit_folds=0",), seed=seed)
    version = train(workspace, request, progress).model_version
    with open_registry(workspace) as registry:
        costs = read_card(registry.package(version)).decision_costs
        parts = [
            predict_split(workspace, registry, version, dataset, manifest, split, progress)
            for split in (Split.VAL, Split.TEST)
        ]
    return Told(
        parts[0].classes,
        np.concatenate([part.labels for part in parts]),
        [group for part in parts for group in part.components],
        np.log(np.concatenate([part.probabilities for part in parts]).clip(1e-12)),
        costs,
    )


def told_by_the_folds(name: str, folder: Path, seed: int) -> Told:
    """The training and validation images of a split, by the preset's own fold models."""
    workspace, progress = curated_set(read_set(name), folder / f"{name}-standard-{seed}", seed), progress_on_stderr()
    dataset, manifest = load_dataset(workspace)
    request = TrainRequest(preset="standard", seed=seed)
    train(workspace, request, progress)
    config, _ = plan(workspace, request, manifest, workspace.profile)
    data = learning_data(workspace, dataset, manifest, config, progress)
    trained = train_network(
        data, config, workspace.runs / run_key(dataset, config), progress
    )  # its checkpoints are there
    said = trained.cross_fit
    if not said.image_ids:
        raise BadInput(
            f"The preset makes no folds of {name}: it has validation images enough.", remedy="Use --trained."
        )
    return Told(data.classes, said.labels, list(said.groups), said.logits.astype(np.float64), trained.decision_costs)


def resplit(data: Told, limits: Limits, seed: int) -> dict[str, float | None]:
    """One re-split: the rule's share of automatic decisions, its error, and the share in hindsight."""
    logits = data.logits
    codes = group_codes(data.groups, len(data.labels))
    half = np.random.default_rng(seed).permutation(int(codes.max()) + 1) % 2 == 0
    fitted, judged = np.flatnonzero(half[codes]), np.flatnonzero(~half[codes])
    kind = CalibrationKind.TEMPERATURE
    calibrated = cross_fitted_probabilities(
        logits[fitted], data.labels[fitted], groups=codes[fitted], seed=seed, fit=fitter(kind)
    )
    predicted = data.costs.predicted(calibrated)
    rule = fit_triage(
        calibrated, data.labels[fitted], limits, classes=data.classes, groups=codes[fitted], predicted=predicted
    )
    new = fit_kind(kind, logits[fitted], data.labels[fitted]).probabilities(logits[judged])
    predicted = data.costs.predicted(new)
    outcome = measure(new, data.labels[judged], rule, data.classes, groups=codes[judged], predicted=predicted)
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
    parser.add_argument("--trained", action="store_true", help="models of the accuracy bench instead of a probe")
    parser.add_argument("--folds", action="store_true", help="the preset's fold models instead of a probe")
    parser.add_argument("--seeds", type=int, default=3, help="with --trained or --folds: how many splits")
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces", help="of the workspaces")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    limits = Limits(automatic_error=arguments.limit)
    for name in arguments.sets:
        predictions, suffix = "probe, out of fold", ""
        if arguments.trained or arguments.folds:
            teller = told_by_the_folds if arguments.folds else told_by_the_preset
            told = [teller(name, arguments.folder, seed) for seed in range(arguments.seeds)]
            predictions = f"standard, {'out of fold, ' if arguments.folds else ''}{len(told)} models"
            suffix = "-folds" if arguments.folds else "-trained"
        else:
            told = [told_by_a_probe(name, arguments.folder)]
        found = [resplit(told[seed % len(told)], limits, seed) for seed in range(arguments.resplits)]
        shares, best = (np.asarray([one[key] for one in found], dtype=float) for key in ("share", "share_in_hindsight"))
        kept = sum(1 for one in found if one["error"] is None or one["error"] <= arguments.limit)
        result = {
            "set": name,
            "limit": arguments.limit,
            "confidence": limits.confidence,
            "resplits": len(found),
            "kept": kept,
            "predictions": predictions,
            "images": int(np.mean([len(one.labels) for one in told])),
            "accuracy": float(
                np.mean([(one.costs.predicted(softmax(one.logits)) == one.labels).mean() for one in told])
            ),
            "share": float(shares.mean()),
            "share_in_hindsight": float(best.mean()),
            "share_of_hindsight": float(shares.mean() / best.mean()) if best.mean() else None,
            "machine": machine(),
            "date": date.today().isoformat(),
        }
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / f"triage-{name}{suffix}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result), file=sys.stderr)


if __name__ == "__main__":
    main()
