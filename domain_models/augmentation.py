"""Label-preserving augmentation from the profile, seeded by (seed, epoch, image).

The same image looks different in every epoch and the same in every run, whatever the order, the number of workers or
how often training was killed.
"""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data_contracts.input_settings import AugmentationSettings

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks the network for a newer version


def build_policy(settings: AugmentationSettings, channels: int) -> Any:
    """The albumentations policy that a profile's settings describe, in the order: geometry, light, damage."""
    import albumentations as A

    moves = settings.rotate_degrees or settings.scale or settings.translate
    steps = [
        (settings.flip_horizontal, A.HorizontalFlip(p=0.5)),
        (settings.flip_vertical, A.VerticalFlip(p=0.5)),
        (settings.rotate_quarter_turns, A.RandomRotate90(p=0.75)),
        (
            moves,
            A.Affine(
                rotate=(-settings.rotate_degrees, settings.rotate_degrees),
                scale=(1.0 - settings.scale, 1.0 + settings.scale),
                translate_percent=(-settings.translate, settings.translate),
                border_mode=cv2.BORDER_REFLECT_101,
                p=0.8,
            ),
        ),
        (
            settings.brightness or settings.contrast,
            A.RandomBrightnessContrast(settings.brightness, settings.contrast, p=0.8),
        ),
        (
            settings.hue_saturation and channels == 3,
            A.HueSaturationValue(
                hue_shift_limit=settings.hue_saturation * 180,
                sat_shift_limit=settings.hue_saturation * 255,
                val_shift_limit=0,
                p=0.5,
            ),
        ),
        (settings.blur_probability, A.GaussianBlur(blur_limit=(3, 5), p=settings.blur_probability)),
        (settings.noise_probability, A.GaussNoise(std_range=(0.01, 0.05), p=settings.noise_probability)),
        (settings.erase_probability, A.CoarseDropout(p=settings.erase_probability)),
    ]
    return A.Compose([step for wanted, step in steps if wanted])


def weak_settings(settings: AugmentationSettings) -> AugmentationSettings:
    """The flips, quarter turns and shifts of a profile's settings, and nothing else of them."""
    kept = {"flip_horizontal", "flip_vertical", "rotate_quarter_turns", "translate"}
    return AugmentationSettings.model_validate(
        {name: value if name in kept else 0 for name, value in settings.model_dump().items()}
    )


def strong_settings(settings: AugmentationSettings, factor: float) -> AugmentationSettings:
    """What a profile allows, done ``factor`` times as far; what it does not allow stays undone.

    Whatever would turn one class into another is switched off (or 0) in the profile, and 0 times anything is 0. Which
    ways an image is flipped stays as it is.

    Args:
        settings: of the profile.
        factor: of every size, angle and probability, each up to its largest valid value.
    """
    return AugmentationSettings.model_validate(
        {
            name: value if isinstance(value, bool) else min(value * factor, _largest(name))
            for name, value in settings.model_dump().items()
        }
    )


def _largest(name: str) -> float:
    """The largest valid value of a setting."""
    bounds = (getattr(rule, "le", None) for rule in AugmentationSettings.model_fields[name].metadata)
    return min(float(bound) for bound in bounds if bound is not None)


def augmented(policy: Any, images: NDArray[np.uint8], image_ids: list[str], seed: int, epoch: int) -> NDArray[np.uint8]:
    """Augmented copies.

    Args:
        policy: from :func:`build_policy`.
        images: uint8 [n, H, W, C].
        image_ids: n ids; with seed and epoch they decide what happens to each image.
        seed: of the training.
        epoch: or number of the view.

    Returns:
        uint8 [n, H, W, C].
    """
    height, width = images.shape[1:3]
    out = np.empty_like(images)
    for position, (image, image_id) in enumerate(zip(images, image_ids, strict=True)):
        policy.set_random_seed(image_seed(image_id, seed, epoch))
        view = policy(image=image)["image"]
        if view.shape[:2] != (height, width):  # a quarter turn of an image that is not square
            view = cv2.resize(view, (width, height), interpolation=cv2.INTER_LINEAR)
        out[position] = view if view.ndim == 3 else view[:, :, None]
    return out


def image_seed(image_id: str, seed: int, epoch: int) -> int:
    """A 32-bit seed for one image in one epoch; ids that are no hexadecimal digest work too."""
    digest = np.frombuffer(image_id.encode()[:64], dtype=np.uint8)
    return int(np.random.SeedSequence([seed, epoch, len(digest), *digest.tolist()]).generate_state(1)[0])
