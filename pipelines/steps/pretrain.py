"""Pretraining on the user's own images, whether they have labels or not; what it gave is measured before it is used.

Everything that decides the result makes the key. The run's folder, its checkpoint and the weights file are named by it,
so the same command after a kill goes on, and after success finds what it made.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput
from data_contracts.progress import SILENT, Progress
from data_contracts.records import DatasetVersion
from data_contracts.vocabulary import Split
from data_contracts.workspace import Workspace
from domain_models.architecture import AttentionKind
from domain_models.backbones import backbone_state
from domain_models.pretrained_weights import PretrainedRecord, read_record, save_pretrained
from domain_models.pretraining import pretrain as learn
from domain_models.pretraining_config import PretrainingConfig, PretrainingKind
from domain_models.pretraining_gain import measure_gain
from domain_models.training_config import TrainingConfig, with_overrides
from domain_models.training_data import UnlabelledImages
from domain_models.training_phases import fresh_network, plain_features
from pipelines.steps.candidate import prepared_data
from pipelines.steps.dataset import load_dataset
from pipelines.steps.prepared_images import prepared_images
from pipelines.steps.train import TrainRequest, plan
from pipelines.steps.unlabelled import unlabelled

PRETRAIN_FORMAT = 1
"""Rises when the same configuration would learn something else, so that old weights are not taken for new ones."""

_OF_THE_PRESET = ("device", "backbone", "weights", "preprocessing", "augmentation")
_USUAL = {
    "batch_size": 64,
    "learning_rate": 5e-4,
    "dropout": 0.0,
    "warm_up_epochs": 1.0,
    "keep_batch_statistics": False,
}


class PretrainRequest(BaseModel):
    """What images are asked about themselves, for how many epochs, and settings of network, input and rates by hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = PretrainingKind.SIMCLR.value
    epochs: int = Field(default=20, ge=1, le=10_000)
    temperature: float = Field(default=0.2, gt=0, le=10)
    overrides: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0, lt=2**32)


class PretrainReport(BaseModel):
    """Where the weights are, what they learned from, and what they are worth.

    ``macro_f1_before`` and ``macro_f1_after`` are those of a linear classifier on validation; ``helps`` says whether
    the whole interval of their difference is above zero.
    """

    model_config = ConfigDict(frozen=True)

    weights: str
    run_key: str
    reused: bool
    method: str
    backbone: str
    dataset_version: str
    images: int
    epochs: int
    macro_f1_before: float
    macro_f1_after: float
    difference: float
    difference_ci: tuple[float, float]
    helps: bool
    sentences: list[str]
    seconds: float


def pretrain(workspace: Workspace, request: PretrainRequest, progress: Progress = SILENT) -> PretrainReport:
    """Let a backbone learn from training images and the pool, measure the gain on validation, and write the weights.

    Validation and test images, what belongs together with them and what is set aside for the test are never learned
    from.

    Raises:
        NotFound: nothing was curated yet.
        BadInput: the method or a setting is unknown, or there is nothing to learn from.
        Busy: the same pretraining is under way in another process.
    """
    began = time.monotonic()
    dataset, manifest = load_dataset(workspace)
    config = _configuration(workspace, request, manifest)
    pool = unlabelled(workspace, manifest)
    train = manifest[manifest["split"] == Split.TRAIN.value]
    rows = pd.concat([train, pool.rows], ignore_index=True).sort_values("image_id", ignore_index=True)
    key = pretrain_key(dataset, config, rows)
    backbone = config.training.backbone
    path = workspace.pretrained / f"{config.method.value}-{backbone}-{key[:12]}.safetensors"
    sentences = [
        f"Learns from {len(train):,} training images, without their labels, and {pool.sentence}",
        f"{config.method.value}, {backbone} from weights {config.training.weights!r}, {config.training.epochs} epochs.",
    ]
    with workspace.lock(f"pretrain-{key}"):
        record = read_record(str(path))
        reused = record is not None
        if record is None:
            for sentence in sentences:
                progress.say(sentence)
            folder = workspace.runs / f"pretrain-{key}"
            record = _make(workspace, dataset, manifest, config, rows, folder, path, progress)
    return PretrainReport(
        weights=str(path),
        run_key=key,
        reused=reused,
        method=config.method.value,
        backbone=backbone,
        dataset_version=dataset.dataset_version,
        images=record.images,
        epochs=record.epochs,
        macro_f1_before=record.gain.before,
        macro_f1_after=record.gain.after,
        difference=record.gain.difference,
        difference_ci=record.gain.difference_ci,
        helps=record.gain.shown,
        sentences=[*sentences, record.gain.sentence],
        seconds=time.monotonic() - began,
    )


def pretrain_key(dataset: DatasetVersion, config: PretrainingConfig, rows: pd.DataFrame) -> str:
    """24 hex digits that name this pretraining and no other: data, configuration and the images learned from."""
    content = json.dumps([PRETRAIN_FORMAT, dataset.dataset_version, config.key, *rows["image_id"]])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _configuration(workspace: Workspace, request: PretrainRequest, manifest: pd.DataFrame) -> PretrainingConfig:
    """Network and input as the standard preset chooses them, so that its trainings can use the weights."""
    try:
        method = PretrainingKind(request.method)
    except ValueError:
        raise BadInput(
            f"There is no pretraining {request.method!r}.",
            remedy=f"Methods: {', '.join(kind.value for kind in PretrainingKind)}.",
        ) from None
    standard, _ = plan(workspace, TrainRequest(seed=request.seed), manifest, workspace.profile)
    chosen = {name: getattr(standard, name) for name in _OF_THE_PRESET}
    usual = TrainingConfig.model_validate({**chosen, **_USUAL, "seed": request.seed, "epochs": request.epochs})
    training = with_overrides(usual, request.overrides)
    if training.epochs < 1:
        raise BadInput("Pretraining for 0 epochs would learn nothing.", remedy="Set epochs to at least 1.")
    if training.attention is not AttentionKind.NONE:
        raise BadInput(
            "Attention is added when a classifier is trained; pretraining is about the plain backbone.",
            remedy="Leave attention=none here, and set it in `tailsight train`.",
        )
    return PretrainingConfig(method=method, training=training, temperature=request.temperature)


def _make(
    workspace: Workspace,
    dataset: DatasetVersion,
    manifest: pd.DataFrame,
    config: PretrainingConfig,
    rows: pd.DataFrame,
    folder: Path,
    path: Path,
    progress: Progress,
) -> PretrainedRecord:
    spec = config.training.preprocessing
    images = UnlabelledImages.of_manifest(rows, prepared_images(workspace, rows, spec, progress))
    data = prepared_data(workspace, dataset, manifest, spec, progress)  # refuses what cannot be measured, before hours
    learned = learn(images, config, folder, progress)
    with progress.step("Measuring the gain"):
        start = fresh_network(config.training, len(data.classes))
        features = [plain_features(one, data, config.training, None, progress) for one in (start, learned.network)]
        gain = measure_gain(features[0], features[1], data, seed=config.training.seed)
    record = PretrainedRecord(
        method=config.method.value,
        backbone=config.training.backbone,
        weights=config.training.weights,
        mean=spec.mean,
        std=spec.std,
        epochs=config.training.epochs,
        images=len(images),
        dataset_version=dataset.dataset_version,
        gain=gain,
    )
    pd.DataFrame(learned.history).to_csv(folder / "history.csv", index=False)
    save_pretrained(path, backbone_state(learned.network), record)
    return record
