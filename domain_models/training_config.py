"""Every knob of training in one frozen model; `--set key=value` is read against it."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_contracts.errors import BadInput
from data_contracts.input_settings import AugmentationSettings
from data_contracts.profile import describe_validation, sentence_of
from domain_models.architecture import AttentionKind, HeadKind
from domain_models.preprocessing import Preprocessing
from domain_models.supervision_settings import PoolSettings, TeacherSettings


class LossKind(StrEnum):
    """What the network is trained to make small."""

    CROSS_ENTROPY = "cross_entropy"
    FOCAL = "focal"
    BALANCED_SOFTMAX = "balanced_softmax"
    LOGIT_ADJUSTED = "logit_adjusted"
    LDAM = "ldam"
    ARCFACE = "arcface"
    HIERARCHICAL = "hierarchical"


class ReweightingKind(StrEnum):
    """How much an image counts in the loss by how frequent its class is."""

    NONE = "none"
    INVERSE_FREQUENCY = "inverse_frequency"
    EFFECTIVE_NUMBER = "effective_number"


class SamplerKind(StrEnum):
    """How often each class is drawn in an epoch."""

    NATURAL = "natural"
    CLASS_BALANCED = "class_balanced"
    SQUARE_ROOT = "square_root"
    PROGRESSIVELY_BALANCED = "progressively_balanced"


class ScheduleKind(StrEnum):
    """How the learning rate moves after warm-up."""

    COSINE = "cosine"
    CONSTANT = "constant"
    ONE_CYCLE = "one_cycle"
    WARM_RESTARTS = "warm_restarts"


class SecondStageKind(StrEnum):
    """How the classifier is rebalanced after the representation has been learned."""

    NONE = "none"
    CLASSIFIER_RETRAINING = "classifier_retraining"
    LOGIT_ADJUSTMENT = "logit_adjustment"
    TAU_NORMALISATION = "tau_normalisation"
    LEARNABLE_WEIGHT_SCALING = "learnable_weight_scaling"


class Precision(StrEnum):
    """Number format of forward and backward. ``auto`` is bf16 on a GPU and fp32 elsewhere; ``fastest`` is, on a
    processor, whichever is measured to be faster there (:mod:`~domain_models.training_format`), on a GPU bf16."""

    AUTO = "auto"
    FASTEST = "fastest"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


_ANGULAR = frozenset({LossKind.LDAM, LossKind.ARCFACE})


class TrainingConfig(BaseModel):
    """What is trained, how, and for how long. Values come from a preset; any of them can be overridden."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0, lt=2**32)
    device: str = Field(default="cpu", description="a torch device")

    # network
    backbone: str = Field(default="tf_efficientnet_lite0", description="any timm model")
    weights: str = Field(default="bundled", description="bundled, hub, none, a weights file or a package's folder")
    attention: AttentionKind = AttentionKind.NONE
    attention_stages: tuple[int, ...] = (-1,)
    head: HeadKind = HeadKind.LINEAR
    fine_stem: bool = Field(default=False, description="a first stride of 1 instead of 2, for tiny images")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    mirrored_view: bool = Field(
        default=False,
        description="predict from each image and its mirror image (where the profile allows a flip), in twice the time",
    )

    # input
    preprocessing: Preprocessing = Preprocessing()
    augmentation: AugmentationSettings = AugmentationSettings()
    augment: bool = True

    # first the classifier alone, on features of the untouched backbone
    probe: bool = Field(default=True, description="begin with a logistic regression on frozen features")
    probe_views: int = Field(default=1, ge=1, le=16, description="augmented views of each image for the probe")

    # then the network
    epochs: int = Field(default=8, ge=0, le=1000, description="0 keeps the backbone as it is")
    frozen_stages: int = Field(default=0, ge=0, description="first stages that do not learn, stem included")
    cached_views: int = Field(
        default=0, ge=0, le=64, description="with frozen stages: augmented views kept of each image; 0 recomputes"
    )
    keep_batch_statistics: bool = Field(
        default=True,
        description="batch normalisation keeps the means and variances it came with (pretrained weights only)",
    )
    batch_size: int = Field(default=32, ge=2, le=4096)
    learning_rate: float = Field(default=3e-4, gt=0, le=10)
    classifier_rate_factor: float = Field(default=1.0, gt=0, description="classifier's learning rate over the rest's")
    weight_decay: float = Field(default=0.02, ge=0, le=1)
    schedule: ScheduleKind = ScheduleKind.COSINE
    warm_up_epochs: float = Field(default=0.5, ge=0)
    final_rate_factor: float = Field(default=0.01, ge=0, le=1, description="last learning rate over the first")
    gradient_norm: float = Field(default=5.0, gt=0, description="longer gradients are cut to this norm")
    average_decay: float = Field(default=0.0, ge=0, lt=1, description="moving average of the weights; 0 is off")
    early_stopping: int = Field(default=5, ge=1, description="epochs without a better validation macro-F1")
    precision: Precision = Precision.AUTO

    # what it learns from
    loss: LossKind = LossKind.CROSS_ENTROPY
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    focal_gamma: float = Field(default=2.0, ge=0, le=10)
    adjustment: float = Field(default=1.0, ge=0, le=4, description="logit_adjusted: times the log class frequency")
    margin: float = Field(
        default=0.5, ge=0, le=1.5, description="ldam: of the rarest class, a cosine; arcface: an angle in radians"
    )
    level_discount: float = Field(default=0.5, ge=0, le=10, description="hierarchical: finer levels weigh less")
    levels: tuple[tuple[int, ...], ...] = Field(
        default=(), description="hierarchical: groups of the classes; the taxonomy and the pass class say them"
    )
    reweighting: ReweightingKind = ReweightingKind.NONE
    effective_number_beta: float = Field(default=0.999, ge=0, lt=1)
    reweighting_from: float = Field(default=0.0, ge=0, le=1, description="share of the epochs before it begins")
    sampler: SamplerKind = SamplerKind.NATURAL
    later_sampler: SamplerKind | None = Field(default=None, description="takes over from `later_sampler_from`")
    later_sampler_from: float = Field(default=0.8, ge=0, le=1, description="share of the epochs before it takes over")
    mixup_alpha: float = Field(default=0.0, ge=0, le=10)
    cutmix_alpha: float = Field(default=0.0, ge=0, le=10)
    mix_probability: float = Field(default=1.0, ge=0, le=1, description="share of batches that are mixed")

    # what teaches it besides labels
    teacher: TeacherSettings = TeacherSettings()
    pool: PoolSettings = PoolSettings()

    # then the classifier again
    second_stage: SecondStageKind = SecondStageKind.NONE
    cross_fit_folds: int = Field(default=0, ge=0, le=20, description="0 leaves triage to the validation images")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.cross_fit_folds == 1:
            raise ValueError("cross_fit_folds is 0 or at least 2")
        if self.cached_views and not self.frozen_stages:
            raise ValueError("cached_views needs frozen_stages of at least 1")
        if not self.probe and self.epochs == 0:
            raise ValueError("with epochs 0 and no probe nothing would be learned")
        if self.cached_views and self.cutmix_alpha:
            raise ValueError("cutmix_alpha needs images; with cached_views there are only feature maps")
        if self.loss in _ANGULAR and self.head is not HeadKind.COSINE:
            raise ValueError(f"loss {self.loss.value} is about angles and needs head=cosine")
        if self.loss in _ANGULAR and (self.mixup_alpha or self.cutmix_alpha):
            raise ValueError(f"loss {self.loss.value} has a margin for the one true class; mixed images have two")
        if self.teacher.model and (self.mixup_alpha or self.cutmix_alpha):
            raise ValueError("a teacher has not seen mixed images; set mixup_alpha=0 and cutmix_alpha=0")
        if self.teacher.model and not self.epochs:
            raise ValueError("with epochs 0 nothing would learn from the teacher")
        if self.pool.ratio and not (self.epochs and self.augment):
            raise ValueError("pool.ratio needs epochs of at least 1 and augment=true")
        return self

    @property
    def keeps_pretrained_statistics(self) -> bool:
        """Whether batch normalisation stays as pretraining left it, so that fine-tuning can begin with the probe."""
        return self.keep_batch_statistics and self.weights != "none"

    @property
    def key(self) -> str:
        """16 hex digits that change with any value."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def with_overrides(config: TrainingConfig, overrides: Sequence[str]) -> TrainingConfig:
    """The configuration with ``key=value`` settings applied; nested keys are dotted (``preprocessing.height=160``).

    A backbone or weight source that is changed brings its own mean and standard deviation, unless they are set too.

    Raises:
        BadInput: a setting is not ``key=value``, a key is unknown (the nearest valid one is named), or a value is not
            possible. All problems are listed.
    """
    content = config.model_dump(mode="json")
    problems: list[str] = []
    keys: list[str] = []
    for override in overrides:
        key, mark, text = override.partition("=")
        key = key.strip()
        if not mark or not key:
            problems.append(f"{override!r} is not key=value")
            continue
        hint = _unknown_key(key, content)
        if hint:
            problems.append(f"unknown setting {key!r}; {hint}")
            continue
        keys.append(key)
        place: Any = content
        *parents, last = key.split(".")
        for parent in parents:
            place = place[parent]
        place[last] = _value(text)
    if not problems:
        try:
            changed = TrainingConfig.model_validate(content)
        except ValidationError as error:
            problems = describe_validation(error, TrainingConfig)
        else:
            return _with_normalisation(changed, config, keys)
    raise BadInput("--set: " + sentence_of(problems), remedy="See the settings of the last model in its report.")


def _value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    # YAML 1.1 reads 1e-3 as text; numbers written so are common here.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _unknown_key(key: str, content: dict[str, Any]) -> str | None:
    """``None`` if the dotted key names a setting, else a hint."""
    valid = list(_dotted(content))
    if key in valid:
        return None
    sections = [name for name, value in content.items() if isinstance(value, dict)]
    if key in sections:
        return f"it is a section; set one of {', '.join(k for k in valid if k.startswith(key + '.'))}"
    near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    if not near:
        near = [k for k in valid if k.rpartition(".")[2] == key.rpartition(".")[2]][:1]
    return f"did you mean {near[0]!r}?" if near else f"valid settings: {', '.join(valid)}"


def _dotted(content: dict[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in content.items():
        names += _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
    return names


def _with_normalisation(changed: TrainingConfig, before: TrainingConfig, keys: Sequence[str]) -> TrainingConfig:
    same = (changed.backbone, changed.weights) == (before.backbone, before.weights)
    if same or {"preprocessing.mean", "preprocessing.std"} & set(keys):
        return changed
    from domain_models.package_start import normalisation_of

    mean, std = normalisation_of(changed.backbone, changed.weights)
    spec = changed.preprocessing.model_copy(update={"mean": mean, "std": std})
    return changed.model_copy(update={"preprocessing": spec})
