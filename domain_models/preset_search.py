"""The preset ``auto``: configurations are tried on the user's own images until the time is up, the best is taken.

Optuna's TPE proposes (Bergstra et al., NeurIPS 2011), successive halving ends the hopeless after few epochs (Li et al.,
MLSys 2020). The first trial is the standard preset itself, so the result is never worse on the validation images, and
nothing else than they decides. The study is a journal in the run's folder: killed at any moment and called again, it
goes on with the trial that was under way, from its last epoch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from data_contracts.errors import BadInput, NotFound, UnreadableImage
from data_contracts.input_settings import AugmentationSettings
from data_contracts.progress import SILENT, Progress
from domain_models.architecture import AttentionKind
from domain_models.backbones import normalisation
from domain_models.bundled_weights import BUNDLED_PACKAGES
from domain_models.linear_probe import macro_f1
from domain_models.training import train
from domain_models.training_config import LossKind, SecondStageKind, TrainingConfig
from domain_models.training_data import TrainingData

SPACE: dict[str, tuple[Any, ...]] = {
    "backbone": tuple(BUNDLED_PACKAGES),
    "size": (0.8, 1.0, 1.25),
    "attention": tuple(kind.value for kind in AttentionKind),
    "loss": (
        LossKind.CROSS_ENTROPY.value,
        LossKind.BALANCED_SOFTMAX.value,
        LossKind.LOGIT_ADJUSTED.value,
        LossKind.FOCAL.value,
    ),
    "second_stage": tuple(kind.value for kind in SecondStageKind),
    "augmentation": (0.0, 0.5, 1.0),
}
"""What is tried. ``size`` is a factor of the standard preset's; ``augmentation`` one of the profile's strengths: never
more than the profile allows, because it knows what would change a label."""

LEARNING_RATES = (2e-4, 3e-3)
_REDUCTION = 3
_HOPELESS = 10

DataFor = Callable[[TrainingConfig], TrainingData]
"""The images prepared as a configuration wants them."""


@dataclass(frozen=True)
class Tried:
    """One configuration that was tried: its settings, validation macro-F1 (``None`` if given up), epochs, seconds."""

    settings: Mapping[str, Any]
    macro_f1: float | None
    epochs: int
    seconds: float


@dataclass(frozen=True)
class SearchOutcome:
    """The configuration that was best on validation, and everything that was tried, the best first."""

    config: TrainingConfig
    tried: tuple[Tried, ...]
    sentences: tuple[str, ...]


def search(
    start: TrainingConfig,
    data_for: DataFor,
    folder: Path,
    *,
    seconds: float,
    fixed: Collection[str] = (),
    most_trials: int = 1000,
    progress: Progress = SILENT,
) -> SearchOutcome:
    """Try configurations until the time is up; at least the first is always finished.

    Args:
        start: the standard preset's configuration; tried first, without cross-fitting.
        data_for: gives the images.
        folder: of this search: its journal and the checkpoints of its trials.
        seconds: for all trials together, those of earlier calls included.
        fixed: settings that stay as they are in ``start``.
        most_trials: at most so many.
        progress: told of each trial.
    """
    study, choices = _study(folder), _choices(start, fixed)
    _resume(study, start)
    with progress.step("Searching for settings", total=None) as step:
        while True:
            done = _ended(study)
            spent = [float(trial.user_attrs["seconds"]) for trial in done]
            hopeless = len(done) >= _HOPELESS and all(trial.state is optuna.trial.TrialState.FAIL for trial in done)
            if hopeless or len(done) >= most_trials or (done and sum(spent) + float(np.median(spent)) > seconds):
                break
            # A sampler of its own for each trial: after a kill it proposes what it would have proposed.
            study.sampler = _sampler(start.seed, len(done))
            trial = study.ask()
            _one(study, trial, start, _proposed(trial, start, choices), data_for, folder, progress)
            step.advance(1, f"best macro-F1 on validation {_best_value(study):.3f}")
    return _outcome(study, start)


def config_of(start: TrainingConfig, settings: Mapping[str, Any]) -> TrainingConfig:
    """The configuration that some settings of `SPACE` describe."""
    spec = start.preprocessing
    height, width = (max(32, 16 * round(side * settings["size"] / 16)) for side in (spec.height, spec.width))
    update: dict[str, Any] = {"height": height, "width": width}
    if settings["backbone"] != start.backbone:
        update["mean"], update["std"] = normalisation(settings["backbone"], start.weights)
    share = settings["augmentation"]
    weakened = {
        name: value * share for name, value in start.augmentation.model_dump().items() if isinstance(value, float)
    }
    chosen = start.model_dump() | {
        "backbone": settings["backbone"],
        "preprocessing": spec.model_copy(update=update),
        "augmentation": AugmentationSettings.model_validate(start.augmentation.model_dump() | weakened),
        "attention": settings["attention"],
        "loss": settings["loss"],
        "second_stage": settings["second_stage"],
        "learning_rate": settings["learning_rate"],
        "cross_fit_folds": 0,
    }
    return TrainingConfig.model_validate(chosen)


def settings_of(start: TrainingConfig) -> dict[str, Any]:
    """The settings of `SPACE` that leave a configuration as it is."""
    return {
        "backbone": start.backbone,
        "size": 1.0,
        "attention": start.attention.value,
        "loss": start.loss.value,
        "second_stage": start.second_stage.value,
        "augmentation": 1.0,
        "learning_rate": start.learning_rate,
    }


def _study(folder: Path) -> optuna.Study:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "study.jsonl"))),
        study_name="search",
        direction="maximize",
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_REDUCTION),
        load_if_exists=True,
    )


def _sampler(seed: int, number: int) -> optuna.samplers.TPESampler:
    own = int(np.random.default_rng([seed, number]).integers(2**31))
    return optuna.samplers.TPESampler(seed=own, n_startup_trials=8, multivariate=True)


def _resume(study: optuna.Study, start: TrainingConfig) -> None:
    """A new study begins with the standard preset; what a kill interrupted comes first."""
    trials = study.get_trials(deepcopy=False)
    if not trials:
        study.enqueue_trial(settings_of(start))
    for trial in trials:
        if trial.state is optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)


def _choices(start: TrainingConfig, fixed: Collection[str]) -> dict[str, list[Any]]:
    """What is tried of each setting but the learning rate, unless that is fixed."""
    usual = settings_of(start)
    tried = {name: list(dict.fromkeys([*values, usual[name]])) for name, values in SPACE.items()}
    return tried | {name: [value] for name, value in usual.items() if name in fixed}


def _proposed(trial: optuna.Trial, start: TrainingConfig, choices: Mapping[str, list[Any]]) -> dict[str, Any]:
    settings = {name: trial.suggest_categorical(name, values) for name, values in choices.items()}
    if "learning_rate" in settings:
        return settings
    low, high = LEARNING_RATES
    bounds = min(low, start.learning_rate), max(high, start.learning_rate)
    return settings | {"learning_rate": trial.suggest_float("learning_rate", *bounds, log=True)}


def _one(
    study: optuna.Study,
    trial: optuna.Trial,
    start: TrainingConfig,
    settings: Mapping[str, Any],
    data_for: DataFor,
    folder: Path,
    progress: Progress,
) -> None:
    began = time.monotonic()
    epochs = 0

    def after_epoch(row: Mapping[str, float]) -> None:
        nonlocal epochs
        epochs = int(row["epoch"])
        trial.report(row["val_macro_f1"], epochs)
        if trial.should_prune():
            raise optuna.TrialPruned

    config = config_of(start, settings)
    state, value = optuna.trial.TrialState.COMPLETE, None
    try:
        data = data_for(config)
        trained = train(data, config, folder / config.key, progress, after_epoch=after_epoch)
        value = macro_f1(trained.val_predicted(data.val.labels), data.val.labels)
    except optuna.TrialPruned:
        state = optuna.trial.TrialState.PRUNED
    except (NotFound, UnreadableImage):  # an image that is gone is gone for every configuration
        raise
    except BadInput as error:  # settings that do not go together, with these images
        trial.set_user_attr("refused", error.what)
        state = optuna.trial.TrialState.FAIL
    trial.set_user_attr("seconds", time.monotonic() - began)
    trial.set_user_attr("epochs", epochs)
    study.tell(trial, value, state=state)


def _configurations(count: int) -> str:
    return "1 configuration was" if count == 1 else f"{count} configurations were"


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that came to an end of their own: not those that a kill interrupted."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state.is_finished() and "seconds" in trial.user_attrs]


def _best_value(study: optuna.Study) -> float:
    values = [trial.value for trial in study.get_trials(deepcopy=False) if trial.value is not None]
    return max(values, default=float("nan"))


def _outcome(study: optuna.Study, start: TrainingConfig) -> SearchOutcome:
    ended = _ended(study)
    whole = [trial for trial in ended if trial.state is optuna.trial.TrialState.COMPLETE]
    whole.sort(key=lambda trial: -(trial.value or 0.0))
    others = [trial for trial in ended if trial not in whole]
    tried = tuple(
        Tried(trial.params, trial.value, int(trial.user_attrs["epochs"]), float(trial.user_attrs["seconds"]))
        for trial in (*whole, *others)
    )
    if not whole:
        raise BadInput(
            "No settings could be trained to the end.",
            cause="; ".join(str(trial.user_attrs.get("refused", "given up")) for trial in others[:3]),
            remedy="Train with --preset standard, which says what is wrong.",
        )
    best, usual = whole[0], settings_of(start)
    first = next((trial for trial in whole if trial.params == usual), None)
    changed = {name: value for name, value in best.params.items() if value != usual[name]}
    minutes = sum(one.seconds for one in tried) / 60
    sentence = (
        f"{_configurations(len(tried))} tried in {minutes:.0f} minutes, {len(others)} of them given up early; the best "
        f"has macro-F1 {best.value:.3f} on validation"
        + (f", the standard preset's {first.value:.3f}" if first is not None else "")
        + (f". It differs from the standard preset by {json.dumps(changed)}." if changed else ": that is the best.")
    )
    warning = "Validation chose among them, so its figures are too good by an unknown amount; the test's are not."
    config = config_of(start, best.params).model_copy(update={"cross_fit_folds": start.cross_fit_folds})
    return SearchOutcome(config, tried, (sentence, warning))
