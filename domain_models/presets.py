"""Presets: how much time to spend, turned into a configuration by what the data are like, with reasons in words."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_contracts.input_settings import AugmentationSettings
from data_contracts.profile import Profile
from domain_models.architecture import Mirror
from domain_models.mirroring import allowed_mirror
from domain_models.preprocessing import Preprocessing
from domain_models.training_config import LossKind, SecondStageKind, TrainingConfig


class Preset(StrEnum):
    """From the cheapest to the slowest; ``best`` has not been timed or scored yet.

    ``auto`` begins with ``standard`` and searches (:mod:`domain_models.preset_search`).
    """

    QUICK = "quick"
    STANDARD = "standard"
    BEST = "best"
    AUTO = "auto"


class DataFacts(BaseModel):
    """What a preset looks at.

    ``median_height`` and ``median_width`` are those of the image files, in px; ``grey_share`` is the share of images
    stored with one channel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_counts: dict[str, int]
    validation_count: int = Field(ge=0)
    median_height: int = Field(ge=1)
    median_width: int = Field(ge=1)
    grey_share: float = Field(ge=0, le=1)
    has_groups: bool = False
    device: str = "cpu"
    processes: int = Field(default=2, ge=1)
    channels: int | None = None
    size: int | None = None
    window_centre: float | None = None
    window_width: float | None = None
    max_megapixels: float = 120.0
    augmentation: AugmentationSettings = AugmentationSettings()

    @property
    def train_count(self) -> int:
        """Training images."""
        return sum(self.class_counts.values())

    @property
    def imbalance(self) -> float:
        """Largest class over smallest."""
        counts = [count for count in self.class_counts.values() if count > 0]
        return max(counts) / min(counts) if counts else 1.0


def data_facts(
    manifest: pd.DataFrame, images: pd.DataFrame, profile: Profile, *, device: str = "cpu", processes: int = 2
) -> DataFacts:
    """The facts of a dataset version.

    Args:
        manifest: frames.MANIFEST.
        images: frames.IMAGES.
        profile: of the workspace.
        device: a torch device.
        processes: cores that may be used.
    """
    train = manifest[(manifest["split"] == "train") & (manifest["weight"] > 0)]
    sizes = images[images["image_id"].isin(train["image_id"])]
    grey = sizes["mode"].isin(["1", "L", "LA", "I", "F"]) | sizes["mode"].str.startswith("I;")
    counts = train["label"].value_counts()
    return DataFacts(
        class_counts={str(name): int(count) for name, count in counts.sort_index().items()},
        validation_count=int((manifest["split"] == "val").sum()),
        median_height=int(sizes["height"].median()) if len(sizes) else 128,
        median_width=int(sizes["width"].median()) if len(sizes) else 128,
        grey_share=float(grey.mean()) if len(sizes) else 0.0,
        has_groups=bool(manifest["group"].notna().any()),
        device=device,
        processes=processes,
        channels=profile.input.channels,
        size=profile.input.size,
        window_centre=profile.input.window_centre,
        window_width=profile.input.window_width,
        max_megapixels=profile.input.max_megapixels,
        augmentation=profile.augmentation,
    )


_LONGER_SIDE = {Preset.QUICK: 128, Preset.STANDARD: 144, Preset.BEST: 224}
_LONGER_SIDE_OF_FEW = 160
_LONGER_SIDE_ON_A_GPU = {Preset.QUICK: 160, Preset.STANDARD: 224, Preset.BEST: 288}
_FEW_TRAINING_IMAGES = 4000
_VERY_FEW_TRAINING_IMAGES = 1500
_FROZEN_OF_VERY_FEW = 4
_VIEWS_OF_VERY_FEW = 4
_UNEQUAL = 3.0
"""Largest class over smallest, from which on decisions are rebalanced."""
_SMALL_VALIDATION = 1000
"""Under so many validation images, triage thresholds are set on cross-fitted predictions where that is affordable."""


def choose(preset: Preset, facts: DataFacts) -> tuple[TrainingConfig, list[str]]:
    """A configuration for the data, and one sentence for each choice and why.

    The same facts always give the same configuration: a training that is called again finds its checkpoints.
    """
    preset = Preset.STANDARD if preset is Preset.AUTO else preset  # where the search begins
    spec, sentences = _preprocessing(preset, facts)
    base = TrainingConfig(
        device=facts.device,
        preprocessing=spec,
        augmentation=facts.augmentation,
    )
    config, more = _CHOICES[preset](base, facts)
    counts = list(facts.class_counts.values())
    first = (
        f"{facts.train_count} training images in {len(counts)} classes, from {max(counts, default=0)} down to"
        f" {min(counts, default=0)} images (imbalance factor {facts.imbalance:.1f})."
    )
    return config, [first, *sentences, *more]


