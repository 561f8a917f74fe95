"""The demo's closing table: on images that no model and no reader saw, by what the experts truly said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.blobs import Blobs
from data_contracts.ledger.fold import image_answers
from data_contracts.ledger.images import images_frame, occurrences_frame
from data_contracts.ledger.near_duplicates import near_duplicates_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.progress import Progress
from data_contracts.splitting import components
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from pipelines.demo_images import DemoImages
from pipelines.demo_rounds import READER_ERROR, truth_by_image
from pipelines.steps.embeddings import Embedder, bundled_embedder, embeddings_of
from pipelines.steps.ledger import open_ledger

Interval = tuple[float, float]
ARM_SEEDS = 10


class TruthFigures(BaseModel):
    """Macro-F1 and accuracy of one model on images that nobody saw, with 95% intervals."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    macro_f1: float
    macro_f1_ci: Interval | None
    accuracy: float
    accuracy_ci: Interval | None


class ArmFigures(BaseModel):
    """Review against chance: macro-F1 over the seeds on embeddings of the untouched backbone, same start, same budget.

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


@dataclass(frozen=True)
class Judging:
    """What every figure of the table is measured on: images that no model and no reader ever saw.

    ``image_ids`` and their true classes; ``components`` bind images that belong together.
    """

    image_ids: tuple[str, ...]
    truth: tuple[str, ...]
    components: tuple[str, ...]


def judging_images(workspace: Workspace, images: DemoImages, dataset: str, *, rounds: int) -> Judging:
    """The test images of the first day and the last batch, which nobody was asked about, as the experts truly said.

    The test alone would have four images of the rarest class, on which a quarter of macro-F1 would rest. An image that
    belongs together with one that was trained on, or that may have been asked about, is left out.

    Args:
        workspace: after the last batch was scored and queued, so that the ledger knows it.
        images: the demo's images.
        dataset: the first dataset version.
        rounds: how many batches were asked about.
    """
    from pipelines.steps.dataset import load_dataset

    _, manifest = load_dataset(workspace, dataset)
    names, truth = _ids_by_name(workspace), truth_by_image(workspace, images)
    with open_ledger(workspace) as ledger:
        pairs = near_duplicates_frame(ledger)
    bound = pairs[pairs["binding"]]
    component = components(dict.fromkeys(truth), zip(bound["image_a"], bound["image_b"], strict=True))
    asked, unseen = (
        {names[path.name] for batch in batches for path in batch.glob("*.png")} & set(truth)
        for batches in (images.batches[:rounds], images.batches[-1:])
    )
    tested = set(manifest.loc[manifest["split"] == Split.TEST.value, "image_id"])
    seen = {component[i] for i in (asked | set(manifest["image_id"])) - tested}
    judged = sorted(tested | {i for i in unseen if component[i] not in seen})
    return Judging(tuple(judged), tuple(truth[i] for i in judged), tuple(component[i] for i in judged))


def by_truth(workspace: Workspace, version: str, judging: Judging, progress: Progress) -> TruthFigures:
    """A model on images that nobody saw, held against the truth and not against the labels on file."""
    from domain_models.metrics import evaluate
    from pipelines.steps.queue_model import load_round_model

    model = load_round_model(workspace, version)
    assert model is not None  # it is registered
    probabilities = model.probabilities(_embedded(workspace, model.embedder, judging.image_ids, progress))
    labels = np.array([model.classes.index(name) for name in judging.truth], dtype=np.int64)
    figures = evaluate(probabilities, labels, model.classes, groups=judging.components)
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
    judging: Judging,
    *,
    rounds: int,
    budget: int,
    progress: Progress,
) -> ArmFigures:
    """Replay the rounds with the default strategy and at random, ten seeds each, on what was known at the start.

    On embeddings of the untouched backbone: a network that has learned the first labels sees these images so much more
    clearly than new ones that a classifier on its embeddings gets worse by answers, whoever chose them.

    Args:
        workspace: after the rounds.
        images: the demo's images.
        first: version of the first champion; its confusions tell the strategy which pairs of classes matter.
        dataset: the first dataset version; its labels are those the demo began with, planted errors included.
        judging: who says how good an arm is.
        rounds: as many batches may be asked about.
        budget: answers per round.
        progress: told of the work.
    """
    from domain_models.label_audit import out_of_fold_probabilities
    from domain_models.selection.pool import UNLABELLED, Pool
    from domain_models.selection.strategies import STRATEGIES, StrategyName
    from domain_models.selection_arms import ArmSettings, Judges, compare_arms, paired_difference, score
    from pipelines.steps.dataset import load_dataset
    from pipelines.steps.queue_model import confusion_today, load_round_model

    record, manifest = load_dataset(workspace, dataset)
    model = load_round_model(workspace, first)
    assert model is not None  # it was promoted
    names, truth = _ids_by_name(workspace), truth_by_image(workspace, images)
    classes = record.taxonomy.names
    train, val = (manifest[manifest["split"] == split.value] for split in (Split.TRAIN, Split.VAL))
    asked = sorted({names[path.name] for batch in images.batches[:rounds] for path in batch.glob("*.png")} & set(truth))
    ids, val_ids = [*train["image_id"], *asked], list(val["image_id"])
    with open_ledger(workspace) as ledger:
        embedder = bundled_embedder(images_frame(ledger), workspace.profile)
    everything = _embedded(workspace, embedder, [*ids, *val_ids, *judging.image_ids], progress)
    features, val_features, judging_features = np.split(everything, [len(ids), len(ids) + len(val_ids)])
    known = len(train)
    labels = np.full(len(ids), UNLABELLED, dtype=np.int64)
    labels[:known] = train["class_index"].to_numpy()
    probabilities = np.full((len(ids), len(classes)), np.nan)
    probabilities[:known] = out_of_fold_probabilities(
        features[:known], labels[:known], list(train["component"]), len(classes), seed=0
    )
    pool = Pool.of(
        len(ids),
        classes=classes,
        labels=labels,
        probabilities=probabilities,
        embeddings=features,
        confusion=confusion_today(model, record.taxonomy),
    )
    # Validation as the factory has it, with its wrong labels; only the judgement at the end knows the truth.
    val_labels = val["class_index"].to_numpy(dtype=np.int64)
    judges = Judges(val_features, val_labels, judging_features, _codes(judging.truth, classes))
    settings = ArmSettings(rounds=rounds, budget=budget, reader_error=READER_ERROR)
    strategies = {name.value: STRATEGIES[name] for name in (StrategyName.MIX, StrategyName.RANDOM)}
    with progress.step("Review against chance, on kept embeddings"):
        right = _codes([truth[i] for i in ids], classes)
        scores = compare_arms(pool, right, judges, strategies, settings, range(ARM_SEEDS))
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


def _embedded(
    workspace: Workspace, embedder: Embedder, image_ids: Sequence[str], progress: Progress
) -> NDArray[np.float32]:
    with open_ledger(workspace) as ledger:
        frame = images_frame(ledger)
        blobs = Blobs(registered_roots(ledger))
    uris = dict(zip(frame["image_id"], frame["uri"], strict=True))
    return embeddings_of(workspace, blobs, embedder, [(i, uris[i]) for i in image_ids], progress)


def _codes(names: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    return np.array([classes.index(name) for name in names], dtype=np.int64)


def _ids_by_name(workspace: Workspace) -> dict[str, str]:
    with open_ledger(workspace) as ledger:
        places = occurrences_frame(ledger)
    return {Path(path).name: str(i) for path, i in zip(places["path"], places["image_id"], strict=True)}
