"""The demo's closing table: on the test images of the first day, by what the experts truly said of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from data_contracts.blobs import Blobs
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.images import images_frame, occurrences_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.progress import Progress
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from pipelines.demo_images import DemoImages
from pipelines.demo_rounds import READER_ERROR, truth_by_image
from pipelines.steps.ledger import open_ledger

Interval = tuple[float, float]
ARM_SEEDS = 10


class TruthFigures(BaseModel):
    """Macro-F1 and accuracy of one model on the frozen test, with 95% intervals."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    macro_f1: float
    macro_f1_ci: Interval | None
    accuracy: float
    accuracy_ci: Interval | None


class ArmFigures(BaseModel):
    """Review against chance: macro-F1 over the seeds on embeddings of the first champion, same start, same budget.

    Means with 95% intervals over seeds; ``gain`` is the paired difference of the two.
    """

    model_config = ConfigDict(frozen=True)

    seeds: int
    answers: int
    before: float
    review: float
    review_ci: Interval
    random: float
    random_ci: Interval
    gain: float
    gain_ci: Interval


def by_truth(
    workspace: Workspace, version: str, dataset: str, truth: Mapping[str, str], progress: Progress
) -> TruthFigures:
    """A model on the test images of ``dataset``, held against the truth and not against the labels on file."""
    from domain_models.metrics import evaluate
    from pipelines.steps.dataset import load_dataset
    from pipelines.steps.predictions import predict_split
    from pipelines.steps.registry import open_registry

    record, manifest = load_dataset(workspace, dataset)
    with open_registry(workspace) as registry:
        found = predict_split(workspace, registry, version, record, manifest, Split.TEST, progress)
    labels = np.array([found.classes.index(truth[image_id]) for image_id in found.image_ids], dtype=np.int64)
    figures = evaluate(found.probabilities, labels, found.classes, groups=found.components)
    return TruthFigures(
        model_version=version,
        macro_f1=figures.macro_f1,
        macro_f1_ci=figures.macro_f1_ci,
        accuracy=figures.accuracy,
        accuracy_ci=figures.accuracy_ci,
    )


def planted_found(workspace: Workspace, images: DemoImages, truth: Mapping[str, str]) -> int:
    """How many of the planted label errors are right by now."""
    names = _ids_by_name(workspace)
    with open_ledger(workspace) as ledger:
        answers = image_answers(ledger)
    said = dict(zip(answers["image_id"], answers["label"], strict=True))
    return sum(1 for name in images.planted if said.get(names[name]) == truth[names[name]])


def review_against_chance(
    workspace: Workspace,
    images: DemoImages,
    first: str,
    dataset: str,
    *,
    rounds: int,
    budget: int,
    progress: Progress,
) -> ArmFigures:
    """Replay the rounds with the default strategy and at random, ten seeds each, on what was known at the start.

    Args:
        workspace: after the rounds.
        images: the demo's images.
        first: version of the first champion; its network gives the embeddings.
        dataset: the first dataset version; its labels are those the demo began with, planted errors included.
        rounds: as many batches may be asked about.
        budget: answers per round.
        progress: told of the work.
    """
    from domain_models.label_audit import out_of_fold_probabilities
    from domain_models.selection.pool import UNLABELLED, Pool
    from domain_models.selection.strategies import STRATEGIES, StrategyName
    from domain_models.selection_arms import ArmSettings, Judges, compare_arms, paired_difference, score
    from pipelines.steps.dataset import load_dataset
    from pipelines.steps.embeddings import embeddings_of
    from pipelines.steps.queue_model import confusion_today, load_round_model

    record, manifest = load_dataset(workspace, dataset)
    model = load_round_model(workspace, first)
    assert model is not None  # it was promoted
    names, truth = _ids_by_name(workspace), truth_by_image(workspace, images)
    classes = record.taxonomy.names
    parts = {split: manifest[manifest["split"] == split.value] for split in (Split.TRAIN, Split.VAL, Split.TEST)}
    asked = sorted({names[path.name] for batch in images.batches[:rounds] for path in batch.glob("*.png")} & set(truth))
    ids = [*parts[Split.TRAIN]["image_id"], *asked]
    with open_ledger(workspace) as ledger:
        blobs = Blobs(registered_roots(ledger))
        uris = _uris(workspace)

    def embedded(wanted: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return embeddings_of(workspace, blobs, model.embedder, [(i, uris[i]) for i in wanted], progress)

    def true(wanted: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.array([classes.index(truth[i]) for i in wanted], dtype=np.int64)

    known = len(parts[Split.TRAIN])
    labels = np.full(len(ids), UNLABELLED, dtype=np.int64)
    labels[:known] = parts[Split.TRAIN]["class_index"].to_numpy()
    features = embedded(ids)
    probabilities = np.full((len(ids), len(classes)), np.nan)
    probabilities[:known] = out_of_fold_probabilities(
        features[:known], labels[:known], list(parts[Split.TRAIN]["component"]), len(classes), seed=0
    )
    pool = Pool.of(
        len(ids),
        classes=classes,
        labels=labels,
        probabilities=probabilities,
        embeddings=features,
        confusion=confusion_today(model, record.taxonomy),
    )
    val, test = (list(parts[split]["image_id"]) for split in (Split.VAL, Split.TEST))
    # Validation as the factory has it, with its wrong labels; only the judgement at the end knows the truth.
    val_labels = parts[Split.VAL]["class_index"].to_numpy(dtype=np.int64)
    judges = Judges(embedded(val), val_labels, embedded(test), true(test))
    settings = ArmSettings(rounds=rounds, budget=budget, reader_error=READER_ERROR)
    strategies = {name.value: STRATEGIES[name] for name in (StrategyName.MIX, StrategyName.RANDOM)}
    with progress.step("Review against chance, on kept embeddings"):
        scores = compare_arms(pool, true(ids), judges, strategies, settings, range(ARM_SEEDS))
    nothing = np.zeros(ARM_SEEDS)
    review, random = scores[StrategyName.MIX.value], scores[StrategyName.RANDOM.value]
    gain = paired_difference(review, random)
    return ArmFigures(
        seeds=ARM_SEEDS,
        answers=rounds * budget,
        before=score(pool, judges),
        review=float(review.mean()),
        review_ci=paired_difference(review, nothing).interval,
        random=float(random.mean()),
        random_ci=paired_difference(random, nothing).interval,
        gain=gain.mean,
        gain_ci=gain.interval,
    )


def _ids_by_name(workspace: Workspace) -> dict[str, str]:
    with open_ledger(workspace) as ledger:
        places = occurrences_frame(ledger)
    return {Path(path).name: str(i) for path, i in zip(places["path"], places["image_id"], strict=True)}


def _uris(workspace: Workspace) -> dict[str, str]:
    with open_ledger(workspace) as ledger:
        frame = images_frame(ledger)
    return dict(zip(frame["image_id"], frame["uri"], strict=True))