def _preprocessing(preset: Preset, facts: DataFacts) -> tuple[Preprocessing, list[str]]:
    longest = max(facts.median_height, facts.median_width)
    on_gpu = facts.device != "cpu"
    target = facts.size or (_LONGER_SIDE_ON_A_GPU if on_gpu else _LONGER_SIDE)[preset]
    if not facts.size and not on_gpu and preset is Preset.STANDARD and facts.train_count < _FEW_TRAINING_IMAGES:
        target = _LONGER_SIDE_OF_FEW  # few images leave time for larger ones
    where = "on a GPU" if on_gpu else "without a GPU"
    reason = "the profile's size" if facts.size else f"the {preset} preset's size {where}"
    if facts.size is None and longest < target:
        # Small images are enlarged: the backbone halves its input five times, and under 64 px nothing is left to see.
        target = min(target, max(64, 2 * longest))
        reason = "small images, enlarged at most twice" if longest * 2 >= target else "the least the backbone can use"
    scale = target / longest
    height, width = (max(32, 16 * round(side * scale / 16)) for side in (facts.median_height, facts.median_width))
    channels = facts.channels or (1 if facts.grey_share > 0.5 else 3)
    spec = Preprocessing(
        height=height,
        width=width,
        channels=channels,
        window_centre=facts.window_centre,
        window_width=facts.window_width,
        max_megapixels=facts.max_megapixels,
    )
    colour = "grey (repeated three times for the pretrained network)" if channels == 1 else "RGB"
    files = f"files are about {facts.median_width}×{facts.median_height}"
    return spec, [f"Input {width}×{height} px, {colour}: {reason}; {files}."]


def _quick(base: TrainingConfig, facts: DataFacts) -> tuple[TrainingConfig, list[str]]:
    folds = 5 if facts.validation_count < _SMALL_VALIDATION else 0
    config = base.model_copy(
        update={"epochs": 0, "probe_views": 2, "cross_fit_folds": folds, "second_stage": _second_stage(facts)}
    )
    sentences = [
        "Backbone tf_efficientnet_lite0 with its ImageNet weights stays as it is; only a linear classifier is fitted"
        " on its features (of each image and one augmented view), which is the cheapest choice.",
    ]
    return config, sentences + _rebalancing_sentence(config) + _folds_sentence(folds, facts)


def _standard(base: TrainingConfig, facts: DataFacts) -> tuple[TrainingConfig, list[str]]:
    few = facts.train_count < _FEW_TRAINING_IMAGES
    # Three fold models cost about three trainings more: affordable where there are few images, and only there needed.
    folds = 3 if facts.validation_count < _SMALL_VALIDATION and few else 0
    config = base.model_copy(
        update={
            "cross_fit_folds": folds,
            "keep_batch_statistics": False,
            "learning_rate": 1e-3,
            "second_stage": _second_stage(facts),
            # A moving average over about one epoch: better than the last weights wherever the last steps are noisy.
            "average_decay": 1.0 - base.batch_size / max(20 * base.batch_size, facts.train_count),
            "mirrored_view": allowed_mirror(facts.augmentation) is not Mirror.NONE,
        }
    )
    network = "Backbone tf_efficientnet_lite0 with its ImageNet weights, "
    if facts.train_count < _VERY_FEW_TRAINING_IMAGES and facts.device == "cpu":
        epochs = int(np.clip(round(8_000 / max(1, facts.train_count)), 7, 20))
        config = config.model_copy(
            update={"epochs": epochs, "frozen_stages": _FROZEN_OF_VERY_FEW, "cached_views": _VIEWS_OF_VERY_FEW}
        )
        what = (
            f"its last stage and classifier fine-tuned for at most {epochs} epochs: so few images cannot teach the"
            " early stages more, and what these make of"
            f" {_VIEWS_OF_VERY_FEW} views of each image is computed only once."
        )
    else:
        epochs = int(np.clip(round((20_000 if few else 60_000) / max(1, facts.train_count)), 8, 20))
        config = config.model_copy(update={"epochs": epochs, "probe": few})
        what = f"all of it fine-tuned for at most {epochs} epochs."
    kept = " Fine-tuning is kept only if it beats a linear classifier on the untouched backbone."
    sentences = [network + what + (kept if config.probe else "")]
    if config.mirrored_view:
        sentences.append(
            "The profile calls a mirrored image harmless: predictions look at each image and its mirror image, which"
            " takes twice the time (mirrored_view=false looks once)."
        )
    return config, sentences + _rebalancing_sentence(config) + _folds_sentence(folds, facts)


def _best(base: TrainingConfig, facts: DataFacts) -> tuple[TrainingConfig, list[str]]:
    epochs = int(np.clip(round(250_000 / max(1, facts.train_count)), 12, 60))
    config = base.model_copy(
        update={
            "backbone": "tf_efficientnet_lite2",
            "epochs": epochs,
            "keep_batch_statistics": False,
            "learning_rate": 1e-3,
            "average_decay": 0.998,
            "drop_path": 0.1,
            "dropout": 0.2,
            "early_stopping": 12,
            "mixup_alpha": 0.2,
            "mix_probability": 0.5,
            "second_stage": SecondStageKind.LOGIT_ADJUSTMENT,
            "loss": LossKind.CROSS_ENTROPY,
        }
    )
    return config, [
        f"Backbone tf_efficientnet_lite2 with its ImageNet weights, all of it fine-tuned for at most {epochs} epochs"
        " with MixUp, drop path and averaged weights: the slowest preset.",
    ]


def _second_stage(facts: DataFacts) -> SecondStageKind:
    return SecondStageKind.LOGIT_ADJUSTMENT if facts.imbalance >= _UNEQUAL else SecondStageKind.NONE


def _rebalancing_sentence(config: TrainingConfig) -> list[str]:
    if config.second_stage is SecondStageKind.NONE:
        return []
    return ["The classes are unequal: decisions are rebalanced afterwards if validation agrees."]


def _folds_sentence(folds: int, facts: DataFacts) -> list[str]:
    if not folds:
        return []
    return [
        f"Only {facts.validation_count} validation images: triage thresholds are set on predictions of {folds} fold"
        " models for images that each has not seen."
    ]


_CHOICES = {Preset.QUICK: _quick, Preset.STANDARD: _standard, Preset.BEST: _best}
