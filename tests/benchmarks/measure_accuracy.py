"""Our presets and long-tail methods against what a good engineer gets from a plain fine-tune, in the same run.

    python tests/benchmarks/measure_accuracy.py elpv infrared ham10000 x-sdd     three seeds of each, then the table
    python tests/benchmarks/measure_accuracy.py elpv --seeds 1 --losses balanced_softmax
    python tests/benchmarks/measure_accuracy.py --cifar100 FOLDER                CIFAR-100-LT (binary version)
    python tests/benchmarks/measure_accuracy.py --pool                           only the table, from what was measured

For each seed a set is split by group into 64% training, 16% validation and 20% test images, and learned by

- ``probe``: a linear classifier on the untouched backbone;
- ``standard`` (or ``--preset``): the preset as it is;
- ``plain``: the preset's backbone and input, all of it fine-tuned with cross-entropy and natural sampling, for as many
  epochs as the preset's wall time allows; the best epoch by validation. The preset's fold models are left out on both
  sides: they set triage thresholds and change nothing of the model;
- ``plain+SECOND``: each second stage on the plain run's backbone, its strength chosen on validation;
- each of ``--losses`` (at most three), like ``plain`` but for the loss.

Everything is chosen on validation; the test images are predicted once. Each seed writes
results/accuracy-SET-PRESET-seedN.json after every method, and what is there is not measured again. Workspaces stay in
--folder: a killed run goes on there.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_pool import coded, pool
from benchmark_sets import NAMES, BenchmarkSet, drawn, read_cifar100_long_tail, read_set
from embedded_sets import curated_set
from machine import machine
from numpy.typing import NDArray

from data_contracts.records import DatasetVersion
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.backbones import Classifier
from domain_models.calibrators import choose_calibration
from domain_models.decision_costs import EQUAL_COSTS, DecisionCosts, most_probable
from domain_models.decision_weights import choose_decision_weights
from domain_models.inference import embed
from domain_models.intervals import group_codes
from domain_models.metrics import evaluate
from domain_models.model_card import read_card
from domain_models.model_package import load_package
from domain_models.training_config import SecondStageKind, TrainingConfig
from domain_models.training_data import TrainingData
from domain_models.training_phases import classifier_of
from domain_models.two_stage import SECOND_STAGES, choose_rebalanced
from pipelines.command_line.context import progress_on_stderr
from pipelines.steps.candidate import CandidateReport, prepared_data
from pipelines.steps.dataset import load_dataset
from pipelines.steps.evaluate import train_counts
from pipelines.steps.predictions import Predictions, predict_split
from pipelines.steps.registry import open_registry
from pipelines.steps.train import TrainRequest, train

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DEFECTIVE = {"elpv": ("probably_defective", "defective")}
"""Classes that are one side of the two-class accuracy."""

PROBE = (
    *("epochs=0", "probe=true", "frozen_stages=0", "cached_views=0", "probe_views=1", "second_stage=none"),
    *("cross_fit_folds=0", "mirrored_view=false"),
)
PLAIN = (
    *("frozen_stages=0", "cached_views=0", "probe=false", "probe_views=1", "second_stage=none", "cross_fit_folds=0"),
    *("loss=cross_entropy", "label_smoothing=0", "sampler=natural", "reweighting=none", "head=linear"),
    *("mixup_alpha=0", "cutmix_alpha=0", "average_decay=0", "keep_batch_statistics=false", "augment=true"),
    "mirrored_view=false",
)
LOSSES = {
    "balanced_softmax": ("loss=balanced_softmax",),
    "focal": ("loss=focal", "reweighting=effective_number"),
    "ldam": ("loss=ldam", "head=cosine", "reweighting=effective_number", "reweighting_from=0.8"),
}
SECONDS = (
    SecondStageKind.LOGIT_ADJUSTMENT,
    SecondStageKind.CLASSIFIER_RETRAINING,
    SecondStageKind.TAU_NORMALISATION,
    SecondStageKind.LEARNABLE_WEIGHT_SCALING,
)


class Measurement:
    """One set, one seed: its workspace, and the file that grows with every method."""

    def __init__(self, name: str, data: BenchmarkSet, seed: int, preset: str, place: Path, result: Path) -> None:
        self.name, self.data, self.seed, self.preset, self.path = name, data, seed, preset, result
        self.workspace = Workspace(place)
        self.found: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {}
        self.progress = progress_on_stderr()

    def run(self, losses: list[str]) -> None:
        """Measure what is missing."""
        wanted = ["probe", self.preset, "plain", *(f"plain+{kind.value}" for kind in SECONDS), *losses]
        if set(wanted) <= set(self.found.get("methods", {})):
            return
        curated_set(self.data, self.workspace.folder, self.seed)
        dataset = load_dataset(self.workspace)[0]
        self._trained(dataset, "probe", PROBE)
        ours = self._trained(dataset, self.preset, ("cross_fit_folds=0",))
        epochs = f"epochs={self._epochs(ours.training_seconds)}"
        plain = self._trained(dataset, "plain", (*PLAIN, epochs, "early_stopping=1000"))
        self._second_stages(dataset, plain.model_version)
        for loss in losses:
            self._trained(dataset, loss, (*PLAIN, epochs, "early_stopping=1000", *LOSSES[loss]))

    def _epochs(self, seconds: float) -> int:
        """So many plain epochs, validation included, take the preset's training time; one is trained to know."""
        one = self._train((*PLAIN, "epochs=1"))
        return max(1, round(seconds / one.training_seconds))

    def _train(self, overrides: tuple[str, ...]) -> CandidateReport:
        return train(
            self.workspace, TrainRequest(preset=self.preset, overrides=overrides, seed=self.seed), self.progress
        )

    def _trained(self, dataset: DatasetVersion, method: str, overrides: tuple[str, ...]) -> CandidateReport:
        report = self._train(overrides)
        if method not in self.found.get("methods", {}):
            manifest = load_dataset(self.workspace)[1]
            with open_registry(self.workspace) as registry:
                said = predict_split(
                    self.workspace, registry, report.model_version, dataset, manifest, Split.TEST, self.progress
                )
                config = TrainingConfig.model_validate(read_card(registry.package(report.model_version)).config)
            seconds = {"seconds": report.training_seconds, "epochs": config.epochs, "choices": report.choices}
            self._keep(dataset, method, said, seconds)
        return report

    def _second_stages(self, dataset: DatasetVersion, version: str) -> None:
        """Rebalance the plain network's classifier in each way, calibrate it anew, judge it."""
        missing = [kind for kind in SECONDS if f"plain+{kind.value}" not in self.found["methods"]]
        if not missing:
            return
        manifest = load_dataset(self.workspace)[1]
        with open_registry(self.workspace) as registry:
            network, card = load_package(registry.package(version))
            said = predict_split(self.workspace, registry, version, dataset, manifest, Split.TEST, self.progress)
        spec = TrainingConfig.model_validate(card.config).preprocessing
        judged = manifest[manifest["split"] != Split.VAL.value].replace({"split": {Split.TEST.value: Split.VAL.value}})
        data, test = (prepared_data(self.workspace, dataset, rows, spec, self.progress) for rows in (manifest, judged))
        train_x, val_x, test_x = (
            embed(network, part.images, spec, progress=self.progress) for part in (data.train, data.val, test.val)
        )
        assert list(said.labels) == list(test.val.labels)
        for kind in missing:
            if kind is SecondStageKind.LOGIT_ADJUSTMENT:
                self._keep(dataset, *self._weighed(network, said, val_x, test_x, data))
                continue
            candidates = SECOND_STAGES[kind](
                classifier_of(network), train_x, data.train.labels, data.train.weights, None
            )
            best = choose_rebalanced(classifier_of(network), candidates, val_x, data.val.labels)
            calibration, _ = choose_calibration(
                best.classifier.logits(val_x),
                data.val.labels,
                groups=data.val.groups,
                seed=self.seed,
            )
            told = calibration.probabilities(best.classifier.logits(test_x))
            anew = replace(said, probabilities=told, predicted=most_probable(told))
            self._keep(dataset, f"plain+{kind.value}", anew, {"strength": best.strength})

    def _weighed(
        self,
        network: Classifier,
        said: Predictions,
        val_x: NDArray[np.float32],
        test_x: NDArray[np.float32],
        data: TrainingData,
    ) -> tuple[str, Predictions, dict[str, Any]]:
        """The plain network with its decisions weighed, as a training does it."""
        val_logits, val = classifier_of(network).logits(val_x), data.val
        counts = data.train.counts(len(data.classes))
        found = choose_decision_weights(val_logits, val.labels, counts, groups=val.groups, seed=self.seed)
        costs = DecisionCosts.weighing(found.weights)
        calibration, _ = choose_calibration(
            val_logits, val.labels, groups=val.groups, keep_decisions=costs == EQUAL_COSTS, seed=self.seed
        )
        told = calibration.probabilities(classifier_of(network).logits(test_x))
        method = f"plain+{SecondStageKind.LOGIT_ADJUSTMENT.value}"
        anew = replace(said, probabilities=told, predicted=costs.predicted(told))
        return method, anew, {"strength": found.strength}

    def _keep(self, dataset: DatasetVersion, method: str, said: Predictions, more: dict[str, Any]) -> None:
        """Add a method to the file."""
        classes, manifest = dataset.taxonomy.names, load_dataset(self.workspace)[1]
        counts = train_counts(manifest, len(classes))
        figures = evaluate(
            said.probabilities,
            said.labels,
            classes,
            groups=said.components,
            train_counts=counts,
            predicted=said.predicted,
        )
        if not self.found:
            self.found = {
                "set": self.name,
                "seed": self.seed,
                "preset": self.preset,
                "classes": list(classes),
                "train_counts": counts,
                "labels": coded(said.labels),
                "groups": group_codes(said.components, len(said.labels)).tolist(),
                "machine": machine(),
                "date": date.today().isoformat(),
                "methods": {},
            }
        one = {
            "predicted": coded(said.predicted),
            "accuracy": figures.accuracy,
            "balanced_accuracy": figures.balanced_accuracy,
            "macro_f1": figures.macro_f1,
            "few": figures.groups.few,
            "ece": figures.ece,
            "ece_of_a_calibrated_model_p95": figures.ece_of_a_calibrated_model_p95,
            "nll": figures.nll,
        }
        if self.name in DEFECTIVE:
            sides = np.isin(classes, DEFECTIVE[self.name])
            one["two_class_accuracy"] = float(
                ((said.probabilities[:, sides].sum(axis=1) > 0.5) == sides[said.labels]).mean()
            )
        self.found["methods"][method] = one | more
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.found) + "\n")
        shown = {key: round(value, 4) for key, value in one.items() if isinstance(value, float)}
        print(json.dumps({"set": self.name, "seed": self.seed, "method": method, **shown}), file=sys.stderr)


