"""Augmentation for images that nobody has described yet.

Augmentation is where a guess does harm in silence: a mirrored heart or a turned connector is another class. So what may
change a label is off unless a shipped profile of the same field has it on, and the reason says which.
"""

from __future__ import annotations

import numpy as np

from data_contracts.input_settings import AugmentationSettings
from data_contracts.profile import Profile
from pipelines.steps.folder_look import Seen
from pipelines.steps.proposed_lines import ProposedLine

_TINY = 48
_SIDES = {"flip_horizontal": ("left and right", "sided"), "flip_vertical": ("top and bottom", "upright")}


def propose_augmentation(seen: Seen, base: Profile) -> list[ProposedLine]:
    """Every augmentation setting with its reason: those of the nearest shipped profile, else only what is harmless.

    Args:
        seen: the look at the folder.
        base: the nearest shipped profile, or the generic one.
    """
    if seen.nearest is not None:
        return _of_nearest(seen, seen.nearest.profile, base)
    tiny = int(np.median(np.minimum(seen.images.widths, seen.images.heights))) < _TINY
    settings = AugmentationSettings(
        flip_horizontal=False,
        flip_vertical=False,
        rotate_quarter_turns=False,
        rotate_degrees=0.0 if tiny else 3.0,
        scale=0.05,
        translate=0.03,
        brightness=0.1,
        contrast=0.1,
        hue_saturation=0.0,
        blur_probability=0.0,
        noise_probability=0.05,
        erase_probability=0.0,
    )
    off = (
        "Off: whether a mirrored image keeps its class cannot be seen from outside. {seen}Turn on if it does; it helps."
    )
    reasons = {
        "flip_horizontal": off.format(seen=_looks(seen, "flip_horizontal")),
        "flip_vertical": off.format(seen=_looks(seen, "flip_vertical")),
        "rotate_quarter_turns": "Off: a turned part may be another class. Turn on where parts lie in any direction.",
        "rotate_degrees": "The images are tiny; turning would blur what little there is."
        if tiny
        else "No camera is mounted more exactly than this, so it changes no class.",
        "scale": "A few percent, as distance and fit vary; too little to change a class.",
        "translate": "A few percent, as parts do not lie exactly; too little to push a defect out of the image.",
        "brightness": "Lamps age. Set 0 where brightness itself is the class.",
        "contrast": "As for brightness.",
        "hue_saturation": "Off: colour may be what tells the classes apart.",
        "blur_probability": "Off: blur can wipe out a fine defect, and the class with it.",
        "noise_probability": "A little, as sensors have; too weak to change a class.",
        "erase_probability": "Off: it can erase the very defect that the class is named after.",
    }
    return [
        ProposedLine(key=f"augmentation.{name}", value=value, reason=reasons[name])
        for name, value in settings.model_dump().items()
    ]


def _of_nearest(seen: Seen, profile: str, base: Profile) -> list[ProposedLine]:
    """What a shipped profile of the same field does, and what must hold for it."""
    why = f"As in the shipped profile {profile!r}."
    must_hold = {
        "flip_horizontal": "A mirrored image must keep its class.",
        "flip_vertical": "An image upside down must keep its class.",
        "rotate_quarter_turns": "An image on its side must keep its class.",
    }
    lines = []
    for name, value in base.augmentation.model_dump().items():
        reason = why
        if name in must_hold and value:
            reason = f"{why} {must_hold[name]} {_looks(seen, name)}Check that this holds here."
        elif name in must_hold:
            reason = f"{why} Off, because it may change a class."
        lines.append(ProposedLine(key=f"augmentation.{name}", value=value, reason=reason))
    return lines


def _looks(seen: Seen, name: str) -> str:
    """What the images looked at say of a mirroring."""
    if name not in _SIDES or seen.images.decoded < 8:
        return ""
    sides, attribute = _SIDES[name]
    if getattr(seen.images, attribute):
        return f"In the {seen.images.decoded} images looked at, {sides} differ in the same way from image to image. "
    return f"The {seen.images.decoded} images looked at show no common difference of {sides}. "