def main() -> None:
    """Parse the command line, measure what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="|".join(NAMES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--losses", nargs="*", default=[], choices=sorted(LOSSES), metavar="LOSS")
    parser.add_argument("--share", type=float, default=1.0, help="of the groups, so that a large set takes less time")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--name", default="folder")
    parser.add_argument("--cifar100", type=Path, metavar="FOLDER", help="with train.bin and test.bin: CIFAR-100-LT")
    parser.add_argument("--folder", type=Path, default=HERE / "workspaces", help="of the workspaces")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--pool", action="store_true")
    arguments = parser.parse_args()
    if len(arguments.losses) > 3:
        parser.error("at most three losses train in full; second stages reuse the plain run")
    names = [arguments.name] if arguments.images else arguments.sets
    names += ["cifar100-lt"] if arguments.cifar100 else []
    for seed in range(0 if arguments.pool else arguments.seeds):
        for name in names:
            if name == "cifar100-lt":
                data = read_cifar100_long_tail(arguments.cifar100, arguments.folder.absolute() / "cifar100-lt-images")
            else:
                data = drawn(read_set(name, arguments.images, arguments.labels), arguments.share, seed)
            place = arguments.folder.absolute() / f"{name}-{arguments.preset}-{seed}"
            result = arguments.results / f"accuracy-{name}-{arguments.preset}-seed{seed}.json"
            Measurement(name, data, seed, arguments.preset, place, result).run(arguments.losses)
    arguments.results.mkdir(parents=True, exist_ok=True)
    table = pool(arguments.results)
    (arguments.results / "accuracy.json").write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
